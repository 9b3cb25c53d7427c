"""From probabilities of positive feedback to means, intervals and paired comparisons.

The same facts as `training.scoreboard` has for lists, about the recommenders that can rank: whoever
can't is absent. Every metric of every recommender is taken on the same draws of users.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from training.config import TrainingConfig
from training.evaluation.compare import compare_points, interval, user_draws
from training.evaluation.ranking import SMALLER_IS_BETTER, Judged
from training.evaluation.retrieval import ALL
from training.scoreboard import pairs

Facts = dict[str, Any]


def ranking_scoreboard(
    config: TrainingConfig,
    judged: Mapping[str, Judged],
    masks: Mapping[str, np.ndarray],
) -> tuple[dict[str, Facts], list[Facts]]:
    """Facts of each recommender by slice, and paired comparisons of all of them.

    Args:
        config: evaluation, gate, and who faces whom.
        judged: by label, what each said of the same events.
        masks: named subsets of the events, bool, shape [T].
    Returns:
        By label and slice: sizes, calibration and `values`, each metric's mean and interval; and a
        row per slice, pair and metric as `scoreboard` makes them.
    """
    facts: dict[str, Facts] = {label: {} for label in judged}
    comparisons: list[Facts] = []
    for name in (ALL, *masks):
        part = {
            label: whole if name == ALL else whole.where(masks[name])
            for label, whole in judged.items()
        }
        board = _Board(config, part)
        for label in part:
            facts[label][name] = board.facts(label)
        comparisons += [{"slice": name, **row} for row in board.comparisons()]
    return facts, comparisons


class _Board:
    """One slice: what each recommender's metrics are, on the sample and on every draw of it."""

    def __init__(self, config: TrainingConfig, judged: Mapping[str, Judged]) -> None:
        self._config, self._judged = config, judged
        self._points = {label: own.points() for label, own in judged.items() if len(own)}
        self._replicates: dict[str, dict[str, np.ndarray]] = {}
        if self._points:
            self._draw()

    def _draw(self) -> None:
        evaluation = self._config.evaluation
        num_users = next(iter(self._judged.values())).num_users
        drawn: dict[str, list[dict[str, np.ndarray]]] = {label: [] for label in self._judged}
        for counts_SU in user_draws(
            num_users, samples=evaluation.bootstrap_samples, seed=evaluation.seed
        ):
            for label, own in self._judged.items():
                drawn[label].append(own.replicates(counts_SU))
        for label, parts in drawn.items():
            self._replicates[label] = {
                name: np.concatenate([part[name] for part in parts]) for name in self._points[label]
            }

    def facts(self, label: str) -> Facts:
        """A recommender's sizes, calibration and metrics; none where the slice has no event."""
        own = self._judged[label]
        sizes = {"num_users": own.num_users, "num_targets": len(own)}
        if not len(own):
            return {**sizes, "values": {}}
        values = {
            name: asdict(
                interval(point, self._finite(label, name), confidence=self._config.gate.confidence)
            )
            for name, point in self._points[label].items()
        }
        return {**sizes, **own.facts(), "values": values}

    def _finite(self, label: str, name: str) -> np.ndarray:
        """Replicates in which the metric is defined: users of one label only define no order."""
        replicates_S = self._replicates[label][name]
        return replicates_S[np.isfinite(replicates_S)]

    def comparisons(self) -> list[Facts]:
        """A row per pair and metric that both have."""
        rows = []
        for ours, theirs in pairs(self._config, self._points):
            for metric, point in self._points[ours].items():
                found = compare_points(
                    point,
                    self._points[theirs][metric],
                    self._finite(ours, metric),
                    self._finite(theirs, metric),
                    num_users=self._judged[ours].num_users,
                    confidence=self._config.gate.confidence,
                    smaller_is_better=metric in SMALLER_IS_BETTER,
                )
                numbers = asdict(found)
                means = {"ours_mean": numbers.pop("ours"), "theirs_mean": numbers.pop("theirs")}
                row = {"ours": ours, "theirs": theirs, "metric": metric}
                rows.append({**row, **means, **numbers})
        return rows
