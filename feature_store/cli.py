"""`sidereal tables`: look at the feature store's tables, go back, clean up."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from feature_store import options
from feature_store.cli_store import VERSION, At, NothingThere, at, not_blank, opened
from feature_store.display import (
    ids_as_text,
    output,
    print_rows,
    print_table,
    print_tree,
    snapshot_line,
)
from feature_store.steps import consumers_of, producer_of

if TYPE_CHECKING:
    from feature_store.store import FeatureStore


@click.group()
def tables() -> None:
    """A preset's tables and their versions.

    A version is named by its snapshot id, by the day whose run left it, or `head`.
    """


@tables.command("list")
@options.preset
@options.as_json
def list_(preset: str, as_json: bool) -> None:
    """Every table that was published, with its rows and newest snapshot."""
    nothing, heads = "no table was published yet", []
    try:
        with opened(preset) as store:
            heads = [store.describe(name) for name in store.tables()]
    except NothingThere as error:
        nothing = error.message
    facts = [head.to_json() for head in heads]
    lines = [{"table": fact["table"]} | snapshot_line(fact) for fact in facts]
    output(facts, as_json, lambda: print_rows(lines, nothing))


@tables.command()
@click.argument("name")
@at
@click.option("--rows", "sample", default=3, show_default=True, help="Rows to show.")
@options.preset
@options.as_json
def show(name: str, at: At, sample: int, preset: str, as_json: bool) -> None:
    """What a table promises, what a version holds, and its first rows."""
    with opened(preset) as store:
        info, contract = store.describe(name, at), store.contract(name)
        partitions = store.partitions(name, at)
        rows = _first_rows(store, name, at, sample)
        files = len(store.files(name, at))
    facts = {
        "table": name,
        "grain": contract.grain,
        "key": list(contract.key),
        "partition": contract.partition,
        "producer": producer_of(name),
        "consumers": list(consumers_of(name)),
        "columns": [
            {"name": c.name, "type": c.type, "nullable": c.nullable, "meaning": c.meaning}
            for c in contract.columns
        ],
        "snapshot": info.to_json(),
        "partitions": [str(value) for value in partitions],
        "files": files,
        "sample": rows,
    }
    output(facts, as_json, lambda: print_table(facts))


@tables.command("history")
@click.argument("name")
@options.preset
@options.as_json
def history_(name: str, preset: str, as_json: bool) -> None:
    """A table's snapshots, newest first, and its rollbacks."""
    with opened(preset) as store:
        snapshots = [info.to_json() for info in store.history(name)]
        moves = [
            {"before": str(m.before), "after": str(m.after), "reason": m.reason}
            for m in store.rollbacks(name)
        ]
    facts = {"table": name, "snapshots": snapshots, "rollbacks": moves}

    def human() -> None:
        print_rows([snapshot_line(snapshot) for snapshot in snapshots])
        for move in moves:
            click.echo(f"rolled back {move['before']} → {move['after']}: {move['reason']}")

    output(facts, as_json, human)


@tables.command()
@click.argument("name")
@click.argument("a", type=VERSION)
@click.argument("b", type=VERSION)
@options.preset
@options.as_json
def diff(name: str, a: At, b: At, preset: str, as_json: bool) -> None:
    """Rows and files that changed from version A to version B, by partition."""
    from dataclasses import asdict

    with opened(preset) as store:
        found = store.diff(name, a, b)
    facts = asdict(found) | {
        "before": str(found.before),
        "after": str(found.after),
        "rows_added": found.rows_added,
        "rows_removed": found.rows_removed,
    }

    def human() -> None:
        print_rows(facts["partitions"], "the two versions hold the same rows")
        click.echo(
            f"{name} {found.before} → {found.after}: {found.rows_added} rows added, "
            f"{found.rows_removed} removed in {len(found.partitions)} partition(s); "
            f"{found.partitions_unchanged} unchanged"
        )

    output(facts, as_json, human)


@tables.command()
@click.argument("name")
@click.argument("snapshot", type=VERSION)
@click.option(
    "--reason",
    required=True,
    callback=not_blank,
    help="What was wrong; kept in the table's history.",
)
@options.preset
@options.as_json
def rollback(name: str, snapshot: At, reason: str, preset: str, as_json: bool) -> None:
    """Let readers see SNAPSHOT (an id or a day) again.

    Newer snapshots are set aside, not deleted: rolling back to one of them brings it back.
    """
    with opened(preset) as store:
        target = store.describe(name, snapshot).snapshot_id
        move = store.rollback(name, target, reason)
    facts = {
        "table": name,
        "before": str(move.before),
        "after": str(move.after),
        "reason": move.reason,
        "changed": move.before != move.after,
    }
    said = f"{name}: readers see snapshot {move.after} now, {move.before} is set aside"
    if not facts["changed"]:
        said = f"{name}: readers see snapshot {move.after} already"
    output(facts, as_json, lambda: click.echo(said))


@tables.command()
@click.argument("name")
@at
@options.preset
@options.as_json
def lineage(name: str, at: At, preset: str, as_json: bool) -> None:
    """What a version was made from, down to the raw files."""
    with opened(preset) as store:
        tree = store.lineage(name, at)
    output(ids_as_text(tree), as_json, lambda: print_tree(tree))


@tables.command()
@click.argument("names", nargs=-1)
@click.option(
    "--keep-days",
    type=click.IntRange(min=0),
    default=90,
    show_default=True,
    help="Days of data to keep.",
)
@click.option(
    "--keep-snapshots",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Newest snapshots to keep whatever their day.",
)
@click.option(
    "--keep", type=options.DAY, multiple=True, help="A day to keep for good; may be repeated."
)
@click.option(
    "--as-of", type=options.DAY, help="Count days back from here. Default: the newest day."
)
@click.option("--grace-hours", default=24.0, show_default=True, help="Spare files this young.")
@options.preset
@options.as_json
def maintain(
    names: Sequence[str],
    keep_days: int,
    keep_snapshots: int,
    keep: Sequence[date],
    as_of: date | None,
    grace_hours: float,
    preset: str,
    as_json: bool,
) -> None:
    """Expire old snapshots and delete files that no snapshot leads to.

    Works on NAMES, or on every table. Age is counted in days of data, not by the clock; a file is
    spared while it is younger than the table's newest commit less the grace.
    """
    from dataclasses import asdict
    from datetime import timedelta

    from feature_store.maintenance import Retention

    with opened(preset) as store:
        done = store.maintain(
            names or None,
            Retention(
                keep_days=keep_days,
                keep_snapshots=keep_snapshots,
                keep=keep,
                as_of=as_of,
                grace=timedelta(hours=grace_hours),
            ),
        )
    facts = [
        asdict(one) | {"snapshots_expired": [str(expired) for expired in one.snapshots_expired]}
        for one in done
    ]
    short = [
        fact
        | {
            "snapshots_expired": len(fact["snapshots_expired"]),
            "tags_removed": len(fact["tags_removed"]),
        }
        for fact in facts
    ]
    output(facts, as_json, lambda: print_rows(short))


def _first_rows(store: "FeatureStore", name: str, at: At, count: int) -> list[dict[str, Any]]:
    if count < 1:
        return []
    for batch in store.scan(name, at):
        if batch.num_rows:
            return list(batch.slice(0, count).to_pylist())
    return []
