"""GroupCE (arXiv:2506.12756): ranking losses, depths of groups, people with few events.

The paper's own split is by chance and not by time (`--set evaluation.protocol=random`), its label
and its cut of KuaiRand aren't known. Every row has the same network, loop and settings.
"""

from training.experiments.strata import COLD_GAP
from training.experiments.table import Budget, Fit, Published, Row, Table

LOGLOSS, OF_A_PERSON, LISTCE, GROUPCE = "LogLoss", "pairs of a person", "ListCE", "GroupCE"
_SHAPE = "models.settings.groupce"


def _row(name: str, *settings: str) -> Row:
    changes = tuple(f"{_SHAPE}.{setting}" for setting in settings)
    return Row(name=name, fits=(Fit(of="groupce", changes=changes),))


_LOSSES = (
    _row(LOGLOSS, "ranking_loss=none"),
    _row("pairs of the batch", "ranking_loss=pairwise_batch"),
    _row(OF_A_PERSON, "ranking_loss=pairwise_user"),
    _row("SoftmaxCE", "ranking_loss=softmax"),
    _row(LISTCE, "ranking_loss=listce"),
    _row("ListCE of a person", "ranking_loss=listce_user"),
    _row("JRC", "ranking_loss=jrc"),
    _row(GROUPCE, "ranking_loss=groupce"),
)
_PARTS = (
    _row("no quantised LogLoss", "ranking_loss=groupce", "quantised_weight=0"),
    _row("pairs of a person, by user", "ranking_loss=pairwise_user", "batches=by_user"),
    _row("ListCE of a person, by user", "ranking_loss=listce_user", "batches=by_user"),
)
_DEPTHS = tuple(
    _row(f"8 codes, {depth} level(s)", "ranking_loss=groupce", "codes=8", f"levels={depth}")
    for depth in (1, 2, 3, 4)
)
_NETWORKS = tuple(
    _row(f"{network}, {title}", f"ranking_loss={loss}", f"network={network}")
    for network in ("deepfm", "din")
    for title, loss in ((LOGLOSS, "none"), (GROUPCE, "groupce"))
)
_OURS = (*_LOSSES, *_PARTS, *_DEPTHS, *_NETWORKS)
_PAPER = Published(
    source="the paper, by others",
    preset="kuairand-clicks",
    figures={
        name: (gauc, *(None,) * 7)
        for name, gauc in {
            LOGLOSS: 0.6911,
            "SoftmaxCE": 0.6920,
            LISTCE: 0.6932,
            GROUPCE: 0.6953,
        }.items()
    },
)

TABLE = Table(
    name="groupce",
    says="a click model with one ranking loss at a time; depths of groups; people by their events",
    rows=(*_OURS, Row(name="rates", fits=(Fit(of="rates"),))),
    metrics=(
        *("gauc", "auc", "logloss", "ece"),
        *("gauc_light", "gauc_middle", "gauc_frequent", COLD_GAP),
    ),
    comparisons=(
        *((row.name, LOGLOSS) for row in _OURS if row.name != LOGLOSS),
        (GROUPCE, OF_A_PERSON),
        (GROUPCE, LISTCE),
        (LOGLOSS, "rates"),
    ),
    compared=("gauc", "logloss", "ece", COLD_GAP),
    facts={
        "fit.informative_share_1": "rows in mixed groups, level 1",
        "fit.informative_share_2": "level 2",
        "fit.informative_share_3": "level 3",
        "fit.best_epoch": "best epoch",
    },
    budgets={"": Budget(max_epochs=10, patience_epochs=2, max_validation_targets=20000)},
    presets=("kuairand-clicks",),
    published=(_PAPER,),
)
