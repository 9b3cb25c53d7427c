"""kill -9 at the worst moments: readers see the old table, and the retry ends as if nothing was."""

import datetime as dt
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from feature_store.store import Retention

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DAY_1, DAY_2 = dt.date(1998, 4, 15), dt.date(1998, 4, 16)
WRITER = """
import datetime as dt, os, signal, sys
from tests.feature_store.conftest import Shelf
from feature_store.settings import Settings

shelf = Shelf(Settings(code_revision="abc123"))
stage = shelf.staged(dt.date(1998, 4, 16), "b", "c")
if sys.argv[1] == "die before the commit":
    os.kill(os.getpid(), signal.SIGKILL)
print("publishing", flush=True)
shelf.store.publish(stage)
"""


def start_writer(shelf, what: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, what],
        cwd=REPOSITORY,
        env={**os.environ, "SIDEREAL_HOME": str(shelf.settings.home)},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def published(shelf):
    """A shelf with one day, and its head before the crash."""
    shelf.head = shelf.publish(DAY_1, "a").snapshot_id
    return shelf


def expect_retry_to_end_as_if_nothing_was(shelf) -> None:
    assert shelf.store.snapshot_id("clicks") == shelf.head
    assert shelf.users() == ["a"]
    shelf.publish(DAY_2, "b", "c")
    assert shelf.users() == ["a", "b", "c"]
    assert len(shelf.store.history("clicks")) == 2
    everything = Retention(orphans_before=dt.datetime(2100, 1, 1, tzinfo=dt.UTC))
    [done] = shelf.store.maintain(["clicks"], everything)
    assert done.files_deleted > 0, "what the killed run left is cleaned up"
    assert shelf.users() == ["a", "b", "c"]


def test_killed_between_stage_and_commit(published):
    writer = start_writer(published, "die before the commit")
    assert writer.wait(timeout=60) == -signal.SIGKILL
    writer.stdout.close()
    expect_retry_to_end_as_if_nothing_was(published)


def test_killed_in_the_middle_of_the_commit(published):
    """Its snapshot's metadata is written, the catalog's row isn't: a lock holds it right there."""
    catalog = sqlite3.connect(Path(published.settings.home) / "catalog.db")
    metadata = Path(published.store.files("clicks")[0]).parent.parent.parent / "metadata"
    before = {path.name for path in metadata.glob("*.metadata.json")}
    catalog.execute("BEGIN IMMEDIATE")
    writer = start_writer(published, "commit")
    try:
        deadline = time.monotonic() + 60
        while {path.name for path in metadata.glob("*.metadata.json")} == before:
            assert time.monotonic() < deadline and writer.poll() is None, "the writer got nowhere"
            time.sleep(0.05)
        time.sleep(0.2)
    finally:
        writer.kill()
        writer.communicate()
    assert writer.returncode == -signal.SIGKILL
    catalog.rollback()
    catalog.close()
    expect_retry_to_end_as_if_nothing_was(published)
