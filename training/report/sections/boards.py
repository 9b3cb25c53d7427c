"""What each kind of question found of all entrants, the metric that decides in front."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.evaluation.metrics import (
    DAY_END_LISTS,
    EVENT_LISTS,
    FEEDBACK,
    HEADLINE_CUTOFF,
    LISTS,
    METRICS,
    READINGS,
    SLATES,
    metric_of,
    names_of,
    parse,
)
from training.evaluation.record import ALL, BoardRow, Evaluation
from training.report import charts
from training.report.blocks import Block, Section, facts, note, picture, shown, words
from training.report.entrants import in_order, named
from training.report.sections import slices
from training.report.sections.metric_table import metric_table

Boards = Mapping[str, BoardRow]
"""One board's rows by label."""
_IN_PICTURE = 2
"""Metrics that the picture shows."""


@dataclass(frozen=True, kw_only=True)
class _Board:
    """How one board is told.

    Attributes:
        title: of the card.
        say: what was asked, of lists beside when.
        units: what its targets are.
        names: of the metrics to show, in order, given the evaluation and those that are there.
        beside: facts of an entrant that stand beside its metrics.
    """

    title: str
    say: str
    units: str
    names: Callable[[Evaluation, Sequence[str]], list[str]]
    beside: Sequence[str]


def boards(evaluation: Evaluation) -> list[Section]:
    """A card a board, that of the deciding metric first and open, the others folded."""
    deciding = metric_of(evaluation.primary_metric).board
    order = sorted(_BOARDS, key=lambda name: name != deciding)
    cards = [board_section(evaluation, name) for name in order]
    return [card for card in cards if card is not None]


def board_section(evaluation: Evaluation, name: str) -> Section | None:
    """The card of one board; None where it could ask nobody.

    Args:
        evaluation: of the day.
        name: of the board.
    """
    rows = rows_of(evaluation, name)
    if not rows:
        return None
    board, first = _BOARDS[name], next(iter(rows.values())).slices[ALL]
    names = board.names(evaluation, list(first.metrics))
    names = _different(rows, [n for n in dict.fromkeys((evaluation.primary_metric, *names))
                              if n in first.metrics])  # fmt: skip
    is_deciding = metric_of(evaluation.primary_metric).board == name
    blocks = [
        facts(
            ("users", first.num_users),
            (board.units, first.num_targets),
            ("confidence of intervals", f"{evaluation.confidence:.0%}"),
            *_shares(name, first.facts),
            *_moment(name, evaluation.split),
        ),
        _intervals(evaluation, rows, names),
        *slices.differences(evaluation, names[0]),
        metric_table(evaluation, rows, ALL, names, _beside(rows, board.beside)),
        *_calibration(evaluation, rows),
        *slices.slices(evaluation, rows, names, board.units),
        _meanings(names),
    ]
    return Section(
        anchor=name,
        title=board.title,
        say=" ".join(filter(None, (board.say, _WHEN.get(_asked_at(evaluation, name), "")))),
        folded="" if is_deciding else _summary(evaluation, rows, names[0]),
        blocks=blocks,
    )


def rows_of(evaluation: Evaluation, board: str) -> dict[str, BoardRow]:
    """What a board found of each entrant that answers it, and that it has a metric of."""
    there = {
        label: entrant.boards[board]
        for label, entrant in evaluation.entrants.items()
        if board in entrant.boards and entrant.boards[board].slices[ALL].metrics
    }
    return {label: there[label] for label in in_order(evaluation, there)}


def _intervals(evaluation: Evaluation, rows: Boards, names: Sequence[str]) -> Block:
    intervals = [
        {"metric": name, "family": label, "label": named(evaluation, label), "value": v.point,
         "low": v.low, "high": v.high}
        for name in names[:_IN_PICTURE]
        for label, row in rows.items()
        if (v := row.slices[ALL].metrics.get(name)) is not None
    ]  # fmt: skip
    return picture(charts.metric_intervals(intervals))


def _calibration(evaluation: Evaluation, rows: Boards) -> list[Block]:
    """What each entrant said against what happened; nothing where nobody gave probabilities."""
    curves = {
        label: [(each.said, each.happened) for each in row.calibration]
        for label, row in rows.items()
        if row.calibration
    }
    labels = {label: named(evaluation, label) for label in curves}
    return [picture(charts.calibration(curves, labels))] if curves else []


def _asked_at(evaluation: Evaluation, board: str) -> str:
    """When a board's lists or slates were asked for; empty of feedback."""
    decides = str(evaluation.split.get("asked_at", ""))
    at = {LISTS: decides, SLATES: decides, EVENT_LISTS: "event", DAY_END_LISTS: "day_end"}
    return at.get(board, "")


def _moment(board: str, split: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Lists that all targets were looked for in, and targets of people without any event then."""
    if board != LISTS or split.get("asked_at") != "day_end":
        return []
    return [
        ("lists", split["test_questions"]),
        ("targets asked for without an event", split["test_targets_without_history"]),
    ]


def _shares(board: str, found: Mapping[str, float]) -> list[tuple[str, str]]:
    if board != FEEDBACK:
        return []
    shares = {"base_rate": "positive", "gauc_covered_share": "events that GAUC covers"}
    return [(label, f"{found[name]:.1%}") for name, label in shares.items() if name in found]


def _beside(rows: Boards, wanted: Sequence[str]) -> dict[str, dict[str, str]]:
    """Facts of each entrant that are not compared, by title; one that is 0 for all is left out."""
    found = {label: {**row.slices[ALL].facts, **row.facts} for label, row in rows.items()}
    names = [name for name in wanted if any(own.get(name) for own in found.values())]
    return {
        _TITLES.get(name, words(name)): {
            label: shown(own.get(name)) for label, own in found.items()
        }
        for name in names
    }


_TITLES = {"ne": "NE", "copc": "COPC"}


def _summary(evaluation: Evaluation, rows: Boards, name: str) -> str:
    said = (
        f"{named(evaluation, label)} {row.slices[ALL].metrics[name].point:.4f}"
        for label, row in rows.items()
        if name in row.slices[ALL].metrics
    )
    return f"{name}: {' · '.join(said)}"


def _meanings(names: Sequence[str]) -> Block:
    """What the metrics of a card say."""
    measured = [parse(name) for name in names]
    metrics = {m.metric.name: m.metric for m in measured}
    parts = [
        f"{name}{'@K' if metric.has_cutoff else ''}: {metric.explanation}"
        + ("" if metric.higher_is_better else " (less is better)")
        for name, metric in metrics.items()
    ]
    readings = dict.fromkeys(m.reading for m in measured if m.reading)
    parts += [f"{reading}…: of {READINGS[reading]}" for reading in readings]
    return note("The best of a column is bold. " + "; ".join(parts) + ".")


def _different(rows: Boards, names: Sequence[str]) -> list[str]:
    """The names without those whose column repeats an earlier one, value by value."""
    columns: dict[tuple[float | None, ...], str] = {}
    for name in names:
        values = [row.slices[ALL].metrics.get(name) for row in rows.values()]
        columns.setdefault(tuple(v.point if v else None for v in values), name)
    return list(columns.values()) if len(rows) > 1 else list(names)


def _place(name: str) -> tuple[int, int]:
    """The smallest cut-off first, of each the metrics in their order."""
    measured = parse(name)
    return measured.cutoff or 0, list(METRICS).index(measured.metric.name)


def _of_lists(evaluation: Evaluation, there: Sequence[str]) -> list[str]:
    """The usual cut-off's metrics, the others', and one of semantic IDs."""
    cutoffs = sorted({k for name in there if (k := parse(name).cutoff) is not None})
    usual = HEADLINE_CUTOFF if HEADLINE_CUTOFF in cutoffs else cutoffs[0]

    def place(name: str) -> tuple[int, int]:
        cutoff, order = _place(name)
        return (0 if cutoff in (0, usual) else cutoff), order

    of_items = sorted((name for name in there if not parse(name).reading), key=place)
    return [*of_items, f"sid_hr@{usual}"]


def _of_other_lists(evaluation: Evaluation, there: Sequence[str]) -> list[str]:
    return _of_lists(evaluation, there)[:-1]


_WHEN = {
    "event": "Each is asked for just before it happened, from all events before, and the model "
    "is told the time: what a live service sees.",
    "day_end": "Each is asked for at the end of the day before (UTC), from the events until then: "
    "a table that is written at midnight is judged as it is served.",
}
"""Moment → what is said of it."""
_ELSE = (
    "The same targets at the moment that the preset does not serve. Nothing is decided by it; the "
    "difference says what the moment is worth."
)
_BOARDS = {
    LISTS: _Board(
        title="Lists",
        say="Each target is looked for in a list of the whole catalogue. No weight has seen a "
        "held-out event.",
        units="targets",
        names=_of_lists,
        beside=("coverage@10", "illegal_share", "repeated_share"),
    ),
    FEEDBACK: _Board(
        title="Feedback",
        say="Each entrant gave the held-out events a probability of positive feedback. Models "
        "that cannot rank are omitted. Less is better of NE, where 1 is the share of positives; "
        "COPC is 1 where the sums agree.",
        units="events",
        names=lambda evaluation, there: names_of(FEEDBACK),
        beside=("ne", "copc"),
    ),
    SLATES: _Board(
        title="Slates",
        say="What an entrant shows in the place of each held-out slate is held against what people "
        "engaged with. Similarity is the mean cosine of a slate's items, coverage the share of the "
        "catalogue that some slate holds.",
        units="slates",
        names=lambda evaluation, there: sorted(there, key=_place),
        beside=("coverage", "similarity", "repeated_share"),
    ),
    EVENT_LISTS: _Board(
        title="Lists, asked for before each event",
        say=_ELSE,
        units="targets",
        names=_of_other_lists,
        beside=("coverage@10",),
    ),
    DAY_END_LISTS: _Board(
        title="Lists, asked for at the day's end",
        say=_ELSE,
        units="targets",
        names=_of_other_lists,
        beside=("coverage@10",),
    ),
}
"""Board → how it is told, in the order of the cards."""
