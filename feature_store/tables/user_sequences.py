"""user_sequences: every user's history as it stood at the end of a day."""

from feature_store.contract import Column, Contract
from feature_store.rules import RowRule, Rule, RuleInputs, instant
from feature_store.shared_rules import known_indices, lists_have_equal_length, of_the_day


def _rules(inputs: RuleInputs) -> tuple[Rule, ...]:
    first, end = inputs.config.earliest_event, inputs.end_of_day
    return (
        of_the_day(inputs),
        lists_have_equal_length("item_indices", "strengths", "event_times"),
        RowRule(
            name="history_is_in_order",
            column="event_times",
            description="Histories are oldest first: event_times never decrease.",
            # Where a null stands in a list, engines differ in its place, and another rule refuses.
            condition="try_element_at(sort_array(event_times), 1) IS NULL OR "
            "event_times = sort_array(event_times)",
        ),
        RowRule(
            name="event_times_are_within_the_run",
            column="event_times",
            description=f"Every event is on or after {first} and before {end} (UTC).",
            condition=f"array_min(event_times) >= {instant(first)} "
            f"AND array_max(event_times) < {instant(end)}",
        ),
        RowRule(
            name="num_events_covers_the_history",
            column="num_events",
            description="num_events is at least the length of the history that was kept.",
            condition="num_events >= size(item_indices)",
        ),
        *known_indices(inputs),
    )


USER_SEQUENCES = Contract(
    name="user_sequences",
    grain="one user with at least one event before the end of the day",
    key=("day", "user_id"),
    partition="day",
    order=("user_id",),
    columns=(
        Column(name="day", type="date", meaning="the history holds events before the day's end"),
        Column(name="user_id", type="string", meaning="the source's own user id"),
        Column(
            name="item_indices",
            type="list<int>",
            minimum=0,
            meaning="the last `sequences.max_events` items, oldest first; ties in time as the "
            "source had them (`interactions.tie_order`)",
        ),
        Column(
            name="strengths",
            type="list<int>",
            minimum=-1,
            maximum=3,
            meaning="strength of each event, aligned with item_indices",
        ),
        Column(
            name="event_times",
            type="list<timestamp>",
            meaning="time of each event, aligned with item_indices, never decreasing",
        ),
        Column(
            name="num_events",
            type="long",
            minimum=1,
            meaning="events of the user in all, before the cut to `sequences.max_events`",
        ),
    ),
    rules=_rules,
)
