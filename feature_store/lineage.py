"""What a version was made from, and what that was made from, down to the raw files."""

from collections.abc import Callable, Mapping
from typing import Any

from feature_store.snapshot import SnapshotInfo

Find = Callable[[str, int], SnapshotInfo | None]
"""Facts of a table's snapshot; None where the name is no table or the snapshot has expired."""


def lineage(find: Find, tables: Mapping[str, Any], table: str, snapshot_id: int) -> dict[str, Any]:
    """The tree of inputs of one snapshot.

    A node has `table, snapshot_id, day, job, code_revision, rows, content_hash, inputs`. An input
    that is a snapshot of a known table is a node again; anything else (a raw file's name and
    digest) stays as the job recorded it. A table that is built from its own past has the list
    `previous`, newest first, instead of a nest as deep as its history. A snapshot that the tree
    has already shown carries `seen`, one that is gone carries `expired`.
    """
    return _Walk(find, tables).node(table, snapshot_id)


class _Walk:
    def __init__(self, find: Find, tables: Mapping[str, Any]) -> None:
        self._find = find
        self._tables = tables
        self._seen: set[tuple[str, int]] = set()

    def node(self, table: str, snapshot_id: int) -> dict[str, Any]:
        node, own = self._one(table, snapshot_id)
        previous = []
        while own is not None and (table, own) not in self._seen:
            past, own = self._one(table, own)
            previous.append(past)
        if previous:
            node["previous"] = previous
        return node

    def _one(self, table: str, snapshot_id: int) -> tuple[dict[str, Any], int | None]:
        """A node without its own table's past, and the snapshot where that goes on."""
        node: dict[str, Any] = {"table": table, "snapshot_id": snapshot_id}
        if (table, snapshot_id) in self._seen:
            return node | {"seen": True}, None
        self._seen.add((table, snapshot_id))
        info = self._find(table, snapshot_id)
        if info is None:
            return node | {"expired": True}, None
        own = info.inputs.get(table)
        node |= {
            "day": info.day,
            "job": info.job,
            "code_revision": info.code_revision,
            "rows": info.rows,
            "content_hash": info.content_hash,
            "inputs": {
                name: self._input(name, value)
                for name, value in info.inputs.items()
                if name != table
            },
        }
        return node, own if isinstance(own, int) else None

    def _input(self, name: str, value: Any) -> Any:
        is_snapshot = name in self._tables and isinstance(value, int)
        return self.node(name, value) if is_snapshot else value
