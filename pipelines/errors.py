"""Why a job stops because of its data, and with which exit code.

An unreadable delivery may be whole on the next try, so it is a failure like any other (1); data
that was read and judged wrong stays wrong until a person looks at it (3).
"""

from feature_store.errors import with_paths


class _AboutFiles(Exception):
    """A message may name files by Spark's addresses; it shows paths."""

    def __init__(self, message: str) -> None:
        super().__init__(with_paths(message))


class DeliveryUnreadable(_AboutFiles):
    """A raw file that is absent, cut short or can't be decoded; the command exits 1."""


class DataRefused(_AboutFiles):
    """Data that was read, judged and not published; the command exits 3."""


class RowsUnaccounted(Exception):
    """Rows in differ from rows published, dropped and refused: a defect of ours; exits 1."""
