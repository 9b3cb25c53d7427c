"""Every family on one dataset, over the full catalogue: each person's last event.

`--set evaluation.protocol=rolling` asks for the last days instead, where a log has real times:
`sidereal reproduce baselines --preset kuairand --day 2022-05-04 --set evaluation.protocol=rolling`.
"""

from itertools import combinations

from training.experiments.table import LEAVE_LAST_OUT, Budget, Fit, Row, Table

FAMILIES = ("tiger", "unigrf", "sasrec", "item_knn", "popularity")
HSTU = Fit(
    of="sasrec",
    changes=tuple(
        f"models.settings.sasrec.{setting}"
        for setting in ("backbone=hstu", "similarity=cosine", "loss=full")
    ),
)
"""The same next-item model on the backbone that tiger has: one vector per item, told the times."""

BLENDED = (
    ("tiger", "sasrec"),
    ("tiger", "hstu"),
    ("tiger", "item_knn"),
    ("tiger", "popularity"),
)
"""Rows that answer together, by the weights that validation chose."""


def _fit(row: str) -> Fit:
    return HSTU if row == "hstu" else Fit(of=row)


def _blend(pair: tuple[str, str]) -> Row:
    parts = tuple(map(_fit, pair))
    return Row(name=" + ".join(pair), fits=(Fit(of="blend", parts=parts),))


BLENDS = tuple(map(_blend, BLENDED))

TABLE = Table(
    name="baselines",
    says="every family on one dataset, full catalogue; each person's last event, if not --set else",
    rows=(
        *(Row(name=name, fits=(_fit(name),)) for name in (*FAMILIES, "hstu")),
        *BLENDS,
    ),
    metrics=("ndcg@10", "hr@10", "ndcg@50", "hr@50", "mrr"),
    comparisons=(
        *((blend.name, name) for blend in BLENDS for name in (*FAMILIES, "hstu")),
        ("tiger", "hstu"),
        ("hstu", "sasrec"),
        ("hstu", "item_knn"),
        *combinations(FAMILIES, 2),
    ),
    compared=("ndcg@10", "hr@10"),
    facts={"fit.weight": "weight of the first"},
    settings={"": (*LEAVE_LAST_OUT, "evaluation.cutoffs=[5, 10, 50]")},
    budgets={
        "": Budget(max_epochs=30, patience_epochs=5, max_validation_targets=2000),
        # Some 500 steps in twenty epochs: small sets need many.
        "amazon-office": Budget(max_epochs=60, patience_epochs=10, max_validation_targets=2000),
        "amazon-toys": Budget(max_epochs=60, patience_epochs=8, max_validation_targets=4000),
        "movielens-1m": Budget(max_epochs=100, patience_epochs=5, max_validation_targets=10000),
        # Ten nights have 65,000 events to learn from; models that know ids alone rise for long.
        "kuairand": Budget(max_epochs=20, patience_epochs=4, max_validation_targets=4000),
    },
)
