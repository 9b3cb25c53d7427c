"""RankGR (arXiv:2602.08575): what each phase adds to the next item alone, and how much of each.

Every row has tiger's loop and settings. The paper's own tables are of data that is not public; it
says that either phase taken away loses 18 and 20 %.
"""

from training.experiments.baselines import TABLE as BASELINES
from training.experiments.table import Fit, Row, Table

BOTH, NEXT = "both phases", "next item alone"
_SHAPE = "models.settings.rankgr"
_NO_PREFERENCES = f"{_SHAPE}.preference_weight=0"
_NO_REFINEMENT = f"{_SHAPE}.refinement_weight=0"
_BY_ITSELF = f"{_SHAPE}.refines_reader=false"
_NEXT = Fit(of="rankgr", like="tiger", changes=(_NO_PREFERENCES, _NO_REFINEMENT))


def _row(name: str, *changes: str, after: Fit | None = None) -> Row:
    return Row(name=name, fits=(Fit(of="rankgr", like="tiger", changes=changes, after=after),))


_PHASES = (
    Row(name=NEXT, fits=(_NEXT,)),
    _row("and preferences", _NO_REFINEMENT),
    _row("and refined scoring", _NO_PREFERENCES),
    _row(BOTH),
)
_PARTS = (
    _row("each prefix", _NO_REFINEMENT, f"{_SHAPE}.each_prefix=true"),
    _row("against an average", _NO_REFINEMENT, f"{_SHAPE}.reference=average"),
    _row("against a checkpoint", _NO_REFINEMENT, f"{_SHAPE}.reference=start", after=_NEXT),
    _row("scorer by itself", _NO_PREFERENCES, _BY_ITSELF),
    _row("scorer afterwards", _NO_PREFERENCES, _BY_ITSELF, f"{_SHAPE}.refinement_share=0.1"),
)
_ALPHAS = tuple(
    _row(f"alpha {weight}", _NO_REFINEMENT, f"{_SHAPE}.preference_weight={weight}")
    for weight in (0.01, 0.1, 0.3, 3.0)
)
_LAMBDAS = tuple(
    _row(f"lambda {count}", _NO_PREFERENCES, f"{_SHAPE}.candidates={count}")
    for count in (10, 20, 100, 200)
)
_BASELINES = tuple(
    Row(name=name, fits=(Fit(of=name),)) for name in ("tiger", "sasrec", "item_knn", "popularity")
)
_OURS = (*_PHASES, *_PARTS, *_ALPHAS, *_LAMBDAS)

TABLE = Table(
    name="rankgr",
    says="RankGR's two phases, their weights and their candidates, beside the next item alone",
    rows=(*_OURS, *_BASELINES),
    metrics=("ndcg@10", "hr@10", "ndcg@50", "hr@50"),
    comparisons=(
        *((row.name, NEXT) for row in _OURS if row.name != NEXT),
        *((BOTH, row.name) for row in _BASELINES),
    ),
    compared=("ndcg@10", "hr@10"),
    facts={
        "fit.perplexity": "perplexity of a code",
        "fit.chosen_log_prob": "chosen log p",
        "fit.accuracy_1_4": "tier 1 above 4",
        "fit.candidate_recall": "among candidates",
    },
    settings=BASELINES.settings,
    budgets=BASELINES.budgets,
)
