"""impressions: what a user was shown, one at a time, with what came of it and what was known."""

from feature_store.contract import Column, Contract
from feature_store.rules import RowRule, Rule, RuleInputs, instant
from feature_store.shared_rules import equal_size, known_index, not_after_the_day

_FIELDS = "fields of this group, in the order of `sidereal.impressions` of the snapshot"


def _rules(inputs: RuleInputs) -> tuple[Rule, ...]:
    first, end = inputs.config.earliest_event, inputs.end_of_day
    return (
        not_after_the_day(inputs),
        RowRule(
            name="event_time_is_within_the_run",
            column="event_time",
            description=f"Every impression is on or after {first} and before {end} (UTC).",
            condition=f"event_time >= {instant(first)} AND event_time < {instant(end)}",
        ),
        RowRule(
            name="impression_is_on_its_day",
            column="day",
            description="An impression is of its UTC date, or of the day after.",
            condition="day BETWEEN date(event_time) AND date_add(date(event_time), 1)",
        ),
        equal_size("user_codes", "All rows have as many codes of the user."),
        equal_size("item_codes", "All rows have as many codes of the item."),
        equal_size("context_codes", "All rows have as many codes of the moment."),
        *known_index(inputs, "item_index"),
    )


IMPRESSIONS = Contract(
    name="impressions",
    grain="one event or exposure of a user's history",
    key=("day", "impression_id"),
    partition="day",
    order=("user_id", "event_time", "impression_id"),
    columns=(
        Column(
            name="day",
            type="date",
            meaning="the day whose run sees all of the local date, as in slates",
        ),
        Column(
            name="impression_id",
            type="string",
            meaning="user, microseconds since 1970 and place among the user's events of that "
            "microsecond, joined by ':'",
        ),
        Column(name="user_id", type="string", meaning="the source's own user id"),
        Column(name="item_index", type="int", minimum=0, meaning="what was shown"),
        Column(name="event_time", type="timestamp", meaning="when, UTC"),
        Column(
            name="strength",
            type="int",
            minimum=-1,
            maximum=3,
            meaning="what came of it; the label is whether it reaches a preset's strength",
        ),
        Column(
            name="user_codes",
            type="list<int>",
            minimum=0,
            meaning=f"{_FIELDS}: who the user is, and what events strictly before the "
            "impression's second say",
        ),
        Column(name="item_codes", type="list<int>", minimum=0, meaning=_FIELDS),
        Column(
            name="context_codes",
            type="list<int>",
            minimum=0,
            meaning=f"{_FIELDS}: the local time, and how often the item, and what is like it, was "
            "met in events strictly before the impression's second",
        ),
    ),
    rules=_rules,
)
