"""recommendations: what to show each user next, written by the champion."""

from feature_store.contract import Column, Contract

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
)
