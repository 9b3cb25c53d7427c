"""From the recommendations back to the raw files."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.report.blocks import Section, folded, table


def lineage(rows: Sequence[Mapping[str, Any]], preset: str) -> Section | None:
    """A row per snapshot that the day's recommendations come from.

    Args:
        rows: `table`, `rows`, `snapshot`, `made by`, `day`, `code`, `from`.
        preset: its name, for the command that walks the chain.
    """
    if not rows:
        return None
    head = ["table", "rows", "snapshot", "made by", "day", "code", "from"]
    revisions = {row["code"] for row in rows}
    if len(revisions) == 1:
        head.remove("code")
    cells = [[row[name] for name in head] for row in rows]
    snapshots = table("", head, cells, numeric=["rows"], quiet=["snapshot", "code"])
    code = f" All were made by the code {revisions.pop()}." if len(revisions) == 1 else ""
    return Section(
        anchor="lineage",
        title="Lineage",
        half=True,
        say=f"`sidereal tables lineage recommendations --preset {preset}` walks the chain.{code}",
        blocks=[folded(f"{len(rows)} snapshots, down to the raw files", snapshots)],
    )
