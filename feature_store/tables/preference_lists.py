"""preference_lists: the items of a slate in tiers of feedback, above items that weren't shown."""

from feature_store.contract import Column, Contract
from feature_store.rules import RowRule, Rule, RuleInputs, instant
from feature_store.shared_rules import (
    known_indices,
    lists_have_equal_length,
    no_item_twice,
    not_after_the_day,
)


def _rules(inputs: RuleInputs) -> tuple[Rule, ...]:
    return (
        not_after_the_day(inputs),
        lists_have_equal_length("item_indices", "tiers"),
        no_item_twice("item_indices"),
        RowRule(
            name="tiers_never_decrease",
            column="tiers",
            description="Items stand in the order of their tiers.",
            condition="array_sort(tiers) = tiers",
        ),
        RowRule(
            name="list_has_two_tiers",
            column="tiers",
            description="A list has at least two tiers: within one nothing is preferred.",
            condition="size(array_distinct(tiers)) >= 2",
        ),
        RowRule(
            name="list_is_within_the_run",
            column="ended_at",
            description=f"No list begins after its end, or goes on after {inputs.day} (UTC).",
            condition=f"context_until <= ended_at AND ended_at < {instant(inputs.end_of_day)}",
        ),
        *known_indices(inputs),
    )


PREFERENCE_LISTS = Contract(
    name="preference_lists",
    grain="one slate, of which at least two tiers are there",
    key=("day", "slate_id"),
    partition="day",
    order=("user_id", "context_until", "slate_id"),
    columns=(
        Column(name="day", type="date", meaning="day of the slate"),
        Column(name="slate_id", type="string", meaning="the slate the list was made from"),
        Column(name="user_id", type="string", meaning="the source's own user id"),
        Column(
            name="context_until",
            type="timestamp",
            meaning="started_at of the slate, UTC: only events strictly before are context",
        ),
        Column(
            name="ended_at",
            type="timestamp",
            meaning="ended_at of the slate, UTC: only weights that may know of it learn the list",
        ),
        Column(
            name="item_indices",
            type="list<int>",
            minimum=0,
            meaning="items by tier; within tiers 1 to 3 strongest first, then longest dwell, then "
            "by a hash of slate and item; within tier 4 as they were drawn",
        ),
        Column(
            name="tiers",
            type="list<int>",
            minimum=1,
            maximum=4,
            meaning="aligned with item_indices; 1 and 2: strength of at least "
            "`preference_lists.first_strength` and `second_strength`, 3: shown, weaker, 4: in the "
            "catalogue then and not shown, neither here nor in the user's earlier slates of "
            "`window_days`",
        ),
    ),
    rules=_rules,
)
