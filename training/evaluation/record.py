"""One day's evaluation as it is kept: who was measured, by whom asked, and who beats whom.

`evaluation.entrants[label].boards[board].slices[slice].metrics[metric]` is an `Interval`. The JSON
of `to_json` is what MLflow, the day's run record and its summary hold; gate, promotion, report and
summary read it back with `from_json`. Loads neither torch nor numpy.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from training.evaluation.metrics import LISTS, Metric, metric_of

VERSION = 2
"""Of the JSON; part of an evaluation's digest, so that another version is measured anew."""
ALL = "all"
"""The slice of every target."""
CHAMPION = "champion"
"""Label of the serving bundle among the entrants; candidates are labelled by their family."""
REFERENCE = "reference"
"""Label of the best champion of the last weeks, where that is not the one that serves."""
PRETRAINED = "pretrained"
"""Label of an aligned challenger's bundle from before the alignment: one more baseline."""


class RecordError(ValueError):
    """A kept evaluation that this code does not read."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A point estimate with the bounds of its percentile interval."""

    low: float
    point: float
    high: float

    def __neg__(self) -> "Interval":
        return Interval(-self.high, -self.point, -self.low)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Ours against theirs, paired by user.

    Attributes:
        num_users: that both were measured on.
        our_value: mean over users, or another statistic of them.
        their_value: the same of theirs.
        difference: ours - theirs.
        relative: (ours - theirs) / theirs; None where theirs is 0 in the sample or a replicate.
        probability_better: share of replicates in which ours is better than theirs, ties half.
    """

    num_users: int
    our_value: float
    their_value: float
    difference: Interval
    relative: Interval | None
    probability_better: float


@dataclass(frozen=True, kw_only=True)
class Comparison(Difference):
    """One entrant against another on one metric and slice.

    Attributes:
        ours: label.
        theirs: label.
        slice: name of the slice.
        metric: name of the metric.
    """

    ours: str
    theirs: str
    slice: str
    metric: str

    @property
    def about(self) -> Metric:
        """What the metric is."""
        return metric_of(self.metric)

    @property
    def gain(self) -> Interval:
        """The difference, turned so that more is better."""
        return self.difference if self.about.higher_is_better else -self.difference

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """What `Evaluation.to_json` holds of it."""
        relative = row["relative"]
        bounds = {
            "difference": Interval(**row["difference"]),
            "relative": None if relative is None else Interval(**relative),
        }
        return cls(**{**row, **bounds})


@dataclass(frozen=True, slots=True)
class Slice:
    """An entrant's metrics on a subset of a board's targets; none where it is empty.

    `facts` are numbers beside them that are not compared, by name.
    """

    num_users: int
    num_targets: int
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """What `Evaluation.to_json` holds of it."""
        metrics = {name: Interval(**bounds) for name, bounds in found["metrics"].items()}
        return cls(found["num_users"], found["num_targets"], metrics, found["facts"])


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """Events that were given like probabilities.

    Attributes:
        said: mean probability.
        happened: share of positive feedback.
        events: how many.
    """

    said: float
    happened: float
    events: int


@dataclass(frozen=True, slots=True)
class BoardRow:
    """What one board found of one entrant.

    Attributes:
        slices: by name; `ALL` among them.
        facts: numbers about all answers that are not compared, by name.
        contradictions: sentences on metrics that no answer could have scored.
        seconds: that the answers took.
        calibration: of probabilities, the lowest first; empty of other answers.
    """

    slices: Mapping[str, Slice]
    facts: Mapping[str, float] = field(default_factory=dict)
    contradictions: tuple[str, ...] = ()
    seconds: float = 0.0
    calibration: tuple[CalibrationBin, ...] = ()

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """What `Evaluation.to_json` holds of it."""
        slices = {name: Slice.from_json(own) for name, own in found["slices"].items()}
        curve = tuple(CalibrationBin(**each) for each in found.get("calibration", ()))
        contradictions = tuple(found["contradictions"])
        return cls(slices, found["facts"], contradictions, found["seconds"], curve)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One measured bundle.

    Attributes:
        family: of the model.
        digest: of the bundle.
        day: that it was trained for.
        generation: of its semantic IDs; None without.
        num_items: V, items that it can name.
        boards: what each board that could ask it found, by the board's name.
    """

    family: str
    digest: str
    day: str
    generation: str | None
    num_items: int
    boards: Mapping[str, BoardRow]

    def on(self, board: str, slice_name: str = ALL) -> Slice | None:
        """A slice of a board; None where the board could not ask it."""
        return self.boards[board].slices[slice_name] if board in self.boards else None

    def values(self) -> dict[str, Interval]:
        """The metrics of all boards, on all targets."""
        return {
            name: bounds
            for board in self.boards.values()
            for name, bounds in board.slices[ALL].metrics.items()
        }

    def value(self, metric: str) -> Interval | None:
        """One metric on all targets; None where it was not measured."""
        return self.values().get(metric)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """What `Evaluation.to_json` holds of it."""
        boards = {name: BoardRow.from_json(own) for name, own in found["boards"].items()}
        return cls(**{**found, "boards": boards})


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One day's entrants, measured on the same targets and compared.

    Attributes:
        challenger: label of the family that is meant to serve.
        baselines: labels of those that it must face.
        primary_metric: what decides.
        confidence: of all intervals.
        bootstrap_samples: replicates behind them.
        exclude_seen: whether items of the history were filtered from all lists.
        entrants: by label; the champion and the reference among them where there are any.
        comparisons: every pair that the gate or the report may ask for.
        items_unlisted: items that were withdrawn before the first target, and no candidate.
        split: how targets were held out.
        inputs: per table read, its snapshot and content.
        warnings: what a reader of the comparisons should know.
        run_id: the MLflow run that keeps the evaluation; empty before.
    """

    challenger: str
    baselines: tuple[str, ...]
    primary_metric: str
    confidence: float
    bootstrap_samples: int
    exclude_seen: bool
    entrants: Mapping[str, Entrant]
    comparisons: tuple[Comparison, ...]
    items_unlisted: int = 0
    split: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    run_id: str = ""

    @property
    def champion(self) -> Entrant | None:
        """The serving bundle, where there is one."""
        return self.entrants.get(CHAMPION)

    @property
    def sizes(self) -> Slice:
        """How many users and targets there are: of the challenger's lists.

        Of a challenger that only ranks, of the board that decides.
        """
        boards = self.entrants[self.challenger].boards
        decides = metric_of(self.primary_metric).board
        return boards[LISTS if LISTS in boards else decides].slices[ALL]

    @cached_property
    def _by_pair(self) -> dict[tuple[str, str, str, str], Comparison]:
        return {(row.ours, row.theirs, row.slice, row.metric): row for row in self.comparisons}

    def find(self, ours: str, theirs: str, metric: str, slice_name: str = ALL) -> Comparison | None:
        """One comparison; None where it was not made."""
        return self._by_pair.get((ours, theirs, slice_name, metric))

    def compared(self, ours: str, theirs: str, metric: str, slice_name: str = ALL) -> Comparison:
        """One comparison.

        Raises:
            ValueError: the evaluation did not make it.
        """
        row = self.find(ours, theirs, metric, slice_name)
        if row is None:
            metrics = sorted({row.metric for row in self.comparisons})
            raise ValueError(
                f"the evaluation has no {metric!r} of {ours} against {theirs} on {slice_name!r}; "
                f"it has the metrics {metrics}"
            )
        return row

    def slices(self, ours: str, theirs: str, metric: str) -> list[str]:
        """Slices, other than all targets, on which the two were compared."""
        rows = (row for row in self.comparisons if row.slice != ALL)
        pair = (ours, theirs, metric)
        return sorted(row.slice for row in rows if (row.ours, row.theirs, row.metric) == pair)

    def means(self) -> dict[str, float]:
        """The metrics on all targets, `<label>.<metric>`, for MLflow's own tables and charts."""
        return {
            f"{label}.{metric}": bounds.point
            for label, entrant in self.entrants.items()
            for metric, bounds in entrant.values().items()
        }

    def in_words(self) -> str:
        """One line: the metric that decides, of all entrants that have it."""
        metric, board = self.primary_metric, metric_of(self.primary_metric).board
        of_challenger = self.entrants[self.challenger].on(board)
        num_users = of_challenger.num_users if of_challenger else 0
        shown = (
            f"{label} {bounds.point:.4f}"
            for label, entrant in self.entrants.items()
            if (bounds := entrant.value(metric))
        )
        return f"{metric} on {num_users:,} users: " + ", ".join(shown)

    def brief(self) -> "Evaluation":
        """The same of all targets alone, with the challenger's comparisons, for a summary."""
        return replace(
            self,
            entrants={
                label: replace(
                    entrant,
                    boards={
                        name: replace(board, slices={ALL: board.slices[ALL]})
                        for name, board in entrant.boards.items()
                    },
                )
                for label, entrant in self.entrants.items()
            },
            comparisons=tuple(
                row for row in self.comparisons if row.slice == ALL and row.ours == self.challenger
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data as JSON gives it back, with the version of its shape."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {"record_version": VERSION, **plain}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """An evaluation from what `to_json` gave; keys beside its own are left alone.

        Raises:
            RecordError: it is of another version.
        """
        version = found.get("record_version")
        if version != VERSION:
            raise RecordError(
                f"the evaluation is a record of version {version or 1}, this code reads version "
                f"{VERSION}; run evaluate_recommender again for that day"
            )
        own = {name: found[name] for name in cls.__dataclass_fields__}
        rows = tuple(Comparison.from_json(row) for row in found["comparisons"])
        entrants = {label: Entrant.from_json(each) for label, each in found["entrants"].items()}
        read = {"entrants": entrants, "comparisons": rows}
        tuples = {name: tuple(found[name]) for name in ("baselines", "warnings")}
        return cls(**{**own, **read, **tuples})


def evaluation_of(step: Mapping[str, Any]) -> Evaluation | None:
    """The evaluation in a run record of evaluate_recommender; None where the step has none.

    Raises:
        RecordError: it is of another version.
    """
    return Evaluation.from_json(step) if "entrants" in step else None
