"""Storage that refuses: locked, read-only, full. Nothing is committed, and the message helps."""

import datetime as dt
import errno
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from feature_store.errors import CatalogLocked, StorageUnavailable, storage_errors
from feature_store.iceberg.catalog import catalog_errors
from feature_store.settings import Settings
from feature_store.store import Retention

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DAY_1, DAY_2 = dt.date(1998, 4, 15), dt.date(1998, 4, 16)
PUBLISH_SECOND_DAY = """
import datetime as dt, os, resource, signal, sys, tempfile
from pathlib import Path
sys.path.insert(0, os.getcwd())
from tests.feature_store.conftest import Shelf
from feature_store.errors import StorageUnavailable
from feature_store.settings import Settings

day = dt.date(1998, 4, 16)
with tempfile.TemporaryDirectory() as elsewhere:
    Shelf(Settings(home=Path(elsewhere))).publish(day, "whoever has this imports nothing later")
shelf = Shelf(Settings(code_revision="abc123"))
stage = shelf.store.stage("clicks", day=day, job="count_clicks")
rows = shelf.clicks(day, *[f"user {number}" for number in range(20_000)])
LIMIT
try:
    stage.write(rows)
    shelf.store.publish(stage)
except StorageUnavailable as refusal:
    sys.exit(str(refusal))
"""


def publish_in_subprocess(shelf, limit: str) -> str:
    """Message of the refusal that a publish in its own, limited process ends with."""
    done = subprocess.run(
        [sys.executable, "-c", PUBLISH_SECOND_DAY.replace("LIMIT", limit)],
        cwd=REPOSITORY,
        env={**os.environ, "SIDEREAL_HOME": str(shelf.settings.home)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    return done.stderr


def test_a_catalog_that_stays_locked_is_told_and_nothing_is_committed(shelf):
    shelf.publish(DAY_1, "a")
    impatient = type(shelf)(shelf.settings.model_copy(update={"lock_timeout_seconds": 0.2}))
    stage = impatient.staged(DAY_2, "b")
    catalog = sqlite3.connect(Path(shelf.settings.home) / "catalog.db")
    catalog.execute("BEGIN IMMEDIATE")
    with pytest.raises(CatalogLocked, match="still locked by another process; nothing was commit"):
        impatient.store.publish(stage)
    assert shelf.users() == ["a"]
    catalog.rollback()
    impatient.store.publish(stage)
    assert shelf.users() == ["a", "b"]


def test_a_lock_that_goes_in_time_is_waited_for(shelf):
    shelf.publish(DAY_1, "a")
    catalog = sqlite3.connect(Path(shelf.settings.home) / "catalog.db", check_same_thread=False)
    catalog.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.4, catalog.rollback)
    release.start()
    shelf.publish(DAY_2, "b")
    release.join()
    assert shelf.users() == ["a", "b"]


def test_a_warehouse_that_may_not_be_written_is_told(shelf):
    """Root may write anywhere, so the publishing process gives up being root."""
    with tempfile.TemporaryDirectory() as home:
        protected = type(shelf)(Settings(home=Path(home), code_revision="abc123"))
        protected.publish(DAY_1, "a")
        folders = [Path(folder) for folder, _, _ in os.walk(home)]
        for folder in folders:
            folder.chmod(0o555)
        told = publish_in_subprocess(protected, "if os.getuid() == 0: os.seteuid(65534)")
        for folder in folders:
            folder.chmod(0o755)
        assert "is not permitted" in told and "nothing was committed" in told
        assert protected.users() == ["a"]


def test_storage_that_takes_no_more_bytes_is_told(shelf):
    """A limit on the size of files stands in for a full disk: the kernel refuses to write."""
    shelf.publish(DAY_1, "a")
    limit = (
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))"
    )
    told = publish_in_subprocess(shelf, limit)
    assert "is over its size limit" in told and "nothing was committed" in told
    assert shelf.users() == ["a"]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "not permitted"),
        (errno.EDQUOT, "over its quota"),
    ],
)
def test_refusals_of_the_operating_system_are_named(number, reason):
    with pytest.raises(StorageUnavailable, match=f"storage at /somewhere is {reason}"):
        with storage_errors("/somewhere"):
            raise OSError(number, os.strerror(number))


def test_other_errors_stay_what_they_are():
    with pytest.raises(FileNotFoundError, match="gone"), storage_errors("/somewhere"):
        raise FileNotFoundError(errno.ENOENT, "gone")
    with pytest.raises(OperationalError, match="no such table"), catalog_errors("sqlite:///x"):
        raise OperationalError("SELECT", {}, Exception("no such table: x"))


@pytest.mark.parametrize(
    "text",
    ["attempt to write a readonly database", "database or disk is full", "unable to open database"],
)
def test_a_catalog_that_cannot_be_written_is_told_without_its_password(text):
    with pytest.raises(StorageUnavailable, match=f"catalog postgresql://db/x .*{text}") as refusal:
        with catalog_errors("postgresql://user:secret@db/x"):
            raise OperationalError("UPDATE", {}, Exception(text))
    assert "secret" not in str(refusal.value)


def test_a_catalog_in_no_folder_is_told(tmp_path, shelf):
    (tmp_path / "file").write_text("not a folder")
    settings = Settings(home=tmp_path, catalog_uri=f"sqlite:///{tmp_path}")
    with pytest.raises(StorageUnavailable, match="unable to open database file"):
        type(shelf)(settings)


def test_addresses_may_be_uris(shelf, tmp_path):
    settings = Settings(
        home=tmp_path,
        warehouse=f"file://{tmp_path}/a warehouse",
        catalog_uri=f"sqlite:///{tmp_path}/deep/er/catalog.db?cached_statements=64",
    )
    other = type(shelf)(settings)
    published = other.publish(DAY_1, "a", "b")
    other.publish(DAY_1, "c")
    assert other.store.files("clicks")[0].startswith(f"file://{tmp_path}/a warehouse/shop/")
    assert other.users() == ["c"]
    future = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
    [done] = other.store.maintain(
        ["clicks"], Retention(keep_days=0, keep_snapshots=1, orphans_before=future)
    )
    assert done.snapshots_expired == (published.snapshot_id,)
    assert done.files_deleted >= 3
    assert other.users() == ["c"]
