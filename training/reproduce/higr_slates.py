"""HiGR's second and third experiments (arXiv:2512.24787; MECHANICS §3.8), on held-out slates.

`decoder`: HiGR under the preset's settings, with one part changed at a time, against the flat
decoder of equally many weights, and what lists of the baselines are worth as slates; beside it the
steps of the heavy stack and the milliseconds that a slate of ten takes, all models taking turns.
`alignment`: ORPO, DPO and SimPO, each from the same trained model, against that model.

A cell is one row under one seed; a cell that is there, of the same settings and data, is not fitted
again, and is measured again only where something about the measuring changed. A model is asked as
the daily evaluation asks it: it reads the events that its training read, and nothing that was seen
is said. Differences are paired by user: seeds are averaged within a slate, slates within a user,
and users are drawn.

S slates, M places, U users.
"""

import hashlib
import json
import logging
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from training import inference
from training.config import Training, TrainingConfig
from training.data.histories import Histories
from training.data.preferences import Pairs, pair_batches
from training.data.queries import Queries, TopK
from training.data.slates import SHORTEST, Slates, SlateSplit
from training.data.splits import Split
from training.data.vocabulary import Vocabulary
from training.evaluation.boards.slates import worth_asking
from training.evaluation.bootstrap import Bootstrap, compare_fits, over_seeds
from training.evaluation.slate import (
    coverage,
    intra_list_similarity,
    per_user,
    slate_metrics,
)
from training.fit.fitting import FitReport, Fitting, LoopSettings
from training.models import MODELS, weights
from training.models.interface import Model
from training.models.slate.alignment import Aligned, align
from training.models.slate.fit import SlateObjective, learnable
from training.models.slate.model import SlateModel
from training.models.weights import Kept
from training.registry.predictor import Asked, on_all_cores
from training.reproduce.step_memory import step_peak
from training.settings.alignment import AlignmentConfig

LOG = logging.getLogger(__name__)
METRICS = ("hit@5", "recall@5", "ndcg@5")
MEASURED = (*METRICS, "similarity")
"""What is compared."""
WATCHED = ("preference_accuracy", "chosen_log_prob", "repeats", "invalid_share")
"""Of validation slates and their pairs, while a model is aligned."""
PLACES = 5
"""Of a slate that is measured."""
SLATE = 10
"""Places of a slate that is timed."""
CONFIDENCE = 0.95
SAMPLES = 2000
LATENCY_ROWS, LATENCY_ROUNDS = 64, 5
ROWS = 1024
"""Slates asked for at once."""
SEEDLESS = ("popularity", "item_knn")
"""Families that count and draw nothing: one seed says it all."""
Cells = Sequence[tuple[pa.Table, Mapping[str, Any]]]
"""Of one row: by seed, what each slate is worth, and the facts of the fit."""

Table = Literal["decoder", "alignment"]

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
    shared = MODELS["flat_slate"].config_class.__dataclass_fields__
    flat = {name: value for name, value in own.items() if name in shared}
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
        split: of the histories.
        slates: split as they are.
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
    slates: SlateSplit
    pairs: Pairs
    vocabulary: Vocabulary
    vectors_VD: np.ndarray
    directory: Path
    part: Literal["test", "validation"] = "test"
    epochs: int | None = None
    device: str = "cpu"

    @cached_property
    def asked(self) -> Slates:
        """The slates that showed enough items, with what was engaged with."""
        return self._asked(self.config.evaluation.slate_minimum_items)

    @cached_property
    def every(self) -> Slates:
        """The same of any length: what cells measure."""
        return self._asked(SHORTEST)

    @cached_property
    def is_long_S(self) -> np.ndarray:
        """Which of `every` are in `asked`, bool, [S]."""
        return self.every.are_among(self.asked)

    def _asked(self, minimum_items: int) -> Slates:
        return worth_asking(
            getattr(self.slates, self.part),
            minimum_items=minimum_items,
            minimum_strength=self.config.evaluation.slate_minimum_strength,
        )


def rows_of(
    which: Table, config: TrainingConfig, names: Sequence[str] = ()
) -> tuple[dict[str, Row], str]:
    """The rows of a table, and which of them the others are compared with.

    Args:
        which: the table.
        config: of the preset.
        names: rows wanted beside the one that they are compared with; none: all.
    Raises:
        ValueError: there is no such row.
    """
    rows = decoder_rows(config) if which == "decoder" else ALIGNMENT_ROWS
    against = FLAT if which == "decoder" else BEFORE
    others = [name for name in rows if name != against]
    if unknown := sorted(set(names) - set(others)):
        raise ValueError(f"no row {', '.join(unknown)} to compare; there are {', '.join(others)}")
    wanted = {*(names or others), against}
    return {name: row for name, row in rows.items() if name in wanted}, against


def run(
    experiment: Experiment,
    which: Table,
    seeds: Sequence[int],
    *,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Fit and measure what is missing; returns the table.

    Args:
        experiment: the data and where cells are.
        which: the table.
        seeds: of each row's fits.
        names: rows wanted beside the one that they are compared with; none: all.
    Raises:
        ValueError: there is no seed, no slate to ask for, or no such row.
    """
    if not seeds:
        raise ValueError("no seeds; a row is fitted once for each")
    if not len(experiment.asked):
        evaluation = experiment.config.evaluation
        raise ValueError(
            f"no {experiment.part} slate of {evaluation.slate_minimum_items} items or more with one"
            f" of strength {evaluation.slate_minimum_strength} or more"
        )
    rows, against = rows_of(which, experiment.config, names)
    found = {
        name: [_cell(experiment, row, seed) for seed in _seeds_of(row, seeds)]
        for name, row in rows.items()
    }
    if which == "alignment":
        found[BEFORE] = _watched_before(found)
    table: dict[str, Any] = {
        "experiment": which,
        "dataset": experiment.dataset,
        "part": experiment.part,
        "minimum_items": experiment.config.evaluation.slate_minimum_items,
        "seeds": list(seeds),
        "against": against,
        **_compared(experiment, found, against, experiment.is_long_S),
    }
    if not experiment.is_long_S.all():
        everything = np.ones_like(experiment.is_long_S)
        table["every_length"] = _compared(experiment, found, against, everything)
    if which == "decoder":
        table["latency"] = latency(experiment, rows, seeds[0])
    else:
        table["memory"] = memory(experiment, seeds[0])
    return table


def _seeds_of(row: Row, seeds: Sequence[int]) -> Sequence[int]:
    return seeds[:1] if row.family in SEEDLESS else seeds


def _watched_before(found: Mapping[str, Cells]) -> Cells:
    """The cells of the model before, with what the first alignment watched of it."""
    aligned = next(cells for name, cells in found.items() if name != BEFORE)
    return [
        (values, {**facts, "watched": later["watched_before"]})
        for (values, facts), (_, later) in zip(found[BEFORE], aligned, strict=True)
    ]


def _compared(
    experiment: Experiment, found: Mapping[str, Cells], against: str, mask_S: np.ndarray
) -> dict[str, Any]:
    """Figures of all rows on some of the slates, and differences to one of them."""
    num_items = experiment.vocabulary.num_items
    kept = {
        name: [(values.filter(pa.array(mask_S)), facts) for values, facts in cells]
        for name, cells in found.items()
    }
    return {
        "slates": int(mask_S.sum()),
        "users": len(np.unique(experiment.every.user[mask_S])),
        "rows": [{"row": name, **_figures(cells, num_items)} for name, cells in kept.items()],
        "differences": [
            {
                "row": name,
                **_difference(cells, kept[against], shared_seeds=against == BEFORE),
            }
            for name, cells in kept.items()
            if name != against
        ],
    }


def latency(experiment: Experiment, rows: Mapping[str, Row], seed: int) -> dict[str, Any]:
    """Milliseconds that each model takes for a slate of ten, queries read included, and its steps.

    Returns:
        By row: `milliseconds` (median of rounds in which all take turns) and `heavy_steps`, how
        often the heavy stack is run one after the other for a slate.
    """
    models = {
        name: _load(experiment, row, seed)
        for name, row in rows.items()
        if "slates" in MODELS[row.family].reads
    }
    first = experiment.asked.where(np.arange(min(LATENCY_ROWS, len(experiment.asked))))
    queries = _questions(experiment, ALIGNMENT_ROWS[BEFORE], first, exclude_seen=True)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(LATENCY_ROUNDS + 1):
        for name, model in models.items():
            started = time.perf_counter()
            inference.recommend(model, queries, SLATE)
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - started)
    return {
        name: {
            "milliseconds": 1000 * median(seconds[name]) / len(queries),
            "heavy_steps": SLATE * (model.num_levels if rows[name].family == "flat_slate" else 1),
        }
        for name, model in models.items()
    }


def memory(experiment: Experiment, seed: int) -> dict[str, float]:
    """Peak MiB of a training step at equal positions: pretraining's, and each method's."""
    row = ALIGNMENT_ROWS[BEFORE]
    fitting = _fitting(experiment, row, seed)
    # As in training: dropout keeps its masks.
    model = _load(experiment, row, seed).to(fitting.device).train()
    slates = learnable(_read(experiment, row)[1], model.config, experiment.vocabulary.codes_VQ)
    objective = SlateObjective(slates, fitting.settings, model.positions_per_item)
    largest = max(objective.batches(0, first_step=0, rank=0, world_size=1), key=_cells_of)
    plan = objective.plan(1)
    pairs = _training_pairs(experiment)
    plan = replace(plan, positions_per_item=2 * plan.positions_per_item)  # as `PairObjective` does
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
        aligned = Aligned(model, config, references_P2).train()
        found[name] = step_peak(
            aligned,
            lambda aligned=aligned: aligned(pair_batch) / pair_batch.num_targets,  # type: ignore[misc]
        )
    return {name: peak / 2**20 for name, peak in found.items()}


def _cells_of(batch: Any) -> int:
    return batch.num_cells


def _training(experiment: Experiment, row: Row) -> Training:
    """The preset's settings of the family's loop; the flat decoder's are HiGR's."""
    return experiment.config.training_for(
        "higr" if "slates" in MODELS[row.family].reads else row.family
    )


def _read(experiment: Experiment, row: Row) -> tuple[Split, SlateSplit]:
    """Targets and slates with the events that a family reads."""
    minimum = _training(experiment, row).minimum_strength

    def is_read(histories: Histories) -> np.ndarray:
        return histories.strengths >= minimum

    return experiment.split.keeping(is_read), experiment.slates.keeping(is_read)


def _read_pairs(experiment: Experiment) -> Pairs:
    minimum = _training(experiment, ALIGNMENT_ROWS[BEFORE]).minimum_strength
    return experiment.pairs.keeping(lambda histories: histories.strengths >= minimum)


def _training_pairs(experiment: Experiment) -> Pairs:
    known = _read_pairs(experiment).of_known(experiment.vocabulary.codes_VQ[:, 0] >= 0)
    return known.of_slates(experiment.slates.train)


def _loop(experiment: Experiment, row: Row, seed: int) -> LoopSettings:
    """The loop of a fit, or of the alignment where the row is aligned."""
    config, training = experiment.config, _training(experiment, row)
    changes: dict[str, Any] = {"seed": seed}
    if experiment.epochs is not None:
        changes["max_epochs"] = experiment.epochs
    if row.method is not None:
        longest = config.alignment.max_epochs
        changes["max_epochs"] = min(longest, experiment.epochs or longest)
        changes["learning_rate"] = training.learning_rate * config.alignment.learning_rate_share
    training = training.model_copy(update=changes)
    return LoopSettings(**{f.name: getattr(training, f.name) for f in fields(LoopSettings)})


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
    slates, histories = experiment.slates, experiment.split.train
    arrays = [histories.items, histories.strengths, histories.times, histories.offsets]
    for part in (slates.train, slates.validation, experiment.asked):
        arrays += [part.user, part.position, part.offsets, part.items, part.strengths]
    arrays.append(experiment.vocabulary.codes_VQ)
    if with_pairs:
        pairs = _training_pairs(experiment)
        arrays += [pairs.chosen.position, pairs.chosen.items, pairs.rejected]
    return _digest(arrays)


def _digest(arrays: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _stem(experiment: Experiment, row: Row, seed: int) -> str:
    """Names a cell; the experiments share the cell of HiGR as the preset has it."""
    changed = "-".join(f"{name}={value}" for name, value in sorted(row.changes.items()))
    parts = (row.family, changed, row.method or "", experiment.part, str(seed))
    return "-".join(part for part in parts if part)


def _measuring(experiment: Experiment, row: Row) -> dict[str, Any]:
    """What a cell's figures depend on beside its model."""
    every = experiment.every
    asked = [every.user, every.position, every.offsets, every.items]
    seen = [every.histories.items, every.histories.offsets, every.histories.strengths]
    training = _training(experiment, row)
    return {
        "slates": _digest([*asked, *seen]),
        "vectors": _digest([experiment.vectors_VD]),
        "exclude_seen": experiment.config.evaluation.exclude_seen,
        "minimum_strength": training.minimum_strength,
        "max_history": training.max_history,
        "places": PLACES,
    }


def _cell(experiment: Experiment, row: Row, seed: int) -> tuple[pa.Table, dict[str, Any]]:
    """What each asked slate is worth, and the facts of one fit."""
    stem = experiment.directory / _stem(experiment, row, seed)
    values_path, facts_path = Path(f"{stem}.parquet"), Path(f"{stem}.json")
    identity = json.loads(json.dumps(_identity(experiment, row, seed)))
    measuring = _measuring(experiment, row)
    facts = json.loads(facts_path.read_text(encoding="utf-8")) if facts_path.is_file() else {}
    family = MODELS[row.family]
    if facts.get("identity") != identity:
        experiment.directory.mkdir(parents=True, exist_ok=True)
        LOG.info("%s: fitting", stem.name)
        model, fit_facts = _fit(experiment, row, seed)
        weights.save(model, stem)
        facts = {"identity": identity, **fit_facts}
        _write(facts_path, facts)
        shutil.rmtree(_checkpoints(experiment, row, seed), ignore_errors=True)
        LOG.info("%s: fitted in %.0f s", stem.name, facts["fit_seconds"])
    elif facts.get("measured") == measuring and values_path.is_file():
        return pq.read_table(values_path), facts
    else:
        model = weights.load(stem, family, experiment.device)
    started = time.perf_counter()
    values = _measured(experiment, row, model)
    pq.write_table(values, values_path)
    facts |= {"measured": measuring, "measure_seconds": round(time.perf_counter() - started, 1)}
    _write(facts_path, facts)
    means = _means(values.filter(pa.array(experiment.is_long_S)))
    told = {name: round(mean, 4) for name, mean in means.items()}
    LOG.info("%s: measured in %.0f s, %s", stem.name, facts["measure_seconds"], told)
    return values, facts


def _write(path: Path, facts: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(facts, indent=1, default=str), encoding="utf-8")


def _load(experiment: Experiment, row: Row, seed: int) -> SlateModel:
    """The model of a cell, which is fitted where it is not there."""
    _cell(experiment, row, seed)
    folder = experiment.directory / _stem(experiment, row, seed)
    model = weights.load(folder, MODELS[row.family], experiment.device)
    assert isinstance(model, SlateModel)
    return model


def _fit(experiment: Experiment, row: Row, seed: int) -> tuple[Kept, dict[str, Any]]:
    family, fitting = MODELS[row.family], _fitting(experiment, row, seed)
    split, slates = _read(experiment, row)
    if row.method is None:
        config = family.configure(_settings(experiment, row))
        model, report = family.fit(
            split, config, fitting, experiment.vocabulary, {"slates": slates}
        )
    else:
        begin = _load(experiment, Row(row.family, row.changes), seed)
        model, report = align(
            begin,
            slates,
            _read_pairs(experiment),
            _alignment(experiment, row.method),
            fitting,
            experiment.vocabulary,
            item_vectors_VD=experiment.vectors_VD,
        )
    return model, _facts_of(report, is_aligned=row.method is not None)


def _facts_of(report: FitReport, *, is_aligned: bool) -> dict[str, Any]:
    """What the tables say of a fit.

    `watched` is of the model that is measured; of an alignment that was taken back it is what made
    it so, while the figures beside it are of the model before.
    """
    epochs, facts = report.epochs, report.facts
    best, collapsed = facts.get("best_epoch") or 0, facts.get("collapsed", "")
    watched = facts.get("before")
    if is_aligned and (collapsed or best):
        watched = dict(epochs[-1] if collapsed else epochs[best - 1])
    return {
        "fit_seconds": sum(e["seconds"] + e["validation_seconds"] for e in epochs),
        "tokens_per_second": median(e["tokens_per_second"] for e in epochs) if epochs else None,
        "parameters": facts.get("parameters"),
        "best_epoch": best,
        "collapsed": collapsed,
        "watched": watched,
        "watched_before": facts.get("before"),
        "epochs": epochs,
    }


def _questions(experiment: Experiment, row: Row, slates: Slates, *, exclude_seen: bool) -> Queries:
    """Queries of slates as the daily evaluation asks a bundle of the family."""
    training = _training(experiment, row)
    asked = Asked.of(
        slates.histories,
        num_items=experiment.vocabulary.num_items,
        minimum_strength=training.minimum_strength,
    )
    return asked.queries(
        slates.user, slates.position, max_history=training.max_history, exclude_seen=exclude_seen
    )


def _measured(experiment: Experiment, row: Row, model: Model) -> pa.Table:
    """A row per slate: its user, what is said in its place, and how much of that is right."""
    every, said = experiment.every, [np.empty((0, PLACES), dtype=np.int32)]
    exclude_seen = experiment.config.evaluation.exclude_seen

    def answer(queries: Queries) -> TopK:
        return inference.recommend(model, queries, PLACES)

    for start in range(0, len(every), ROWS):
        part = every.where(np.arange(start, min(start + ROWS, len(every))))
        queries = _questions(experiment, row, part, exclude_seen=exclude_seen)
        said.append(on_all_cores(answer, queries, device=experiment.device).items_Bk)
    slates_SM = np.concatenate(said)
    values = slate_metrics(slates_SM, every, (PLACES,))
    return pa.table(
        {
            "slate_id": pa.array(every.ids, pa.string()),
            "user": every.user,
            **{f"place_{place + 1}": slates_SM[:, place] for place in range(PLACES)},
            **{name: values[name] for name in METRICS},
            "similarity": intra_list_similarity(slates_SM, experiment.vectors_VD),
        }
    )


def _means(values: pa.Table) -> dict[str, float]:
    """Means over users, of each the mean over slates; NaN where nothing is known."""
    columns = {name: values[name].to_numpy() for name in MEASURED}
    _, by_user = per_user(columns, values["user"].to_numpy())
    known = {name: mean_U[~np.isnan(mean_U)] for name, mean_U in by_user.items()}
    return {name: float(one.mean()) if len(one) else math.nan for name, one in known.items()}


def _said(values: pa.Table) -> np.ndarray:
    """What is said in the place of each slate, int32, [S, M]."""
    return np.stack([values[f"place_{place + 1}"].to_numpy() for place in range(PLACES)], axis=1)


def _figures(cells: Cells, num_items: int) -> dict[str, Any]:
    """Mean over seeds of each figure, and its deviation over seeds."""

    def known(found: Sequence[float | None]) -> dict[str, Any] | None:
        values = [value for value in found if value is not None and not math.isnan(value)]
        return over_seeds(values) if values else None

    means = [_means(values) for values, _ in cells]
    facts = [facts for _, facts in cells]
    watched = [each["watched"] or {} for each in facts]
    return {
        "metrics": {name: known([mean[name] for mean in means]) for name in METRICS},
        "similarity": known([mean["similarity"] for mean in means]),
        "coverage": known([coverage(_said(values), num_items) for values, _ in cells]),
        "tokens_per_second": known([each["tokens_per_second"] for each in facts]),
        **{name: known([each.get(name) for each in watched]) for name in WATCHED},
        "parameters": facts[0]["parameters"],
        "fit_seconds": sum(each["fit_seconds"] for each in facts),
        "best_epochs": [each["best_epoch"] for each in facts],
        "collapsed": sorted({each["collapsed"] for each in facts if each["collapsed"]}),
    }


def _difference(ours: Cells, theirs: Cells, *, shared_seeds: bool) -> dict[str, Any]:
    """Of each figure ours less theirs, absolute and relative, with intervals over users and seeds.

    Users of whom a figure is not known on both sides are left out of it.

    Args:
        ours: by seed.
        theirs: by seed.
        shared_seeds: a fit of ours goes on from theirs of the same seed: both are drawn together.
    """
    user_S = ours[0][0]["user"].to_numpy()
    how = Bootstrap(SAMPLES, seed=0, confidence=CONFIDENCE)
    found = {}
    for name in MEASURED:
        ours_UK, theirs_UL = (_by_user(cells, name, user_S) for cells in (ours, theirs))
        compared = compare_fits(ours_UK, theirs_UL, bootstrap=how, shared_seeds=shared_seeds)
        if compared is not None:
            relative = compared.relative and asdict(compared.relative)
            found[name] = {"difference": asdict(compared.difference), "relative": relative}
    return {"metrics": found}


def _by_user(cells: Cells, name: str, user_S: np.ndarray) -> np.ndarray:
    """A figure by user and seed, float64, [U, K]; a slate counts for all seeds or for none."""
    values_KS = np.stack([values[name].to_numpy() for values, _ in cells])
    known_KS = np.where(np.isnan(values_KS).any(axis=0), np.nan, values_KS)
    _, by_user = per_user({str(place): row_S for place, row_S in enumerate(known_KS)}, user_S)
    return np.stack(list(by_user.values()), axis=1)
