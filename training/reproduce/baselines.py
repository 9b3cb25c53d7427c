"""The table of the README: every family on one dataset, several seeds, leave-last-out.

Each cell (family, seed) is fitted, measured on every user's last event over the full catalogue, and
kept as one Parquet file of per-user values, so that a stopped run goes on where it was. The table
averages seeds within a user first; its intervals are over users, its `±` over seeds.
"""

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training import inference
from training.config import TrainingConfig
from training.data.splits import Split
from training.data.vocabulary import Vocabulary
from training.evaluation.bootstrap import bootstrap_means, interval, over_seeds
from training.evaluation.record import ALL
from training.evaluation.retrieval import Meter, by_slice, consume
from training.fit.fitting import Fitting, LoopSettings
from training.models import MODELS
from training.models.interface import Model, Queries, TopK, queries_of
from training.registry.predictor import on_all_cores

LOG = logging.getLogger(__name__)
METRICS = ("hr@10", "ndcg@10", "hr@50", "ndcg@50", "mrr")
_SEEDLESS = ("popularity", "item_knn")
"""Families that count and draw nothing: one seed says it all."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One dataset, split once, and where its cells are kept."""

    dataset: str
    config: TrainingConfig
    split: Split
    vocabulary: Vocabulary
    directory: Path
    device: str = "cpu"


def run(
    experiment: Experiment, *, families: Sequence[str], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Fit and measure what is missing; returns the rows of the table.

    Raises:
        ValueError: a family is not in `MODELS`.
    """
    unknown = sorted(set(families) - set(MODELS))
    if unknown:
        raise ValueError(f"no family {unknown}; there are {sorted(MODELS)}")
    rows = []
    for family in families:
        own = seeds[:1] if family in _SEEDLESS else seeds
        cells = [_cell(experiment, family, seed) for seed in own]
        rows.append(_row(experiment.config, family, cells))
    return rows


def _cell(experiment: Experiment, family: str, seed: int) -> tuple[pa.Table, dict[str, Any]]:
    """Per-user values and facts of one fit; read from the last run where they are there."""
    values_path = experiment.directory / f"{family}-{seed}.parquet"
    facts_path = experiment.directory / f"{family}-{seed}.json"
    wanted = _identity(experiment, family, seed)
    if values_path.is_file() and facts_path.is_file():
        facts = json.loads(facts_path.read_text(encoding="utf-8"))
        if facts["identity"] == wanted:
            return pq.read_table(values_path), facts
    experiment.directory.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    model, report = _fit(experiment, family, seed)
    fitted = time.perf_counter()
    values = _measure(experiment, model)
    facts = {
        "identity": wanted,
        "fit_seconds": round(fitted - started, 1),
        "evaluate_seconds": round(time.perf_counter() - fitted, 1),
        "epochs": report.epochs,
        **report.facts,
    }
    pq.write_table(values, values_path)
    facts_path.write_text(json.dumps(facts, indent=1, default=str), encoding="utf-8")
    LOG.info("%s, seed %d: fitted in %.0f s", family, seed, facts["fit_seconds"])
    return values, facts


def _identity(experiment: Experiment, family: str, seed: int) -> dict[str, Any]:
    config = experiment.config
    loop = config.training_for(family).model_dump(mode="json", exclude={"overrides", "seed"})
    return {
        "family": family,
        "seed": seed,
        "settings": config.models.settings.get(family, {}),
        "training": loop,
        "evaluation": config.evaluation.model_dump(mode="json"),
        "generation": experiment.vocabulary.generation
        if "semantic_ids" in MODELS[family].reads
        else "",
        "split": json.loads(json.dumps(dict(experiment.split.facts), default=str)),
    }


def _fit(experiment: Experiment, family: str, seed: int) -> tuple[Model, Any]:
    config = experiment.config
    kind = MODELS[family]
    chosen = config.training_for(family).model_dump()
    settings = {k: v for k, v in chosen.items() if k in LoopSettings.__dataclass_fields__}
    fitting = Fitting(
        settings=LoopSettings(**{**settings, "seed": seed}),
        exclude_seen=config.evaluation.exclude_seen,
        positive_strength=config.evaluation.positive_strength,
        device=experiment.device,
    )
    shape = kind.configure(config.models.settings.get(family, {}))
    return kind.fit(experiment.split, shape, fitting, experiment.vocabulary)


def _measure(experiment: Experiment, model: Model) -> pa.Table:
    evaluation, targets = experiment.config.evaluation, experiment.split.test
    meter = Meter(num_items=experiment.vocabulary.num_items, list_length=max(evaluation.cutoffs))
    max_history = experiment.config.training_for(model.family).max_history
    consume(meter, _answers(model, experiment, max_history), targets, evaluation.cutoffs)
    found = by_slice(meter, targets, cutoffs=evaluation.cutoffs, train=experiment.split.train)[ALL]
    columns = dict(zip(found.names, found.values_UM.T, strict=True))
    return pa.table({"user": found.users, **columns})


def _answers(model: Model, experiment: Experiment, max_history: int) -> Iterable[TopK]:
    evaluation = experiment.config.evaluation

    def answer(queries: Queries) -> TopK:
        return inference.recommend(model, queries, max(evaluation.cutoffs))

    for queries in queries_of(
        experiment.split.test, max_history=max_history, exclude_seen=evaluation.exclude_seen
    ):
        yield on_all_cores(answer, queries, device=experiment.device)


def _row(
    config: TrainingConfig, family: str, cells: Sequence[tuple[pa.Table, Mapping[str, Any]]]
) -> dict[str, Any]:
    """Means over seeds and users, an interval over users, a deviation over seeds."""
    names = [name for name in METRICS if name in cells[0][0].column_names]
    values_SUM = np.stack(
        [np.stack([table[name].to_numpy() for name in names], axis=1) for table, _ in cells]
    )
    per_user_UM = values_SUM.mean(axis=0)
    replicates_BM = bootstrap_means(
        per_user_UM, samples=config.evaluation.bootstrap_samples, seed=config.evaluation.seed
    )
    seeds_SM = values_SUM.mean(axis=1)
    metrics = {}
    for place, name in enumerate(names):
        bounds = interval(
            float(per_user_UM[:, place].mean()),
            replicates_BM[:, place],
            confidence=config.gate.confidence,
        )
        metrics[name] = over_seeds(seeds_SM[:, place].tolist()) | {
            "mean": bounds.point,
            "low": bounds.low,
            "high": bounds.high,
        }
    return {
        "family": family,
        "seeds": len(cells),
        "users": len(per_user_UM),
        "metrics": metrics,
        "fit_seconds": [facts["fit_seconds"] for _, facts in cells],
    }


def markdown(dataset: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a Markdown table: mean (± over seeds) [interval over users]."""
    names = [name for name in METRICS if name in rows[0]["metrics"]]
    lines = [
        f"### {dataset}, leave-last-out, full catalogue, {rows[0]['users']:,} users",
        "",
        "| family | seeds | " + " | ".join(names) + " | fit, s |",
        "|---|---|" + "---|" * (len(names) + 1),
    ]
    for row in rows:
        cells = [_shown(row["metrics"][name], with_interval=name == "ndcg@10") for name in names]
        seconds = f"{np.median(row['fit_seconds']):.0f}"
        lines.append(
            f"| {row['family']} | {row['seeds']} | " + " | ".join(cells) + f" | {seconds} |"
        )
    return "\n".join(lines) + "\n"


def _shown(value: Mapping[str, Any], *, with_interval: bool) -> str:
    spread = "" if value["seed_deviation"] is None else f" ± {value['seed_deviation']:.4f}"
    bounds = f" [{value['low']:.4f}, {value['high']:.4f}]" if with_interval else ""
    return f"{value['mean']:.4f}{spread}{bounds}"
