"""sampled_beams: what a model would have shown in the place of each slate."""

from feature_store.contract import Column, Contract
from feature_store.rules import RowRule, Rule, RuleInputs, TableRule, instant
from feature_store.shared_rules import (
    known_indices,
    lists_have_equal_length,
    no_item_twice,
    of_the_day,
)


def _rules(inputs: RuleInputs) -> tuple[Rule, ...]:
    return (
        of_the_day(inputs),
        lists_have_equal_length("item_indices", "scores"),
        RowRule(
            name="scores_never_increase",
            column="scores",
            description="A beam is best first: scores never increase.",
            condition="scores = sort_array(scores, false)",
        ),
        no_item_twice("item_indices"),
        RowRule(
            name="weights_end_before_the_context",
            column="weights_until",
            description="No beam is of weights that may know of its slate.",
            condition="weights_until <= context_until",
        ),
        RowRule(
            name="context_is_within_the_run",
            column="context_until",
            description=f"No slate begins after {inputs.day} (UTC).",
            condition=f"context_until < {instant(inputs.end_of_day)}",
        ),
        TableRule(
            name="beams_are_of_one_model",
            column="bundle_digest",
            description="All beams of a day are of one bundle, and so of one generation.",
            expression="coalesce(CASE WHEN max(bundle_digest) = min(bundle_digest) "
            "AND max(generation) = min(generation) THEN 1 ELSE 2 END, 1)",
            maximum=1,
        ),
        *known_indices(inputs),
    )


SAMPLED_BEAMS = Contract(
    name="sampled_beams",
    grain="one slate that begins when the model's weights are over",
    key=("day", "slate_id"),
    partition="day",
    order=("user_id", "context_until", "slate_id"),
    columns=(
        Column(name="day", type="date", meaning="day of the slate"),
        Column(name="slate_id", type="string", meaning="the slate in whose place it stands"),
        Column(name="user_id", type="string", meaning="the source's own user id"),
        Column(
            name="context_until",
            type="timestamp",
            meaning="started_at of the slate, UTC: what the model was told ends before",
        ),
        Column(
            name="item_indices",
            type="list<int>",
            minimum=0,
            meaning="best first; at most `preference_lists.beam_items`",
        ),
        Column(
            name="scores",
            type="list<float>",
            meaning="the model's own, never increasing; of tiger the log-probability of an item's "
            "codes and, weighted, of the item, in nats",
        ),
        Column(name="model_family", type="string", meaning="tiger, rankgr, …"),
        Column(name="bundle_digest", type="string", meaning="SHA-256 of the bundle's manifest"),
        Column(name="generation", type="string", meaning="of the semantic IDs that it was read by"),
        Column(
            name="weights_until",
            type="timestamp",
            meaning="UTC: neither weights nor what chose them know an event from then on",
        ),
    ),
    rules=_rules,
)
