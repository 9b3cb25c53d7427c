"""Who was champion, and since when."""

from collections.abc import Sequence

from training.registry.records import Move, Version
from training.report.blocks import Block, Section, folded, table

_OPEN = 3
"""Moves that are shown unfolded."""


def champions(moves: Sequence[Move], versions: Sequence[Version]) -> Section | None:
    """Every move of the champion, newest first.

    Args:
        moves: up to the report's day, oldest first.
        versions: of the registry.
    """
    if not moves:
        return None
    families = {version.number: version.family for version in versions}
    rows = [
        [move.day, _named(move.to_version, families), _named(move.from_version, families),
         "rolled back" if move.kind == "rollback" else "promoted", move.reason]
        for move in reversed(moves)
    ]  # fmt: skip
    blocks = [_table(rows[:_OPEN])]
    if len(rows) > _OPEN:
        blocks.append(folded(f"Moves before these: {len(rows) - _OPEN}", _table(rows[_OPEN:])))
    return Section(anchor="champions", title="Champions", blocks=blocks)


def _table(rows: list[list[str]]) -> Block:
    head = ["day", "champion", "before", "how", "why"]
    return table("", head, rows, quiet=["why"], wide=True)


def _named(number: int | None, families: dict[int, str]) -> str:
    return "nobody" if number is None else f"{families.get(number, 'model')} {number}"
