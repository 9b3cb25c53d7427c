"""The same metrics on parts of the targets: slice by slice, and the challenger less each."""

from collections.abc import Mapping, Sequence

from training.evaluation.metrics import metric_of
from training.evaluation.record import ALL, BoardRow, Comparison, Evaluation
from training.report import charts
from training.report.blocks import Block, Row, folded, note, picture, table, words
from training.report.entrants import in_order, named
from training.report.sections.metric_table import metric_table


def slices(
    evaluation: Evaluation, rows: Mapping[str, BoardRow], names: Sequence[str], units: str
) -> list[Block]:
    """The first metric of every entrant on every slice; all metrics of each slice, folded.

    A slice that says nothing is a sentence and no row.

    Args:
        evaluation: of the day.
        rows: of one board, by label.
        names: of the metrics.
        units: what the board's targets are.
    """
    every = next(iter(rows.values())).slices
    told = {name: _nothing(name, rows, names[0], units) for name in every if name != ALL}
    filled = [name for name, why in told.items() if not why]
    blocks = []
    if filled:
        cells = [_cells(name, rows, names[0]) for name in filled]
        head = ["slice", "users", units, *(named(evaluation, label) for label in rows)]
        blocks.append(table(f"{names[0]} by slice", head, cells, numeric=head[1:], wide=True))
    if silent := [why for why in told.values() if why]:
        blocks.append(note(" ".join(silent)))
    blocks += _differences_by_slice(evaluation, names[0], filled)
    for name in filled:
        all_metrics = metric_table(evaluation, rows, name, names)
        blocks.append(folded(f"All metrics of {words(name)}", all_metrics))
    return blocks


def _nothing(name: str, rows: Mapping[str, BoardRow], metric: str, units: str) -> str:
    """Why a slice has nothing to show; empty where it has something."""
    every = [row.slices[name] for row in rows.values() if name in row.slices]
    values = [own.metrics[metric].point for own in every if metric in own.metrics]
    if not values:
        return f"Nobody is in the slice {words(name)}."
    if any(values):
        return ""
    targets, users = every[0].num_targets, every[0].num_users
    if name == "new_items":
        return (
            f"{targets:,} {units} of {users:,} users are items that no fit saw an event of; no "
            "entrant listed one of them in time."
        )
    return f"No entrant has a hit among the {targets:,} {units} of the slice {words(name)}."


def _cells(name: str, rows: Mapping[str, BoardRow], metric: str) -> Row:
    every = {label: row.slices[name] for label, row in rows.items()}
    first = next(iter(every.values()))
    values = [own.metrics[metric].point if metric in own.metrics else None
              for own in every.values()]  # fmt: skip
    sign = metric_of(metric).sign
    most = max(sign * value for value in values if value is not None)
    strong = [3 + i for i, value in enumerate(values) if value is not None and sign * value == most]
    told = ["–" if value is None else f"{value:.4f}" for value in values]
    cells = [words(name), f"{first.num_users:,}", f"{first.num_targets:,}", *told]
    return Row(cells, strong=strong if len(strong) == 1 else ())


def differences(evaluation: Evaluation, metric: str) -> list[Block]:
    """The challenger less each opponent on all targets; nothing without an opponent."""
    rows = [row for row in _of_challenger(evaluation, metric) if row.slice == ALL]
    if not rows:
        return []
    return [
        picture(
            _drawn(evaluation, rows, metric),
            heading=f"{evaluation.challenger} minus each, {metric}, paired by user",
            note=_reading(metric),
        )
    ]


def _differences_by_slice(
    evaluation: Evaluation, metric: str, filled: Sequence[str]
) -> list[Block]:
    rows = [row for row in _of_challenger(evaluation, metric) if row.slice in filled]
    if not rows:
        return []
    drawn = _drawn(evaluation, sorted(rows, key=lambda row: filled.index(row.slice)), metric)
    line = f"{evaluation.challenger} minus each on each slice, {metric}, paired by user"
    return [folded(line, picture(drawn, note=_reading(metric)))]


def _drawn(evaluation: Evaluation, rows: Sequence[Comparison], metric: str) -> str:
    less_is_better = not metric_of(metric).higher_is_better
    bars = [_bar(evaluation, row) for row in rows]
    return charts.paired_differences(bars, less_is_better=less_is_better)


def _of_challenger(evaluation: Evaluation, metric: str) -> list[Comparison]:
    order = in_order(evaluation, evaluation.entrants)
    rows = [
        row
        for row in evaluation.comparisons
        if row.ours == evaluation.challenger and row.metric == metric
    ]
    return sorted(rows, key=lambda row: order.index(row.theirs))


def _bar(evaluation: Evaluation, row: Comparison) -> dict[str, float | str]:
    where = "" if row.slice == ALL else f" · {words(row.slice)}"
    return {
        "label": named(evaluation, row.theirs) + where,
        "low": row.difference.low,
        "high": row.difference.high,
        "difference": row.difference.point,
    }


def _reading(metric: str) -> str:
    wins = "Right" if metric_of(metric).higher_is_better else "Left"
    return f"{wins} of zero the challenger is better; a grey bar holds zero."
