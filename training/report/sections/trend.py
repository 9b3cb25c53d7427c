"""The last runs beside each other."""

from collections.abc import Sequence

from training.report import trend_charts
from training.report.blocks import Section, picture
from training.report.brief import Brief

MOST = 30
"""Runs that a picture shows."""


def trend(briefs: Sequence[Brief]) -> Section | None:
    """Deciding metric, rows, mix of strengths and seconds of the last runs; None of a first run.

    Args:
        briefs: up to the report's day, oldest first.
    """
    if len(briefs) < 2:
        return None
    last = briefs[-MOST:]
    return Section(
        anchor="trend",
        title=f"The last {len(last)} runs",
        blocks=[picture(drawn(last), wide=True)],
    )


def drawn(briefs: Sequence[Brief]) -> str:
    """The picture; a run that was decided by another metric than the last one has no point."""
    metric = next((brief.metric for brief in reversed(briefs) if brief.metric), "")
    runs = [
        trend_charts.Run(
            day=brief.day,
            kind=brief.kind,
            value=brief.value if brief.metric == metric else None,
            champion=brief.champion if brief.metric == metric else None,
            rows=brief.rows,
            strengths=brief.strengths,
            seconds=brief.seconds,
        )
        for brief in briefs
    ]
    return trend_charts.trend(metric, runs)
