"""recommendations: what to show each user next, written by the champion."""

from feature_store.contract import Column, Contract
from feature_store.rules import RowRule, Rule, RuleInputs
from feature_store.shared_rules import known_indices, lists_have_equal_length, of_the_day


def _rules(inputs: RuleInputs) -> tuple[Rule, ...]:
    return (
        of_the_day(inputs),
        # Who has seen every item is recommended none.
        lists_have_equal_length("item_ids", "item_indices", "scores", may_be_empty=True),
        RowRule(
            name="scores_never_increase",
            column="scores",
            description="Recommendations are best first: scores never increase.",
            condition="scores = sort_array(scores, false)",
        ),
        RowRule(
            name="no_item_twice",
            column="item_ids",
            description="No user is recommended an item twice.",
            condition="size(array_distinct(item_ids)) = size(item_ids)",
        ),
        *known_indices(inputs),
    )


RECOMMENDATIONS = Contract(
    name="recommendations",
    grain="one user with a history at the end of the day",
    key=("day", "user_id"),
    partition="day",
    order=("user_id",),
    columns=(
        Column(name="day", type="date", meaning="the day whose histories were continued"),
        Column(name="user_id", type="string", meaning="the source's own user id"),
        Column(name="item_ids", type="list<string>", meaning="best first"),
        Column(
            name="item_indices",
            type="list<int>",
            minimum=0,
            meaning="as in items, aligned with item_ids",
        ),
        Column(
            name="scores",
            type="list<float>",
            meaning="the model's own score, never increasing; comparable within a model version",
        ),
        Column(name="model_family", type="string", meaning="tiger, sasrec, …"),
        Column(name="model_version", type="string", meaning="MLflow registry version"),
        Column(name="bundle_digest", type="string", meaning="SHA-256 of the bundle's manifest"),
        Column(
            name="generation",
            type="string",
            nullable=True,
            meaning="semantic-ID generation, where the model uses one",
        ),
    ),
    rules=_rules,
)
