"""From per-user metrics of several recommenders to means, intervals and paired comparisons.

The result is plain data: the gate decides from it, the report draws it, MLflow keeps it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from feature_store.preset import PresetError
from training.config import TrainingConfig
from training.evaluation.compare import bootstrap_means, compare, interval
from training.evaluation.metric_names import (
    RANKING_METRICS,
    READINGS,
    list_metric_names,
    slate_metric_names,
)
from training.evaluation.retrieval import ALL, UserMetrics
from training.gate import CHAMPION, PRETRAINED

Facts = dict[str, Any]
BySlice = Mapping[str, UserMetrics]


def scoreboard(
    config: TrainingConfig,
    found: Mapping[str, BySlice],
    facts: Mapping[str, Facts],
    *,
    also_measured: Collection[str] = (),
) -> Facts:
    """Means with intervals, and paired comparisons, of all entrants on every slice.

    Args:
        config: evaluation, gate, and who faces whom.
        found: per label and slice, the per-user metrics of those who recommend; a slice has the
            same users for all.
        facts: what else is known of each entrant, by label.
        also_measured: metrics that somebody else measures, and the gate may ask for.
    Returns:
        `entrants` by label with `metrics` by slice, `comparisons` as a list of rows, and how
        they were made.
    Raises:
        PresetError: the gate asks for a metric that was not measured.
    """
    first = next(iter(found.values()))
    require_answerable(config, (*first[ALL].names, *also_measured))
    entrants: dict[str, Facts] = {label: {**own, "metrics": {}} for label, own in facts.items()}
    comparisons: list[Facts] = []
    for name in first:
        board = SliceBoard(config, {label: by_slice[name] for label, by_slice in found.items()})
        for label in found:
            entrants[label]["metrics"][name] = board.means(label)
        comparisons += [{"slice": name, **row} for row in board.comparisons()]
    return {
        "challenger": config.models.challenger,
        "baselines": [*config.models.baselines, *({PRETRAINED} & set(found))],
        "num_users": len(first[ALL].users),
        "num_targets": int(first[ALL].num_targets.sum()),
        "cutoffs": list(config.evaluation.cutoffs),
        "confidence": config.gate.confidence,
        "bootstrap_samples": config.evaluation.bootstrap_samples,
        "entrants": entrants,
        "comparisons": comparisons,
    }


class SliceBoard:
    """One slice's users, with every metric of every entrant drawn in the same replicates."""

    def __init__(self, config: TrainingConfig, found: BySlice) -> None:
        self._config = config
        self._found = found
        self._columns: dict[tuple[str, str], np.ndarray] = {}
        self._replicates: dict[tuple[str, str], np.ndarray] = {}
        for label, metrics in found.items():
            for name, values_U in zip(metrics.names, metrics.values_UM.T, strict=True):
                self._columns[label, name] = values_U
        if self._users:
            replicates_SC = bootstrap_means(
                np.stack(list(self._columns.values()), axis=1),
                samples=config.evaluation.bootstrap_samples,
                seed=config.evaluation.seed,
            )
            self._replicates = dict(zip(self._columns, replicates_SC.T, strict=True))

    @property
    def _users(self) -> int:
        return len(next(iter(self._found.values())).users)

    def means(self, label: str) -> Facts:
        """An entrant's mean and interval by metric; no values where the slice has no user."""
        metrics, confidence = self._found[label], self._config.gate.confidence
        values = {
            name: asdict(interval(mean, self._replicates[label, name], confidence=confidence))
            for name, mean in metrics.means().items()
        }
        sizes = {"num_users": self._users, "num_targets": int(metrics.num_targets.sum())}
        return {**sizes, "values": values}

    def comparisons(self) -> list[Facts]:
        """A row per pair and metric that the gate or the report may ask for."""
        if not self._users:
            return []
        rows = []
        for ours, theirs in pairs(self._config, self._found):
            for metric in _compared_metrics(self._config, self._found[ours].names):
                a, b = (ours, metric), (theirs, metric)
                found = compare(
                    self._columns[a],
                    self._columns[b],
                    self._replicates[a],
                    self._replicates[b],
                    confidence=self._config.gate.confidence,
                )
                row = {"ours": ours, "theirs": theirs, "metric": metric}
                numbers = asdict(found)
                means = {"ours_mean": numbers.pop("ours"), "theirs_mean": numbers.pop("theirs")}
                rows.append({**row, **means, **numbers})
        return rows


def require_answerable(config: TrainingConfig, names: Iterable[str] | None = None) -> None:
    """Refuse a gate that asks for what the evaluation does not give.

    Args:
        config: the preset.
        names: metrics that were measured; None: those that could be.
    Raises:
        PresetError: the floor is nobody's family, or a metric is not measured.
    """
    families = (config.models.challenger, *config.models.baselines)
    if config.gate.floor not in families:
        raise PresetError(
            f"gate.floor is {config.gate.floor!r}, which is not evaluated; models has "
            + ", ".join(families)
        )
    if names is None:
        names = [
            *list_metric_names(config.evaluation.cutoffs),
            *RANKING_METRICS,
            *slate_metric_names(config.evaluation.slate_cutoffs),
        ]
    # A guard of feedback guards those who can rank; it may be that nobody can.
    guards = set(config.gate.guard_metrics) - set(RANKING_METRICS)
    unknown = sorted({config.gate.primary_metric, *guards} - set(names))
    if unknown:
        raise PresetError(
            f"the gate asks for {', '.join(unknown)}, the evaluation measures "
            f"{', '.join(sorted(names))}; "
            "change gate.primary_metric, gate.guard_metrics or evaluation.cutoffs"
        )


def headline(facts: Facts) -> dict[str, float]:
    """The means over all targets, `<label>.<metric>`, for MLflow's own tables and charts."""
    return {
        f"{label}.{metric}": bounds["point"]
        for label, found in facts["entrants"].items()
        for metric, bounds in _values(found).items()
    }


def in_words(facts: Facts, metric: str) -> str:
    """One line: the means of one metric of all entrants that have it."""
    found = {label: _values(entrant) for label, entrant in facts["entrants"].items()}
    shown = (f"{k} {v[metric]['point']:.4f}" for k, v in found.items() if metric in v)
    challenger = facts["entrants"][facts["challenger"]]
    of_slates = metric.startswith("slate_") and "slates" in challenger
    found_on = challenger["slates"] if of_slates else challenger
    num_users = found_on["metrics"].get(ALL, facts)["num_users"]
    return f"{metric} on {num_users:,} users: " + ", ".join(shown)


def _values(entrant: Mapping[str, Any]) -> Mapping[str, Any]:
    """An entrant's metrics on all targets, of whatever it answers."""
    values = dict(entrant["metrics"][ALL]["values"]) if entrant["metrics"] else {}
    if "ranking" in entrant:
        values |= entrant["ranking"][ALL]["values"]
    if "slates" in entrant:
        values |= entrant["slates"]["metrics"][ALL]["values"]
    return values


def pairs(config: TrainingConfig, labels: Iterable[str]) -> list[tuple[str, str]]:
    """Who faces whom: the challenger all others, each baseline the champion and the floor."""
    there, challenger = list(labels), config.models.challenger
    judges = (CHAMPION, config.gate.floor)
    pairs = [(challenger, other) for other in there]
    pairs += [(own, judge) for own in (*config.models.baselines, PRETRAINED) for judge in judges]
    return [(a, b) for a, b in dict.fromkeys(pairs) if a != b and {a, b} <= set(there)]


def _compared_metrics(config: TrainingConfig, names: Iterable[str]) -> list[str]:
    """Metrics of items, and whatever the gate looks at."""
    asked = {config.gate.primary_metric, *config.gate.guard_metrics}
    return [name for name in names if name in asked or not name.startswith(READINGS[1:])]
