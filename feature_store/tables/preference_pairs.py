"""preference_pairs: slates that were wanted, each beside one that would have been worse."""

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
        lists_have_equal_length("chosen", "rejected"),
        RowRule(
            name="chosen_and_rejected_differ",
            column="rejected",
            description="No slate is preferred to itself.",
            condition="chosen <> rejected",
        ),
        no_item_twice("chosen"),
        no_item_twice("rejected"),
        RowRule(
            name="ranking_permutes_the_chosen",
            column="rejected",
            description="A pair of the kind ranking has the same items on both sides.",
            condition="kind <> 'ranking' OR array_sort(chosen) = array_sort(rejected)",
        ),
        RowRule(
            name="source_is_within_the_run",
            column="newest_source",
            description=f"Nothing was borrowed from after {inputs.day} (UTC).",
            condition=f"context_until < {instant(inputs.end_of_day)} "
            f"AND newest_source < {instant(inputs.end_of_day)}",
        ),
        *known_indices(inputs, "chosen", "rejected"),
    )


PREFERENCE_PAIRS = Contract(
    name="preference_pairs",
    grain="one chosen and one rejected slate for the same context",
    key=("day", "slate_id", "kind", "pair"),
    partition="day",
    order=("user_id", "context_until", "slate_id", "kind", "pair"),
    columns=(
        Column(name="day", type="date", meaning="day of the slate"),
        Column(name="slate_id", type="string", meaning="the slate the pair was made from"),
        Column(name="user_id", type="string", meaning="the source's own user id"),
        Column(
            name="context_until",
            type="timestamp",
            meaning="started_at of the slate, UTC: only events strictly before are context",
        ),
        Column(
            name="kind",
            type="string",
            allowed=("ranking", "interest", "diversity"),
            meaning="what the rejected one lacks: the chosen with weaker feedback before "
            "stronger, items the user left or disliked in place of chosen ones, or items all "
            "alike",
        ),
        Column(
            name="pair", type="int", minimum=0, meaning="number within the slate and kind, from 0"
        ),
        Column(
            name="chosen",
            type="list<int>",
            minimum=0,
            meaning="engaged items of the slate, strongest first; then longest dwell, then by a "
            "hash of slate and item",
        ),
        Column(
            name="rejected",
            type="list<int>",
            minimum=0,
            meaning="as many items as chosen, never the same list",
        ),
        Column(name="source", type="string", meaning="why it was made: where its items come from"),
        Column(
            name="newest_source",
            type="timestamp",
            meaning="no borrowed item comes from an event after this (UTC); never after the "
            "slate's ended_at",
        ),
    ),
    rules=_rules,
)
