"""A table of metrics: a row an entrant, the first metric with its interval."""

from collections.abc import Mapping, Sequence

from training.evaluation.metrics import metric_of
from training.evaluation.record import BoardRow, Evaluation, Interval
from training.report.blocks import Block, Row, table
from training.report.entrants import named


def metric_table(
    evaluation: Evaluation,
    rows: Mapping[str, BoardRow],
    slice_name: str,
    names: Sequence[str],
    beside: Mapping[str, Mapping[str, str]] | None = None,
) -> Block:
    """A row per entrant, the best of each metric in strong type.

    Args:
        evaluation: of the day.
        rows: of one board, by label.
        slice_name: whose metrics.
        names: of the metrics.
        beside: more columns: title → label → text.
    """
    values = {label: row.slices[slice_name].metrics for label, row in rows.items()}
    best = {name: _best(values, name) for name in names}
    more = beside or {}
    cells = []
    for label, own in values.items():
        points = [f"{own[name].point:.4f}" if name in own else "–" for name in names]
        bounds = own.get(names[0])
        interval = f"{bounds.low:.4f} to {bounds.high:.4f}" if bounds else "–"
        others = [column[label] for column in more.values()]
        strong = [i + 1 + (i > 0) for i, name in enumerate(names) if best[name] == label]
        row = [named(evaluation, label), points[0], interval, *points[1:], *others]
        cells.append(Row(row, strong=strong))
    head = ["entrant", names[0], "interval", *names[1:], *more]
    return table("", head, cells, numeric=[*names, *more], quiet=["interval"], wide=True)


def _best(values: Mapping[str, Mapping[str, Interval]], name: str) -> str | None:
    """Label of the only best one."""
    sign = metric_of(name).sign
    points = {label: sign * own[name].point for label, own in values.items() if name in own}
    leaders = [label for label, point in points.items() if point == max(points.values())]
    return leaders[0] if len(leaders) == 1 else None
