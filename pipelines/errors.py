"""Why a job stops because of its data, and with which exit code.

An unreadable delivery may be whole on the next try, so it is a failure like any other (1); data
that was read and judged wrong stays wrong until a person looks at it (3).
"""


class DeliveryUnreadable(Exception):
    """A raw file that is absent, cut short or can't be decoded; the command exits 1."""


class DataRefused(Exception):
    """Data that was read, judged and not published; the command exits 3."""


class RowsUnaccounted(Exception):
    """Rows in differ from rows published, dropped and refused: a defect of ours; exits 1."""
