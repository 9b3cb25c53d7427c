"""HiGR's second and third experiments (arXiv:2512.24787; MECHANICS §3.8), on held-out slates.

`decoder`: HiGR under the preset's settings, with one part changed at a time, against the flat
decoder of equally many weights, and what lists of the baselines are worth as slates; beside it the
steps of the heavy stack and the milliseconds that a slate of ten takes, all models taking turns.
`alignment`: ORPO, DPO and SimPO, each from the same trained model, against that model.

A cell is one row under one seed; a cell that is there, of the same settings and data, is not fitted
again. Differences are paired by user: seeds are averaged within a slate, slates within a user, and
users are drawn.
"""

import hashlib
import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from training.config import TrainingConfig
from training.data.preferences import Pairs, pair_batches
from training.data.slate_batches import slate_contexts
from training.data.slates import Slates
from training.data.splits import Split
from training.data.vocabulary import Vocabulary
from training.evaluation.compare import bootstrap_means, compare
from training.evaluation.slate import (
    coverage,
    intra_list_similarity,
    per_user,
    said_slates,
    slate_metrics,
)
from training.fitting import Fitting, LoopSettings
from training.models import MODELS
from training.models.alignment import Aligned, AlignmentConfig
from training.models.interface import Recommender
from training.models.slate_fit import SlateCourse, learnable
from training.models.slate_model import SlateModel
from training.reproduce.step_memory import step_peak
from training.slate_scoreboard import asked_slates

LOG = logging.getLogger(__name__)
METRICS = ("hit@5", "recall@5", "ndcg@5")
SLATE = 10
CONFIDENCE = 0.95
SAMPLES = 2000
LATENCY_ROWS, LATENCY_ROUNDS = 64, 5

FLAT = "flat decoder"
BEFORE = "before alignment"


@dataclass(frozen=True)
class Row:
    """One line of a table: a family, what it has of its own, and how it is aligned afterwards."""

    family: str
    changes: Mapping[str, Any]
    method: str | None = None


def decoder_rows(config: TrainingConfig) -> dict[str, Row]:
    """HiGR as the preset has it, each part changed, the flat decoder, and the baselines."""
    own = config.models.settings.get("higr", {})
    shape = MODELS["higr"].configure(own)
    told = not shape.context_in_generator
    poolings = [name for name in ("sum", "mean", "max") if name != shape.pooling]
    flat = {
        name: own[name]
        for name in ("width", "num_heads", "dropout", "minimum_strength", "order", "beam_width")
        if name in own
    }
    flat["num_layers"] = shape.planner_layers + shape.generator_layers
    return {
        "higr": Row("higr", {}),
        **{f"{name} pooling": Row("higr", {"pooling": name}) for name in poolings},
        f"context {'told' if told else 'not told'} to the generator": Row(
            "higr", {"context_in_generator": told}
        ),
        "separate generators": Row("higr", {"generators": "separate"}),
        "latent feedback": Row("higr", {"planner_feedback": "latent"}),
        FLAT: Row("flat_slate", flat),
        **{family: Row(family, {}) for family in config.models.baselines},
    }


ALIGNMENT_ROWS = {
    BEFORE: Row("higr", {}),
    "ORPO": Row("higr", {}, "orpo"),
    "DPO": Row("higr", {}, "dpo"),
    "SimPO": Row("higr", {}, "simpo"),
}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One dataset and where its cells are kept.

    Attributes:
        dataset: its name, in the tables.
        config: training's part of the preset; `alignment` is what ORPO, DPO and SimPO share.
        split: with slates.
        pairs: of any of its slates.
        vocabulary: the catalogue with its codes.
        vectors_VD: a vector per item, for how alike the items of a slate are.
        directory: of the cells.
        part: which slates are asked; `validation` is what settings are chosen on.
        epochs: instead of the settings' `max_epochs`; None: theirs.
        device: where models are fitted.
    """

    dataset: str
    config: TrainingConfig
    split: Split
    pairs: Pairs
    vocabulary: Vocabulary
    vectors_VD: np.ndarray
    directory: Path
    part: Literal["test", "validation"] = "test"
    epochs: int | None = None
    device: str = "cpu"

    @property
    def asked(self) -> Slates:
        """The slates that are asked for, with what was engaged with."""
        if self.split.slates is None:
            raise ValueError("the split has no slates; run build_slates")
        return asked_slates(getattr(self.split.slates, self.part), self.config)


def run(
    experiment: Experiment, which: Literal["decoder", "alignment"], seeds: Sequence[int]
) -> dict[str, Any]:
    """Fit and measure what is missing; returns the table.

    Raises:
        ValueError: there is no seed, or no slate to ask for.
    """
    if not seeds:
        raise ValueError("no seeds; a row is fitted once for each")
    if not len(experiment.asked):
        evaluation = experiment.config.evaluation
        raise ValueError(
            f"no {experiment.part} slate of {evaluation.slate_minimum_items} items or more with one"
            f" of strength {evaluation.slate_minimum_strength} or more"
        )
    rows = decoder_rows(experiment.config) if which == "decoder" else ALIGNMENT_ROWS
    against = FLAT if which == "decoder" else BEFORE
    found = {name: [_cell(experiment, row, seed) for seed in seeds] for name, row in rows.items()}
    table: dict[str, Any] = {
        "experiment": which,
        "dataset": experiment.dataset,
        "part": experiment.part,
        "slates": len(experiment.asked),
        "users": len(np.unique(experiment.asked.user)),
        "seeds": list(seeds),
        "against": against,
        "rows": [
            {"row": name, **_figures([facts for _, facts in cells])}
            for name, cells in found.items()
        ],
        "differences": [
            {"row": name, **_difference(cells, found[against])}
            for name, cells in found.items()
            if name != against
        ],
    }
    if which == "decoder":
        table["latency"] = latency(experiment, rows, seeds[0])
    else:
        table["memory"] = memory(experiment, seeds[0])
    return table


def latency(experiment: Experiment, rows: Mapping[str, Row], seed: int) -> dict[str, Any]:
    """Milliseconds that each model takes for a slate of ten, contexts read included, and its steps.

    Returns:
        By row: `milliseconds` (median of rounds in which all take turns) and `heavy_steps`, how
        often the heavy stack is run one after the other for a slate.
    """
    models = {
        name: _load(experiment, row, seed)
        for name, row in rows.items()
        if MODELS[row.family].uses_slates
    }
    first = experiment.asked.where(np.arange(min(LATENCY_ROWS, len(experiment.asked))))
    (contexts,) = slate_contexts(first, max_history=_history(experiment), exclude_seen=True)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(LATENCY_ROUNDS + 1):
        for name, model in models.items():
            started = time.perf_counter()
            model.recommend(contexts, SLATE)
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - started)
    return {
        name: {
            "milliseconds": 1000 * median(seconds[name]) / len(contexts),
            "heavy_steps": SLATE * (model.num_levels if rows[name].family == "flat_slate" else 1),
        }
        for name, model in models.items()
    }


def memory(experiment: Experiment, seed: int) -> dict[str, float]:
    """Peak MiB of a training step at equal positions: pretraining's, and each method's."""
    row, fitting = ALIGNMENT_ROWS[BEFORE], _fitting(experiment, ALIGNMENT_ROWS[BEFORE], seed)
    model = _load(experiment, row, seed).to(fitting.device)
    slates = learnable(experiment.split, model.config, experiment.vocabulary.codes_VQ)
    course = SlateCourse(slates, fitting.settings, model.positions_per_item)
    largest = max(course.batches(0, first_step=0, rank=0, world_size=1), key=_cells_of)
    plan = course.plan(1)
    pairs = _training_pairs(experiment)
    plan = replace(plan, positions_per_item=2 * plan.positions_per_item)  # as `PairCourse` does
    pair_batch = max(pair_batches(pairs, plan, 0), key=_cells_of).to(fitting.device)
    largest = largest.to(fitting.device)
    found = {"pretraining": step_peak(model, lambda: model(largest) / largest.num_targets)}
    for name, aligned_row in ALIGNMENT_ROWS.items():
        if aligned_row.method is None:
            continue
        references_P2 = None
        if aligned_row.method == "dpo":
            references_P2 = torch.full((len(pairs), 2), -50.0, device=fitting.device)
        config = _alignment(experiment, aligned_row.method)
        aligned = Aligned(model, config, references_P2)
        found[name] = step_peak(
            aligned,
            lambda aligned=aligned: aligned(pair_batch) / pair_batch.num_targets,  # type: ignore[misc]
        )
    return {name: peak / 2**20 for name, peak in found.items()}


def _cells_of(batch: Any) -> int:
    return batch.num_cells


def _training_pairs(experiment: Experiment) -> Pairs:
    known = experiment.pairs.of_known(experiment.vocabulary.codes_VQ[:, 0] >= 0)
    assert experiment.split.slates is not None
    return known.of_slates(experiment.split.slates.train)


def _loop(experiment: Experiment, row: Row, seed: int) -> LoopSettings:
    """The preset's loop of the family; the flat decoder's is HiGR's."""
    config = experiment.config
    training = config.training_for("higr" if MODELS[row.family].uses_slates else row.family)
    changes: dict[str, Any] = {"seed": seed}
    if experiment.epochs is not None:
        changes["max_epochs"] = experiment.epochs
    if row.method is not None:
        changes["max_epochs"] = config.alignment.max_epochs
        changes["learning_rate"] = training.learning_rate * config.alignment.learning_rate_share
    training = training.model_copy(update=changes)
    return LoopSettings(**{f.name: getattr(training, f.name) for f in fields(LoopSettings)})


def _history(experiment: Experiment) -> int:
    return experiment.config.training_for("higr").max_history


def _fitting(experiment: Experiment, row: Row, seed: int) -> Fitting:
    return Fitting(
        settings=_loop(experiment, row, seed),
        exclude_seen=experiment.config.evaluation.exclude_seen,
        positive_strength=experiment.config.evaluation.positive_strength,
        device=experiment.device,
        checkpoints=_checkpoints(experiment, row, seed),
    )


def _checkpoints(experiment: Experiment, row: Row, seed: int) -> Path:
    return experiment.directory / "checkpoints" / _stem(experiment, row, seed)


def _settings(experiment: Experiment, row: Row) -> dict[str, Any]:
    return {**experiment.config.models.settings.get(row.family, {}), **row.changes}


def _alignment(experiment: Experiment, method: str) -> AlignmentConfig:
    return AlignmentConfig(**{**experiment.config.alignment.settings, "method": method})


def _identity(experiment: Experiment, row: Row, seed: int) -> dict[str, Any]:
    """What determines a cell's figures; a kept cell of another identity is made anew."""
    fitted = MODELS[row.family].configure(_settings(experiment, row))
    aligned = asdict(_alignment(experiment, row.method)) if row.method else None
    return {
        "family": row.family,
        "config": asdict(fitted),
        "loop": asdict(_loop(experiment, Row(row.family, row.changes), seed)),
        "alignment": aligned and {**aligned, "loop": asdict(_loop(experiment, row, seed))},
        "data": _digest_of_data(experiment, with_pairs=row.method is not None),
        "part": experiment.part,
    }


def _digest_of_data(experiment: Experiment, *, with_pairs: bool) -> str:
    digest = hashlib.sha256()
    split = experiment.split
    assert split.slates is not None
    histories = split.train
    arrays = [histories.items, histories.strengths, histories.times, histories.offsets]
    for slates in (split.slates.train, split.slates.validation, experiment.asked):
        arrays += [slates.user, slates.position, slates.offsets, slates.items, slates.strengths]
    arrays.append(experiment.vocabulary.codes_VQ)
    if with_pairs:
        pairs = _training_pairs(experiment)
        arrays += [pairs.chosen.position, pairs.chosen.items, pairs.rejected]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _stem(experiment: Experiment, row: Row, seed: int) -> str:
    """Names a cell; the experiments share the cell of HiGR as the preset has it."""
    changed = "-".join(f"{name}={value}" for name, value in sorted(row.changes.items()))
    parts = (row.family, changed, row.method or "", experiment.part, str(seed))
    return "-".join(part for part in parts if part)


def _cell(experiment: Experiment, row: Row, seed: int) -> tuple[pa.Table, dict[str, Any]]:
    """What each asked slate is worth, and the facts of one fit."""
    stem = experiment.directory / _stem(experiment, row, seed)
    values_path, facts_path = Path(f"{stem}.parquet"), Path(f"{stem}.json")
    identity = json.loads(json.dumps(_identity(experiment, row, seed)))
    if values_path.is_file() and facts_path.is_file():
        facts = json.loads(facts_path.read_text(encoding="utf-8"))
        if facts["identity"] == identity:
            return pq.read_table(values_path), facts
    experiment.directory.mkdir(parents=True, exist_ok=True)
    LOG.info("%s: fitting", stem.name)
    model, fit_facts = _fit(experiment, row, seed)
    MODELS[row.family].save(model, stem)
    shutil.rmtree(_checkpoints(experiment, row, seed), ignore_errors=True)
    values, figures = _measured(experiment, model)
    pq.write_table(values, values_path)
    facts = {"identity": identity, **fit_facts, **figures}
    facts_path.write_text(json.dumps(facts, indent=1, default=str), encoding="utf-8")
    LOG.info("%s: fitted in %.0f s, %s", stem.name, facts["fit_seconds"], figures["metrics"])
    return values, facts


def _load(experiment: Experiment, row: Row, seed: int) -> SlateModel:
    """The model of a cell, which is fitted where it is not there."""
    _cell(experiment, row, seed)
    folder = experiment.directory / _stem(experiment, row, seed)
    model = MODELS[row.family].load(folder, experiment.device)
    assert isinstance(model, SlateModel)
    return model


def _fit(experiment: Experiment, row: Row, seed: int) -> tuple[Recommender, dict[str, Any]]:
    family, fitting = MODELS[row.family], _fitting(experiment, row, seed)
    split = experiment.split
    if row.method is None:
        minimum = experiment.config.training_for(
            "higr" if family.uses_slates else row.family
        ).minimum_strength
        split = split.keeping(lambda histories: histories.strengths >= minimum)
        config = family.configure(_settings(experiment, row))
        model, report = family.fit(split, config, fitting, experiment.vocabulary)
    else:
        minimum = experiment.config.training_for("higr").minimum_strength
        split = split.keeping(lambda histories: histories.strengths >= minimum)
        begin = _load(experiment, Row(row.family, row.changes), seed)
        assert family.align is not None
        model, report = family.align(
            begin,
            split,
            experiment.pairs,
            _alignment(experiment, row.method),
            fitting,
            experiment.vocabulary,
            item_vectors_VD=experiment.vectors_VD,
        )
    epochs = report.epochs
    best = report.facts.get("best_epoch") or 0
    return model, {
        "fit_seconds": sum(e["seconds"] + e["validation_seconds"] for e in epochs),
        "tokens_per_second": median(e["tokens_per_second"] for e in epochs) if epochs else None,
        "parameters": report.facts.get("parameters"),
        "best_epoch": best,
        "collapsed": report.facts.get("collapsed", ""),
        "watched": dict(epochs[best - 1]) if best and row.method else report.facts.get("before"),
        "watched_before": report.facts.get("before"),
    }


def _measured(experiment: Experiment, model: Recommender) -> tuple[pa.Table, dict[str, Any]]:
    asked = experiment.asked
    said_SM = said_slates(
        model,
        asked,
        SLATE,
        max_history=_history(experiment),
        exclude_seen=experiment.config.evaluation.exclude_seen,
    )
    values = slate_metrics(said_SM, asked, (5,))
    shown_SM = said_SM[:, :5]
    with np.errstate(invalid="ignore"):
        similarity_S = intra_list_similarity(shown_SM, experiment.vectors_VD)
    _, means = per_user(values, asked.user)
    figures = {
        "metrics": {name: float(means[name].mean()) for name in METRICS},
        "similarity": float(np.nanmean(similarity_S)) if np.isfinite(similarity_S).any() else None,
        "coverage": coverage(shown_SM, experiment.vocabulary.num_items),
    }
    return pa.table({"user": asked.user, **{name: values[name] for name in METRICS}}), figures


def _figures(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean over seeds of each figure, and its deviation over seeds."""

    def over_seeds(pick: Callable[[Mapping[str, Any]], Any]) -> dict[str, float | None] | None:
        values = [value for facts in found if (value := pick(facts)) is not None]
        if not values:
            return None
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return {"mean": float(np.mean(values)), "seed_deviation": deviation}

    return {
        "metrics": {name: over_seeds(lambda f, n=name: f["metrics"][n]) for name in METRICS},  # type: ignore[misc]
        "similarity": over_seeds(lambda f: f["similarity"]),
        "coverage": over_seeds(lambda f: f["coverage"]),
        "tokens_per_second": over_seeds(lambda f: f["tokens_per_second"]),
        "preference_accuracy": over_seeds(
            lambda f: (f["watched"] or {}).get("preference_accuracy")
        ),
        "chosen_log_prob": over_seeds(lambda f: (f["watched"] or {}).get("chosen_log_prob")),
        "repeats": over_seeds(lambda f: (f["watched"] or {}).get("repeats")),
        "parameters": found[0]["parameters"],
        "fit_seconds": sum(facts["fit_seconds"] for facts in found),
        "best_epochs": [facts["best_epoch"] for facts in found],
        "collapsed": sorted({facts["collapsed"] for facts in found if facts["collapsed"]}),
    }


Cells = Sequence[tuple[pa.Table, Mapping[str, Any]]]


def _difference(ours: Cells, theirs: Cells) -> dict[str, Any]:
    """Of each metric ours less theirs, absolute and relative, with intervals over users."""
    user_S = ours[0][0]["user"].to_numpy()
    columns = []
    for cells in (ours, theirs):
        means = {n: np.mean([v[n].to_numpy() for v, _ in cells], axis=0) for n in METRICS}
        _, by_user = per_user(means, user_S)
        columns += [by_user[name] for name in METRICS]
    values_UC = np.stack(columns, axis=1)
    draws_SC = bootstrap_means(values_UC, samples=SAMPLES, seed=0)
    found = {}
    for place, name in enumerate(METRICS):
        other = place + len(METRICS)
        compared = compare(
            values_UC[:, place],
            values_UC[:, other],
            draws_SC[:, place],
            draws_SC[:, other],
            confidence=CONFIDENCE,
        )
        relative = compared.relative and asdict(compared.relative)
        found[name] = {"difference": asdict(compared.difference), "relative": relative}
    return {"metrics": found}


def markdown(found: Mapping[str, Any]) -> str:
    """The tables: figures, differences, and what decoding or a step costs."""
    is_decoder = found["experiment"] == "decoder"
    title = "HiGR's decoder" if is_decoder else "Alignment"
    lines = [
        f"### {title} on {found['dataset']}: {found['slates']:,} {found['part']} slates of"
        f" {found['users']:,} people, {len(found['seeds'])} seed(s)",
        "",
        "Means over users, ± over seeds; similarity is the mean cosine within the first five"
        " places, coverage the share of the catalogue that they hold.",
        "",
    ]
    extra = [] if is_decoder else ["preference accuracy", "chosen log p", "repeats", "collapsed"]
    head = ["row", *METRICS, "similarity", "coverage", *extra, "tokens/s", "weights", "fit, s"]
    lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in found["rows"]:
        cells = [_spread(row["metrics"][name], 4) for name in METRICS]
        cells += [_spread(row["similarity"], 3), _spread(row["coverage"], 3)]
        if not is_decoder:
            named = ("preference_accuracy", "chosen_log_prob", "repeats")
            cells += [_spread(row[name], 3) for name in named]
            cells.append("; ".join(row["collapsed"]) or "no")
        speed = row["tokens_per_second"]
        weights = f"{row['parameters']:,}" if row["parameters"] else "–"
        cells += [f"{speed['mean']:,.0f}" if speed else "–", weights, f"{row['fit_seconds']:.0f}"]
        lines.append(f"| {row['row']} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Each row minus *{found['against']}*, {CONFIDENCE:.0%} intervals over people:",
        "",
        "| row | " + " | ".join(f"{name} | relative" for name in METRICS) + " |",
        "|---" * (1 + 2 * len(METRICS)) + "|",
    ]
    for row in found["differences"]:
        cells = []
        for name in METRICS:
            own = row["metrics"][name]
            cells += [_bounds(own["difference"], "+.4f"), _bounds(own["relative"], "+.1%")]
        lines.append(f"| {row['row']} | " + " | ".join(cells) + " |")
    if is_decoder:
        flat = found["latency"][FLAT]["milliseconds"]
        lines += [
            "",
            "| slate of 10 | heavy steps | ms | of the flat decoder's |",
            "|---|---|---|---|",
        ]
        for name, own in found["latency"].items():
            share = own["milliseconds"] / flat
            lines.append(
                f"| {name} | {own['heavy_steps']} | {own['milliseconds']:.2f} | {share:.2f} |"
            )
    else:
        before = found["memory"]["pretraining"]
        lines += ["", "| step | peak MiB | of pretraining's |", "|---|---|---|"]
        for name, peak in found["memory"].items():
            lines.append(f"| {name} | {peak:.0f} | {peak / before:.2f} |")
    return "\n".join(lines) + "\n"


def differences_to_draw(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows for `training.report.charts.paired_differences`, of the metric that knows of places."""
    rows = []
    for row in found["differences"]:
        own = row["metrics"]["ndcg@5"]["difference"]
        rows.append({"label": row["row"], "difference": own["point"], **own})
    return rows


def _spread(value: Mapping[str, Any] | None, digits: int) -> str:
    if value is None or math.isnan(value["mean"]):
        return "–"
    spread = value["seed_deviation"]
    return f"{value['mean']:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")


def _bounds(value: Mapping[str, float] | None, form: str) -> str:
    if value is None:
        return "–"
    point, low, high = (format(value[name], form) for name in ("point", "low", "high"))
    return f"{point} [{low}, {high}]"
