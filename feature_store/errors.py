"""What can go wrong with a table; each message says what was found, expected, and what to do."""

import errno
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

_ON_THIS_MACHINE = re.compile(r"file:(?://)?(?=/)")


def with_paths(text: str) -> str:
    """A message in which files of this machine are paths, as a shell takes them.

    Example:
        >>> with_paths("no rows in file:/data/a.csv and file:///data/b.csv")
        'no rows in /data/a.csv and /data/b.csv'
    """
    return _ON_THIS_MACHINE.sub("", text)


class FeatureStoreError(Exception):
    """Any refusal of the feature store; `exit_code` is what a command ends with."""

    exit_code = 1


class OldHome(FeatureStoreError):
    """The home was filled by a version that kept no preset's tables and records apart."""

    exit_code = 2


class TableNotFound(FeatureStoreError):
    """No contract of that name, or nothing was ever published under it."""

    exit_code = 2


class SnapshotNotFound(FeatureStoreError):
    """The table has no snapshot of that id, or none tagged with that day."""

    exit_code = 2


class UndeclaredTable(FeatureStoreError):
    """A step reads or writes a table that it doesn't declare in `feature_store.steps`."""


class ContractViolation(FeatureStoreError):
    """Rows or files that don't keep the table's contract.

    Args:
        table: the table's name.
        problems: every difference found, one sentence each.
    """

    exit_code = 3

    def __init__(self, table: str, problems: Sequence[str]) -> None:
        self.table = table
        self.problems = tuple(problems)
        listed = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(
            f"table {table!r}: {len(self.problems)} difference(s) from its contract, "
            f"nothing was committed:{listed}"
        )


class TableRefused(FeatureStoreError):
    """Staged rows that break rules of their table; what was published before stays.

    Args:
        message: every rule that refuses, with its rows and what to do.
        facts: what the run record says of it.
    """

    exit_code = 3

    def __init__(self, message: str, facts: Mapping[str, Any]) -> None:
        super().__init__(with_paths(message))
        self.facts = facts


class CommitConflict(FeatureStoreError):
    """Another run changed the same partitions since this one started."""


class CatalogLocked(FeatureStoreError):
    """The catalog stayed locked by another process for longer than a commit may wait."""


class StorageUnavailable(FeatureStoreError):
    """The warehouse or the catalog can't be written: read-only, full, or not permitted."""


class TableDamaged(FeatureStoreError):
    """Files that a snapshot needs are gone."""


_UNWRITABLE = {
    errno.EACCES: "not permitted",
    errno.EPERM: "not permitted",
    errno.EROFS: "read-only",
    errno.ENOSPC: "full",
    errno.EDQUOT: "over its quota",
    errno.EFBIG: "over its size limit",
}


@contextmanager
def storage_errors(place: str) -> Iterator[None]:
    """Turn the operating system's refusals to write at `place` into `StorageUnavailable`.

    Raises:
        StorageUnavailable: an OSError that says read-only, full or not permitted.
    """
    try:
        yield
    except OSError as error:
        reason = _UNWRITABLE.get(error.errno or 0)
        if reason is None:
            raise
        raise StorageUnavailable(
            f"storage at {with_paths(place)} is {reason} ({error}); nothing was committed. "
            "Free space or fix permissions, then run the command again"
        ) from error
