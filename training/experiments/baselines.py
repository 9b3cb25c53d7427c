"""Every family on one dataset: each person's last event, over the full catalogue."""

from itertools import combinations

from training.experiments.table import LEAVE_LAST_OUT, Fit, Row, Table

FAMILIES = ("tiger", "unigrf", "sasrec", "item_knn", "popularity")

TABLE = Table(
    name="baselines",
    says="every family on one dataset: the last event of each person, full catalogue",
    rows=tuple(Row(name=family, fits=(Fit(of=family),)) for family in FAMILIES),
    metrics=("ndcg@10", "hr@10", "ndcg@50", "hr@50", "mrr"),
    comparisons=tuple(combinations(FAMILIES, 2)),
    compared=("ndcg@10", "hr@10"),
    settings={"": (*LEAVE_LAST_OUT, "evaluation.cutoffs=[5, 10, 50]")},
)
