"""From the answers of a day's entrants to rows of the record: means, intervals, comparisons.

All entrants of a slice are taken on the same draws of users, so that every difference is paired.
"""

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from training.evaluation.boards.interface import Measured
from training.evaluation.bootstrap import Bootstrap, compare_points, interval, user_draws
from training.evaluation.metrics import metric_of, parse
from training.evaluation.record import (
    CHAMPION,
    PRETRAINED,
    REFERENCE,
    BoardRow,
    Comparison,
    Slice,
)
from training.evaluation.samples import Sample

Pairs = list[tuple[str, str]]
Answers = Mapping[str, Mapping[str, Measured]]
"""By label and board what was measured; a board that an entrant does not answer is not there."""


def who_faces_whom(
    challenger: str, baselines: Iterable[str], floor: str, labels: Collection[str]
) -> Pairs:
    """Who is compared with whom, as far as they are there.

    The challenger faces all others, each baseline the champion, the reference and the floor, and
    the champion the reference.
    """
    pairs = [(challenger, other) for other in labels]
    judges = (CHAMPION, REFERENCE, floor)
    pairs += [(one, judge) for one in (*baselines, PRETRAINED) for judge in judges]
    pairs.append((CHAMPION, REFERENCE))
    return [(a, b) for a, b in dict.fromkeys(pairs) if a != b and {a, b} <= set(labels)]


def score_boards(
    answers: Answers,
    boards: Iterable[str],
    pairs: Pairs,
    bootstrap: Bootstrap,
    *,
    decisive: Collection[str] = (),
) -> tuple[dict[str, dict[str, BoardRow]], list[Comparison]]:
    """By label and board the row of the record, and the comparisons of every board.

    Args:
        answers: of all entrants.
        boards: their names, in the order of the comparisons.
        pairs: who faces whom.
        bootstrap: how.
        decisive: as `score` has it.
    """
    rows: dict[str, dict[str, BoardRow]] = {label: {} for label in answers}
    comparisons: list[Comparison] = []
    for board in boards:
        measured = {label: found[board] for label, found in answers.items() if board in found}
        slices, compared = score(measured, pairs, bootstrap, decisive=decisive)
        comparisons += compared
        for label, one in measured.items():
            rows[label][board] = BoardRow(
                slices[label], one.facts, one.contradictions, one.seconds, one.calibration
            )
    return rows, comparisons


def score(
    measured: Mapping[str, Measured],
    pairs: Pairs,
    bootstrap: Bootstrap,
    *,
    decisive: Collection[str] = (),
) -> tuple[dict[str, dict[str, Slice]], list[Comparison]]:
    """Every entrant's slices, and every pair's comparisons, on one board.

    Args:
        measured: by label, what the board found; the slices are the same for all.
        pairs: who faces whom; pairs of others are passed over.
        bootstrap: how.
        decisive: metrics that are compared whatever they read; of the others, those of items are.
    Returns:
        By label and slice the metrics; and a row per slice, pair and metric that both have.
    """
    slices: dict[str, dict[str, Slice]] = {label: {} for label in measured}
    rows: list[Comparison] = []
    for name in next(iter(measured.values())).samples if measured else ():
        part = _Part({label: each.samples[name] for label, each in measured.items()}, bootstrap)
        for label in measured:
            slices[label][name] = part.slice(label)
        rows += [row for pair in pairs for row in part.comparisons(*pair, name, decisive)]
    return slices, rows


class _Part:
    """One slice: the metrics of every entrant, on the sample and on every draw of it."""

    def __init__(self, samples: Mapping[str, Sample], bootstrap: Bootstrap) -> None:
        self._samples, self._bootstrap = samples, bootstrap
        self._points = {label: sample.points() for label, sample in samples.items() if len(sample)}
        self._replicates: dict[str, dict[str, np.ndarray]] = {}
        if self._points:
            self._draw(next(iter(samples.values())).num_users)

    def _draw(self, num_users: int) -> None:
        how = self._bootstrap
        drawn: dict[str, list[dict[str, np.ndarray]]] = {label: [] for label in self._points}
        for counts_SU in user_draws(num_users, samples=how.samples, seed=how.seed):
            for label, parts in drawn.items():
                parts.append(self._samples[label].replicates(counts_SU))
        for label, parts in drawn.items():
            self._replicates[label] = {
                name: np.concatenate([part[name] for part in parts]) for name in self._points[label]
            }

    def slice(self, label: str) -> Slice:
        """An entrant's row; no metrics where the slice is empty."""
        sample = self._samples[label]
        if label not in self._points:
            return Slice(sample.num_users, len(sample))
        replicates = self._replicates[label]
        metrics = {
            # Draws of users with one label only define no order: they are left out.
            name: interval(
                point,
                replicates[name][np.isfinite(replicates[name])],
                confidence=self._bootstrap.confidence,
            )
            for name, point in self._points[label].items()
        }
        return Slice(sample.num_users, len(sample), metrics, sample.facts())

    def comparisons(
        self, ours: str, theirs: str, name: str, decisive: Collection[str]
    ) -> list[Comparison]:
        """A row per metric that both have."""
        if not {ours, theirs} <= self._points.keys():
            return []
        shared = [metric for metric in self._points[ours] if metric in self._points[theirs]]
        return [
            self._comparison(ours, theirs, name, metric)
            for metric in shared
            if metric in decisive or not parse(metric).reading
        ]

    def _comparison(self, ours: str, theirs: str, name: str, metric: str) -> Comparison:
        ours_S, theirs_S = self._replicates[ours][metric], self._replicates[theirs][metric]
        is_defined_S = np.isfinite(ours_S) & np.isfinite(theirs_S)
        difference = compare_points(
            self._samples[ours].point(metric),
            self._samples[theirs].point(metric),
            ours_S[is_defined_S],
            theirs_S[is_defined_S],
            num_users=self._samples[ours].num_users,
            confidence=self._bootstrap.confidence,
            higher_is_better=metric_of(metric).higher_is_better,
        )
        return Comparison(ours=ours, theirs=theirs, slice=name, metric=metric, **vars(difference))
