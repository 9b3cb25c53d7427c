"""How the `tables` commands print facts: JSON for programs, aligned text for people."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

PIPE_COLUMNS = 320


def output(facts: Any, as_json: bool, human: Callable[[], None]) -> None:
    """Facts as JSON, or what `human` prints."""
    if as_json:
        click.echo(json.dumps(facts, indent=2, default=str, ensure_ascii=False))
    else:
        human()


def snapshot_line(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """The facts about a snapshot that fit into one line."""
    state = "head" if snapshot["is_current"] else "" if snapshot["is_ancestor"] else "set aside"
    return {
        "snapshot": snapshot["snapshot_id"],
        "day": snapshot["day"],
        "rows": snapshot["rows"],
        "job": snapshot["job"],
        "days": snapshot["tags"],
        "content": snapshot["content_hash"][:12],
        "committed": snapshot["committed_at"][:16].replace("T", " "),
        "state": state,
    }


def print_rows(rows: Sequence[Mapping[str, Any]], nothing: str = "nothing to show") -> None:
    """Rows as aligned columns, or one line where there are none."""
    from rich.table import Table

    if not rows:
        click.echo(nothing)
        return
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for key in rows[0]:
        is_number = all(isinstance(row[key], int) for row in rows)
        shown.add_column(
            key.replace("_", " "),
            justify="right" if is_number else "left",
            no_wrap=key in ("snapshot", "day"),
            min_width=19 if key == "snapshot" else None,
        )
    for row in rows:
        shown.add_row(*(_cell(value) for value in row.values()))
    _print(shown)


def _print(shown: Any) -> None:
    from rich.console import Console

    # A pipe has no width; there, a row stays on one line.
    Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(shown)


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value)


def print_table(facts: Mapping[str, Any]) -> None:
    """A table's contract, one of its versions, and a few rows."""
    snapshot = facts["snapshot"]
    click.echo(f"{facts['table']}: {facts['grain']}; key ({', '.join(facts['key'])})")
    readers = ", ".join(facts["consumers"]) or "no step"
    click.echo(f"written by {facts['producer']}, read by {readers}\n")
    print_rows(facts["columns"])
    partitions = facts["partitions"]
    span = f", {partitions[0]} to {partitions[-1]}" if partitions else ""
    click.echo(
        f"\nsnapshot {snapshot['snapshot_id']} of {snapshot['day']} by {snapshot['job']}: "
        f"{snapshot['rows']:,} rows in {facts['files']} files, {len(partitions)} partitions{span}\n"
    )
    print_rows([{key: _shortened(value) for key, value in row.items()} for row in facts["sample"]])


def _shortened(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def print_tree(tree: Mapping[str, Any]) -> None:
    """A lineage as an indented tree."""
    from rich.tree import Tree

    root = Tree(_node_label(tree))
    _add_branches(root, tree)
    _print(root)


def _node_label(node: Mapping[str, Any]) -> str:
    name = f"[bold]{node['table']}[/bold] {node['snapshot_id']}"
    if node.get("seen"):
        return f"{name} (shown above)"
    if node.get("expired"):
        return f"{name} (expired)"
    revision = node["code_revision"][:12]
    return f"{name} {node['day']} {node['rows']:,} rows by {node['job']} @ {revision}"


def _add_branches(branch: Any, node: Mapping[str, Any]) -> None:
    for name, value in node.get("inputs", {}).items():
        if isinstance(value, dict) and "snapshot_id" in value:
            _add_branches(branch.add(_node_label(value)), value)
        else:
            branch.add(f"{name}: {value}", highlight=False)
    for past in node.get("previous", []):
        _add_branches(branch.add("built on " + _node_label(past)), past)


def ids_as_text(tree: Any) -> Any:
    """The tree with snapshot ids as text: 64 bits don't fit JavaScript's numbers."""
    if isinstance(tree, dict):
        return {
            key: str(value) if key == "snapshot_id" else ids_as_text(value)
            for key, value in tree.items()
        }
    return [ids_as_text(item) for item in tree] if isinstance(tree, list) else tree
