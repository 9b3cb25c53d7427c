"""The tables of UniGRF (arXiv:2504.16454) on MovieLens: ours beside the paper's and Meta's figures.

Protocol: ratings in order of time, people with fewer than three left out as targets; the last one
tests, the one before it validates, the rest trains; the whole catalogue is ranked. What the paper
does not say is a switch: whether films already seen are filtered (Meta does, so do we by default).

A cell is one fit under one seed. Single-task rows have two: one that retrieves (a sequence of films
alone, as in Meta's code) and one that ranks. What a cell measured is kept by user; a fit that was
stopped goes on from its checkpoint, a cell that is there is not fitted again.
"""

import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from training import inference
from training.data.histories import Histories
from training.data.queries import queries_of
from training.data.splits import Split, Targets, split_leave_last_out
from training.data.vocabulary import Vocabulary
from training.evaluation.bootstrap import interval, over_seeds, user_draws
from training.evaluation.ranking import Predictions, auc
from training.evaluation.retrieval import Meter, target_metrics
from training.fit.fitting import FitReport, Fitting, LoopSettings
from training.models import MODELS, weights
from training.models.interface import Model
from training.models.unigrf.fit import fit as fit_unigrf
from training.models.weights import Kept

LOG = logging.getLogger(__name__)
CUTOFFS = (10, 50)
LIST_LENGTH = 2500
"""Ranks are exact up to here; beyond it a rank counts as the next one, as in Meta's evaluation."""
METRICS = ("ndcg@10", "ndcg@50", "hr@10", "hr@50", "mrr", "auc")


@dataclass(frozen=True)
class Cell:
    """One fit.

    Attributes:
        family: a key of `MODELS`.
        settings: of the family's config.
        loop: fields of `LoopSettings` that differ from the dataset's.
        after: the cell whose weights this one begins with; "": with its own.
    """

    family: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    loop: Mapping[str, Any] = field(default_factory=dict)
    after: str = ""


@dataclass(frozen=True)
class Scale:
    """What all cells of a dataset share.

    Attributes:
        loop: of all fits; `tokens_per_batch` is in events, and taken for as many of any family.
        shape: width, layers, heads, dropout of every model.
        ranking_epochs: of models that only rank: they peak early.
        unified: by backbone, what differs for models of both tasks; found on validation targets.
    """

    loop: LoopSettings
    shape: Mapping[str, Any]
    ranking_epochs: int
    unified: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


_NO_ENHANCER = {"hard_negatives": 0, "favourites": "off"}
_NO_WEIGHTER = {"weighter": "off"}
_RANKS = {"validation_metric": "auc"}
SCALES = {
    # Meta's public ML-1M configuration; 128 rows of 165 events on average are a batch.
    "movielens-1m": Scale(
        LoopSettings(
            max_epochs=100,
            patience_epochs=5,
            tokens_per_batch=21_000,
            learning_rate=1e-3,
            warmup_steps=50,
            weight_decay=0.0,
            max_history=200,
            window_overlap=50,
            max_validation_targets=10_000,
        ),
        {"width": 50, "num_layers": 2, "num_heads": 1, "dropout": 0.2},
        ranking_epochs=20,
    ),
    "movielens-100k": Scale(
        LoopSettings(
            max_epochs=20,
            patience_epochs=5,
            tokens_per_batch=2048,
            learning_rate=4e-3,
            warmup_steps=50,
            max_history=50,
            window_overlap=10,
            max_validation_targets=10_000,
        ),
        {"width": 64, "num_layers": 2, "num_heads": 2, "dropout": 0.2},
        ranking_epochs=15,
        # Under .004 they are at their best in the last of twenty epochs: .141, .131 and .109 under
        # three seeds, .144, .137 and .127 under .008. Retrieval alone gains nothing: .135, .134.
        unified={"hstu": {"learning_rate": 8e-3}},
    ),
}
"""Dataset → what its cells share."""


def _retrieval(backbone: str) -> Cell:
    meta = {"loss": "sampled", "num_negatives": 128, "negatives": "position"}
    return Cell("sasrec", {"backbone": backbone, "similarity": "cosine", **meta})


def _single(backbone: str, task: str, after: str = "") -> Cell:
    loop = _RANKS if task == "ranking" else {}
    return Cell("unigrf", {"backbone": backbone, "tasks": task}, loop, after)


def _both(backbone: str, **changes: Any) -> Cell:
    return Cell("unigrf", {"backbone": backbone, **changes})


CELLS: dict[str, Cell] = {
    "sasrec": Cell("sasrec"),
    "llama-retrieval": _retrieval("llama"),
    "llama-ranking": _single("llama", "ranking"),
    "hstu-retrieval": _retrieval("hstu"),
    "hstu-ranking": _single("hstu", "ranking"),
    "unigrf-llama": _both("llama"),
    "unigrf-hstu": _both("hstu"),
    "unigrf-hstu-no-enhancer": _both("hstu", **_NO_ENHANCER),
    "unigrf-hstu-no-weighter": _both("hstu", **_NO_WEIGHTER),
    "unigrf-hstu-no-both": _both("hstu", **_NO_ENHANCER, **_NO_WEIGHTER),
    "hstu-interleaved-retrieval": _single("hstu", "retrieval"),
    "hstu-ft-a": _single("hstu", "ranking", after="hstu-interleaved-retrieval"),
    "hstu-ft-b": _single("hstu", "retrieval", after="hstu-ranking"),
}
"""Name → what is fitted."""

ROWS: dict[str, tuple[str, ...]] = {
    "sasrec": ("sasrec",),
    "llama": ("llama-retrieval", "llama-ranking"),
    "hstu": ("hstu-retrieval", "hstu-ranking"),
    "unigrf-llama": ("unigrf-llama",),
    "unigrf-hstu": ("unigrf-hstu",),
    "unigrf-hstu-no-enhancer": ("unigrf-hstu-no-enhancer",),
    "unigrf-hstu-no-weighter": ("unigrf-hstu-no-weighter",),
    "unigrf-hstu-no-both": ("unigrf-hstu-no-both",),
    "hstu-ft-a": ("hstu-ft-a",),
    "hstu-ft-b": ("hstu-ft-b",),
}
"""Row of the table → the cells that its figures come from."""

SINGLE_TASK = {row: "llama" if row == "unigrf-llama" else "hstu" for row in list(ROWS)[3:]}
"""Row → the row of single-task models that it is compared with."""
COMPARED = ("ndcg@10", "hr@10", "mrr", "auc")
BOOTSTRAP_SAMPLES = 1000

PUBLISHED: dict[str, dict[str, dict[str, tuple[float | None, ...]]]] = {
    "movielens-1m": {
        "paper": {
            "sasrec": (0.1594, 0.2208, 0.2899, 0.5671, 0.1388, None),
            "llama": (0.1746, 0.2343, 0.3110, 0.5785, 0.1477, 0.7819),
            "hstu": (0.1708, 0.2314, 0.3132, 0.5862, 0.1431, 0.7621),
            "unigrf-llama": (0.1765, 0.2368, 0.3219, 0.5921, 0.1478, 0.7932),
            "unigrf-hstu": (0.1756, 0.2326, 0.3140, 0.5909, 0.1484, 0.7832),
            "unigrf-hstu-no-enhancer": (0.1717, 0.2318, 0.3117, 0.5824, 0.1446, 0.7815),
            "unigrf-hstu-no-weighter": (0.1734, 0.2317, 0.3199, 0.5824, 0.1441, 0.7582),
            "unigrf-hstu-no-both": (0.1681, 0.2276, 0.3113, 0.5824, 0.1392, 0.7293),
            "hstu-ft-a": (None, None, None, None, None, 0.7752),
            "hstu-ft-b": (0.1727, 0.2308, 0.3182, 0.5807, 0.1436, None),
        },
        "Meta": {
            "sasrec": (0.1603, 0.2185, 0.2853, 0.5474, None, None),
            "hstu": (0.1720, 0.2307, 0.3097, 0.5754, None, None),
            "hstu-large": (0.1893, 0.2481, 0.3294, 0.5935, None, None),
        },
    },
    "movielens-100k": {"paper": {}, "Meta": {}},
}
"""Dataset → who published → row → `METRICS`, in their order."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One dataset, split once, and where its cells are kept."""

    dataset: str
    split: Split
    num_items: int
    directory: Path
    device: str = "cpu"
    exclude_seen: bool = True
    epochs: int | None = None
    """Most epochs of any fit; None: the dataset's own."""

    @classmethod
    def of(cls, dataset: str, histories: Histories, num_items: int, **rest: Any) -> "Experiment":
        """The paper's split of all ratings."""
        split = split_leave_last_out(histories)
        return cls(dataset=dataset, split=split, num_items=num_items, **rest)


def run(experiment: Experiment, *, rows: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """Fit and measure what is missing of some rows; returns the table with all rows there are.

    Raises:
        ValueError: a row is not in `ROWS`.
    """
    unknown = sorted(set(rows) - set(ROWS))
    if unknown:
        raise ValueError(f"no row {unknown}; there are {list(ROWS)}")
    for row in rows:
        for name in ROWS[row]:
            for seed in seeds:
                _cell(experiment, name, seed)
    return table(experiment, seeds)


def table(experiment: Experiment, seeds: Sequence[int]) -> dict[str, Any]:
    """What is known so far: every row whose cells are there for all seeds, and the published."""
    rows, cells_of = [], {}
    for row, names in ROWS.items():
        found = [[_kept(experiment, name, seed) for seed in seeds] for name in names]
        if all(kept is not None for cells in found for kept in cells):
            cells_of[row] = found
            rows.append({"row": row, **_figures(found)})
    differences = [
        {"row": row, "single_task": single, **_differences(cells_of[row], cells_of[single])}
        for row, single in SINGLE_TASK.items()
        if {row, single} <= cells_of.keys()
    ]
    return {
        "dataset": experiment.dataset,
        "seeds": list(seeds),
        "users": len(experiment.split.test),
        "exclude_seen": experiment.exclude_seen,
        "split": json.loads(json.dumps(dict(experiment.split.facts), default=str)),
        "rows": rows,
        "differences": differences,
        "published": {
            who: {row: dict(zip(METRICS, values, strict=True)) for row, values in of.items()}
            for who, of in PUBLISHED[experiment.dataset].items()
        },
    }


def _identity(experiment: Experiment, name: str, seed: int) -> dict[str, Any]:
    """What determines a cell's figures; a kept cell of another identity is made anew."""
    cell = CELLS[name]
    return {
        "cell": json.loads(json.dumps(asdict(cell))),
        "seed": seed,
        "loop": asdict(_loop(experiment, name, seed)),
        "shape": _settings(experiment, cell),
        "exclude_seen": experiment.exclude_seen,
        "split": json.loads(json.dumps(dict(experiment.split.facts), default=str)),
        "after": _identity(experiment, cell.after, seed) if cell.after else None,
    }


def _loop(experiment: Experiment, name: str, seed: int) -> LoopSettings:
    cell, scale = CELLS[name], SCALES[experiment.dataset]
    epochs = scale.loop.max_epochs
    if cell.loop.get("validation_metric") == "auc":
        epochs = scale.ranking_epochs
    positions = 2 if cell.family == "unigrf" else 1
    is_unified = cell.family == "unigrf" and "tasks" not in cell.settings
    changes = scale.unified.get(cell.settings["backbone"], {}) if is_unified else {}
    return replace(
        scale.loop,
        seed=seed,
        max_epochs=min(epochs, experiment.epochs or epochs),
        tokens_per_batch=scale.loop.tokens_per_batch * positions,
        **{**cell.loop, **changes},
    )


def _settings(experiment: Experiment, cell: Cell) -> dict[str, Any]:
    return {**SCALES[experiment.dataset].shape, **cell.settings}


def _paths(experiment: Experiment, name: str, seed: int) -> tuple[Path, Path, Path]:
    stem = experiment.directory / f"{name}-{seed}"
    return stem.with_suffix(".parquet"), stem.with_suffix(".json"), stem.with_suffix(".model")


def _kept(experiment: Experiment, name: str, seed: int) -> tuple[pa.Table, dict[str, Any]] | None:
    """What a cell measured, where it is there and of this identity."""
    values_path, facts_path, _ = _paths(experiment, name, seed)
    if not (values_path.is_file() and facts_path.is_file()):
        return None
    facts = json.loads(facts_path.read_text(encoding="utf-8"))
    if facts["identity"] != _identity(experiment, name, seed):
        return None
    return pq.read_table(values_path), facts


def _cell(experiment: Experiment, name: str, seed: int) -> tuple[pa.Table, dict[str, Any]]:
    kept = _kept(experiment, name, seed)
    if kept is not None:
        return kept
    if CELLS[name].after:
        _cell(experiment, CELLS[name].after, seed)
    experiment.directory.mkdir(parents=True, exist_ok=True)
    values_path, facts_path, model_path = _paths(experiment, name, seed)
    LOG.info("%s, seed %d: fitting", name, seed)
    model, report = _fit(experiment, name, seed)
    started = time.perf_counter()
    values = _measured(experiment, model)
    # Of all epochs, also of those from before the fit was stopped and gone on with.
    spent = sum(epoch["seconds"] + epoch["validation_seconds"] for epoch in report.epochs)
    facts = {
        "identity": _identity(experiment, name, seed),
        "fit_seconds": round(spent, 1),
        "evaluate_seconds": round(time.perf_counter() - started, 1),
        "epochs": report.epochs,
        **report.facts,
    }
    weights.save(model, model_path)
    pq.write_table(values, values_path)
    facts_path.write_text(json.dumps(facts, indent=1, default=str), encoding="utf-8")
    shutil.rmtree(_checkpoints(experiment, name, seed), ignore_errors=True)
    LOG.info("%s, seed %d: fitted in %.0f s", name, seed, facts["fit_seconds"])
    return values, facts


def _checkpoints(experiment: Experiment, name: str, seed: int) -> Path:
    return experiment.directory / "checkpoints" / f"{name}-{seed}"


def _fit(experiment: Experiment, name: str, seed: int) -> tuple[Kept, FitReport]:
    cell = CELLS[name]
    kind = MODELS[cell.family]
    fitting = Fitting(
        settings=_loop(experiment, name, seed),
        exclude_seen=experiment.exclude_seen,
        device=experiment.device,
        checkpoints=_checkpoints(experiment, name, seed),
    )
    config = kind.configure(_settings(experiment, cell))
    vocabulary = Vocabulary(experiment.num_items)
    if not cell.after:
        return kind.fit(experiment.split, config, fitting, vocabulary)
    _, _, folder = _paths(experiment, cell.after, seed)
    before = weights.load(folder, kind)
    assert isinstance(before, torch.nn.Module)
    return fit_unigrf(experiment.split, config, fitting, vocabulary, begin_with=before.state_dict())


def _measured(experiment: Experiment, model: Model) -> pa.Table:
    """Per user the metrics of the list, and the probability and the feedback of its last rating."""
    targets = experiment.split.test
    columns: dict[str, np.ndarray] = {"user": targets.user}
    max_history = model.config.max_history
    if "lists" in model.answers:
        columns |= _lists(experiment, model, targets, max_history)
    if "feedback" in model.answers:
        said, row = [], 0
        for queries in queries_of(targets, max_history=max_history, exclude_seen=False):
            items_B1 = targets.items[row : row + len(queries), None]
            said.append(inference.rank(model, queries, items_B1)[:, 0])
            row += len(queries)
        columns["probability"] = np.concatenate(said).astype(np.float64)
        strengths = targets.histories.strengths[targets.events]
        columns["positive"] = strengths >= Fitting().positive_strength
    return pa.table(columns)


def _lists(
    experiment: Experiment, model: Model, targets: Targets, max_history: int
) -> dict[str, np.ndarray]:
    length = max(*CUTOFFS, min(LIST_LENGTH, experiment.num_items))
    meter = Meter(num_items=experiment.num_items, list_length=length)
    row = 0
    for queries in queries_of(
        targets, max_history=max_history, exclude_seen=experiment.exclude_seen, rows=512
    ):
        top = inference.recommend(model, queries, length)
        meter.add(top, targets.items[row : row + len(queries)], CUTOFFS)
        row += len(queries)
    return dict(target_metrics(meter.ranks()[""], cutoffs=CUTOFFS, list_length=length))


def _figures(found: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Mean over seeds of each metric, its deviation over seeds, and what the fits took."""
    figures: dict[str, Any] = {}
    for cells in found:
        for metric in METRICS:
            values = [
                value for values, _ in cells if (value := _metric(values, metric)) is not None
            ]
            if values:
                figures[metric] = over_seeds(values)
    facts = [facts for cells in found for _, facts in cells]
    return {
        "metrics": figures,
        "fit_seconds": sum(fact["fit_seconds"] for fact in facts),
        "best_epochs": [fact["best_epoch"] for fact in facts],
        "alarms": sorted({alarm for fact in facts for alarm in fact.get("alarms", ())}),
    }


def _differences(ours: Sequence[Any], theirs: Sequence[Any]) -> dict[str, Any]:
    """Of each metric ours less theirs, means over seeds, drawn by user with both on the same draws.

    The interval is of people; what seeds do is seen in each row's deviation.
    """
    draws = None
    found: dict[str, Any] = {}
    for metric in COMPARED:
        values = [_by_user(cells, metric) for cells in (ours, theirs)]
        if not all(values):
            continue
        num_users = values[0][0].num_users if metric == "auc" else len(values[0][0])
        if draws is None:
            draws = np.concatenate(
                list(user_draws(num_users, samples=BOOTSTRAP_SAMPLES, seed=0)), axis=0
            )
        every = np.ones((1, num_users))
        points, replicates = (
            [np.mean([_drawn(one, counts_SU) for one in of], axis=0) for of in values]
            for counts_SU in (every, draws)
        )
        difference_S = replicates[0] - replicates[1]
        found[metric] = asdict(
            interval(float(points[0][0] - points[1][0]), difference_S, confidence=0.95)
        )
    return {"metrics": found}


def _by_user(cells: Sequence[Sequence[Any]], metric: str) -> list[Any]:
    """Each seed's values by user, or for AUC its probabilities and the feedback; [] without."""
    found = [values for of_seeds in cells for values, _ in of_seeds]
    if metric != "auc":
        having = [values for values in found if metric in values.column_names]
        return [values[metric].to_numpy() for values in having]
    having = [values for values in found if "probability" in values.column_names]
    return [
        Predictions(
            values["user"].to_numpy(),
            values["positive"].to_numpy(zero_copy_only=False),
            values["probability"].to_numpy(),
        )
        for values in having
    ]


def _drawn(one: Any, counts_SU: np.ndarray) -> np.ndarray:
    """A metric on draws of users, [S]."""
    if isinstance(one, Predictions):
        return one.replicates(counts_SU)["auc"]
    return counts_SU @ one / counts_SU.sum(axis=1)


def _metric(values: pa.Table, metric: str) -> float | None:
    if metric != "auc":
        return float(values[metric].to_numpy().mean()) if metric in values.column_names else None
    if "probability" not in values.column_names:
        return None
    return auc(values["probability"].to_numpy(), values["positive"].to_numpy(zero_copy_only=False))


def markdown(found: Mapping[str, Any]) -> str:
    """The table: each figure ours, then what the paper and Meta published, `–` where nobody did."""
    seen = "seen films filtered" if found["exclude_seen"] else "seen films kept"
    published = {who: of for who, of in found["published"].items() if of}
    lines = [
        f"### UniGRF on {found['dataset']}: last rating of {found['users']:,} people, full"
        f" catalogue, {seen}, {len(found['seeds'])} seed(s)",
        "",
        "ours (± over seeds)" + "".join(f" · {who}" for who in published),
        "",
        "| row | " + " | ".join(name.upper() for name in METRICS) + " | fit, s |",
        "|---|" + "---|" * (len(METRICS) + 1),
    ]
    own = {row["row"]: row for row in found["rows"]}
    names = [*ROWS, *(row for of in published.values() for row in of if row not in ROWS)]
    for name in names:
        theirs = [of.get(name, {}) for of in published.values()]
        if name not in own and not any(theirs):
            continue
        row = own.get(name, {"metrics": {}, "fit_seconds": None})
        cells = [
            " · ".join([_ours(row["metrics"].get(m)), *(_theirs(of.get(m)) for of in theirs)])
            for m in METRICS
        ]
        seconds = "–" if row["fit_seconds"] is None else f"{row['fit_seconds']:.0f}"
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {seconds} |")
    lines += _told_differences(found.get("differences", ()))
    return "\n".join(lines) + "\n"


def _told_differences(differences: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of the rows less their single-task models, with intervals over people."""
    if not differences:
        return []
    head = ["row minus single-task", *(name.upper() for name in COMPARED)]
    lines = ["", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for one in differences:
        cells = [
            f"{bounds['point']:+.4f} [{bounds['low']:+.4f}, {bounds['high']:+.4f}]"
            if (bounds := one["metrics"].get(name))
            else "–"
            for name in COMPARED
        ]
        lines.append(f"| {one['row']} − {one['single_task']} | " + " | ".join(cells) + " |")
    return lines


def _ours(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "–"
    spread = value["seed_deviation"]
    return f"**{value['mean']:.4f}**" + ("" if spread is None else f" ± {spread:.4f}")


def _theirs(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
