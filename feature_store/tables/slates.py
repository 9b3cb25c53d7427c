"""slates: what a user was shown together, in order, with what came of it."""

from feature_store.contract import Column, Contract
from feature_store.rules import RowRule, Rule, RuleInputs, instant
from feature_store.shared_rules import (
    known_indices,
    lists_have_equal_length,
    no_item_twice,
    not_after_the_day,
)


def _rules(inputs: RuleInputs) -> tuple[Rule, ...]:
    first, end = inputs.config.earliest_event, inputs.end_of_day
    return (
        not_after_the_day(inputs),
        lists_have_equal_length("item_indices", "strengths", "dwell_seconds"),
        RowRule(
            name="slate_has_two_items",
            column="item_indices",
            description="A slate has at least two items.",
            condition="size(item_indices) >= 2",
        ),
        no_item_twice("item_indices"),
        RowRule(
            name="slate_ends_after_it_starts",
            column="ended_at",
            description="No slate ends before it starts.",
            condition="started_at <= ended_at",
        ),
        RowRule(
            name="slate_is_within_the_run",
            column="started_at",
            description=f"Every exposure is on or after {first} and before {end} (UTC).",
            condition=f"started_at >= {instant(first)} AND ended_at < {instant(end)}",
        ),
        RowRule(
            name="slate_is_on_its_day",
            column="day",
            description="A slate is of the UTC date of its exposures, or of the day after.",
            condition="day BETWEEN date(ended_at) AND date_add(date(started_at), 1)",
        ),
        *known_indices(inputs),
    )


SLATES = Contract(
    name="slates",
    grain="one request or session of a user, or a part of a long one; at least 2 items",
    key=("day", "slate_id"),
    partition="day",
    order=("user_id", "started_at", "slate_id"),
    columns=(
        Column(
            name="day",
            type="date",
            meaning="the day whose run sees all of the slate: its local date where "
            "`slates.utc_offset_hours` is 0 or more, else the date after",
        ),
        Column(
            name="slate_id",
            type="string",
            meaning="MD5 of user, source, day, request or session, and part; the same in every run",
        ),
        Column(name="user_id", type="string", meaning="the source's own user id"),
        Column(name="started_at", type="timestamp", meaning="the first exposure, UTC"),
        Column(name="ended_at", type="timestamp", meaning="the last exposure, UTC"),
        Column(
            name="item_indices",
            type="list<int>",
            minimum=0,
            meaning="the items in the order shown, each once, at its first place; ties as the "
            "source had them (`interactions.tie_order`)",
        ),
        Column(
            name="strengths",
            type="list<int>",
            minimum=-1,
            maximum=3,
            meaning="strongest feedback on each item, aligned with item_indices; 0 = exposed only",
        ),
        Column(
            name="dwell_seconds",
            type="list<float>",
            minimum=0,
            may_be_nan=True,
            meaning="longest time spent on each item, aligned with item_indices; NaN: not known",
        ),
        Column(
            name="source",
            type="string",
            allowed=("request", "gap", "day"),
            meaning="what held the items together: a logged request, a session that ended with a "
            "gap, or a local day",
        ),
    ),
    rules=_rules,
)
