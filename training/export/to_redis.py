"""Recommendations in Redis: a key per user under a version, and one key that says which counts.

    sidereal:<preset>:recommendations:current             2026-03-01-0f3a9c2b71de
    sidereal:<preset>:recommendations:previous            2026-02-28-9b1d04e7aa35
    sidereal:<preset>:recommendations:versions            hash: version → users, written, …
    sidereal:<preset>:recommendations:<version>:<user>    {"item_ids": […], "scores": […]}

A reader asks for `current`, then for its user. Users are written in transactions that also say how
far the version is, so that an interrupted export goes on there. `current` moves when all are
written; the version that it leaves stays as `previous`, older ones are removed.
"""

import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import redis

from feature_store.log_lines import Progress
from training.export.lines import json_lists
from training.export.rows import Exported, ExportError, Rows

LOG = logging.getLogger(__name__)
USERS_AT_ONCE = 2000
"""Of one transaction: Redis answers nobody else in the meantime."""
_TIMEOUT_SECONDS = 30.0


def to_redis(rows: Rows, address: str) -> Exported:
    """Write the rows as a version and let it be the current one.

    Raises:
        ExportError: the address can't be read, or Redis can't be reached or refuses; what readers
            get is as it was.
    """
    target = without_password(address)
    try:
        client = redis.Redis.from_url(
            address,
            decode_responses=True,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
        )
        return _export(rows, client, target)
    except ValueError as error:
        raise ExportError(f"{target} is no address of a Redis: {error}") from error
    except redis.RedisError as error:
        raise ExportError(
            f"Redis at {target}: {error}; what readers get is as it was. Run the command again: it "
            "goes on where it ended"
        ) from error


def without_password(address: str) -> str:
    """The address as it may be shown.

    Example:
        >>> without_password("redis://:secret@cache:6379/0")
        'redis://cache:6379/0'
    """
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _export(rows: Rows, client: Any, target: str) -> Exported:
    place = f"sidereal:{rows.preset}:recommendations"
    current = client.get(f"{place}:current")
    known = json.loads(client.hget(f"{place}:versions", rows.version) or "{}")
    if known.get("complete") and current == rows.version:
        return Exported("unchanged", target, rows.users, 0)
    # Places of rows are those of one snapshot: of another one all are written again.
    begun = known.get("written", 0) if known.get("snapshot_id") == str(rows.snapshot_id) else 0
    begun = rows.users if known.get("complete") else begun
    progress = Progress(LOG, "export: users", rows.users)
    progress.begin_at(begun)
    if begun:
        LOG.info("export: going on after %d of %d users", begun, rows.users)
    written = begun
    for batch in _after(rows, begun):
        written += batch.num_rows
        _write(client, place, rows, batch, written)
        progress.at(written)
    _switch(client, place, rows, current)
    _remove_old(client, place)
    return Exported("done", target, rows.users, written - begun)


def _after(rows: Rows, done: int) -> Iterator[pa.RecordBatch]:
    """The rows behind the first `done`, as many at once as a transaction takes."""
    if done == rows.users:
        return
    for batch in rows.batches():
        skipped = min(done, batch.num_rows)
        done -= skipped
        for start in range(skipped, batch.num_rows, USERS_AT_ONCE):
            yield batch.slice(start, USERS_AT_ONCE)


def _write(client: Any, place: str, rows: Rows, batch: pa.RecordBatch, written: int) -> None:
    keys = pc.binary_join_element_wise(f"{place}:{rows.version}:", batch["user_id"], "")
    values = json_lists(batch)
    with client.pipeline(transaction=True) as transaction:
        transaction.mset(dict(zip(keys.to_pylist(), values.to_pylist(), strict=True)))
        transaction.hset(f"{place}:versions", rows.version, _state(rows, written))
        transaction.execute()


def _state(rows: Rows, written: int, *, complete: bool = False) -> str:
    return json.dumps(
        {
            "day": rows.day.isoformat(),
            "content_hash": rows.content_hash,
            "snapshot_id": str(rows.snapshot_id),
            "users": rows.users,
            "written": written,
            "complete": complete,
        }
    )


def _switch(client: Any, place: str, rows: Rows, current: str | None) -> None:
    with client.pipeline(transaction=True) as transaction:
        transaction.hset(f"{place}:versions", rows.version, _state(rows, rows.users, complete=True))
        transaction.set(f"{place}:current", rows.version)
        if current is not None and current != rows.version:
            transaction.set(f"{place}:previous", current)
        transaction.execute()


def _remove_old(client: Any, place: str) -> None:
    """Remove all versions but the current and the previous one, begun ones included."""
    kept = set(client.mget(f"{place}:current", f"{place}:previous"))
    for version in set(client.hkeys(f"{place}:versions")) - kept:
        cursor = None
        while cursor != 0:
            cursor, keys = client.scan(
                cursor or 0, match=f"{place}:{version}:*", count=USERS_AT_ONCE
            )
            if keys:
                client.unlink(*keys)
        client.hdel(f"{place}:versions", version)
