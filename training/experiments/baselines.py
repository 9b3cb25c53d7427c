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

BLENDED = ("tiger", "sasrec")
BLEND = f"{BLENDED[0]} + {BLENDED[1]}"

TABLE = Table(
    name="baselines",
    says="every family on one dataset, full catalogue; each person's last event, if not --set else",
    rows=(
        *(Row(name=family, fits=(Fit(of=family),)) for family in FAMILIES),
        Row(name="hstu", fits=(HSTU,)),
        Row(name=BLEND, fits=(Fit(of="blend", parts=tuple(Fit(of=each) for each in BLENDED)),)),
    ),
    metrics=("ndcg@10", "hr@10", "ndcg@50", "hr@50", "mrr"),
    comparisons=(
        ("tiger", "hstu"),
        *((BLEND, each) for each in BLENDED),
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
        # A million events are enough steps in few epochs.
        "kuairand": Budget(max_epochs=8, patience_epochs=3, max_validation_targets=2000),
    },
)
