"""Who was champion, since when, and what became of the worth of the champions."""

from collections.abc import Sequence

from training.registry.records import Move, Version
from training.report import trend_charts
from training.report.blocks import Block, Section, folded, picture, table
from training.report.brief import Brief

_OPEN = 3
"""Moves that are shown unfolded."""
_MOST = 60
"""Runs that the picture shows: the weeks of a reference."""


def champions(
    moves: Sequence[Move],
    versions: Sequence[Version],
    briefs: Sequence[Brief] = (),
    budget: float | None = None,
) -> Section | None:
    """Every move of the champion, newest first, and how far each run was from its reference.

    Args:
        moves: up to the report's day, oldest first.
        versions: of the registry.
        briefs: the runs up to the report's day, oldest first.
        budget: share of the reference's worth that may be lost; None where the gate has none.
    """
    if not moves:
        return None
    families = {version.number: version.family for version in versions}
    rows = [
        [move.day, _named(move.to_version, families), _named(move.from_version, families),
         "rolled back" if move.kind == "rollback" else "promoted", move.reason]
        for move in reversed(moves)
    ]  # fmt: skip
    blocks = [*_chain(briefs, budget), _table(rows[:_OPEN])]
    if len(rows) > _OPEN:
        blocks.append(folded(f"Moves before these: {len(rows) - _OPEN}", _table(rows[_OPEN:])))
    return Section(anchor="champions", title="Champions", blocks=blocks)


def _chain(briefs: Sequence[Brief], budget: float | None) -> list[Block]:
    """The picture; none where fewer than two runs were measured by what decides now."""
    metric = next((brief.metric for brief in reversed(briefs) if brief.metric), "")
    links = [
        trend_charts.Link(
            day=brief.day, kind=brief.kind, lead=brief.lead, champion=brief.champion_lead
        )
        for brief in briefs
        if brief.metric == metric and brief.lead is not None
    ][-_MOST:]
    if budget is None or len(links) < 2:
        return []
    return [picture(trend_charts.chain(metric, links, budget=budget), wide=True)]


def _table(rows: list[list[str]]) -> Block:
    head = ["day", "champion", "before", "how", "why"]
    return table("", head, rows, quiet=["why"], wide=True)


def _named(number: int | None, families: dict[int, str]) -> str:
    return "nobody" if number is None else f"{families.get(number, 'model')} {number}"
