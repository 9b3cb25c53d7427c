"""Which events no weight may see: one rule for the tables and for training.

What is learnt from events (a table of vectors, a tokenizer, a model) ends before the first one
that validates. Pipelines and training both ask here, so that they can't disagree.
"""

from datetime import date, timedelta
from typing import Literal

from pydantic import ConfigDict, Field

from feature_store.preset import Section

LONGEST_HOLDOUT_DAYS = 28
"""Held out where the preset doesn't say and the log is long enough."""
LAST_EVENTS = 2
"""leave_last_out: so many of a person's events are held out; who has no more trains with all."""
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)


class HeldOut(Section):
    """What is held out of everything that is learnt from events."""

    protocol: Literal["rolling", "leave_last_out", "random"] = "rolling"
    """`rolling`: the last days are held out; `leave_last_out`: each user's last event; `random`: of
    each user's positive and other events a fifth by chance, as some papers on click models have it:
    what is learnt then knows days after those that are asked about, so that it is no measure of
    what will serve, and for families that answer feedback alone."""
    holdout_days: int | None = Field(default=None, ge=1)
    """rolling: the last days, whose events no weight has seen; null: a fifth of the days that the
    log holds, at most 28."""
    validation_days: int | None = Field(default=None, ge=1)
    """rolling: the days before the holdout that early stopping looks at; null: half as many as
    are held out."""


class HeldOutOnly(HeldOut):
    """The same of a section that says more, which is another package's to judge."""

    model_config = ConfigDict(extra="ignore")


def rolling_windows(first_event: int | None, day: date, how: HeldOut) -> tuple[int, int]:
    """Days that are held out and days that validate; what is None follows from the log's length.

    A fifth of the days from the first event to `day` is held out, at most 28 and at least one;
    half as many validate, at least one.

    Args:
        first_event: of all histories, microseconds since 1970 (UTC); None: there is none.
        day: the run's.
        how: lengths, where the preset says them.
    Example:
        A log of 20 days holds out 4 and validates on 2; one of 212 days 28 and 14.
    """
    holdout_days, validation_days = how.holdout_days, how.validation_days
    if holdout_days is None:
        span = log_days(first_event, day)
        holdout_days = min(max(span // 5, 1), LONGEST_HOLDOUT_DAYS)
    if validation_days is None:
        validation_days = max(holdout_days // 2, 1)
    return holdout_days, validation_days


def log_days(first_event: int | None, day: date) -> int:
    """Days from the first event (microseconds since 1970) to `day`, both included; 0 without."""
    if first_event is None:
        return 0
    end = (day + _DAY - date(1970, 1, 1)) // _MICROSECOND
    per_day = _DAY // _MICROSECOND
    return (end - first_event + per_day - 1) // per_day


def trained_until(first_event: int | None, day: date, how: HeldOut) -> date | None:
    """The first day whose events nothing learns from; None where no day is held out whole."""
    if how.protocol != "rolling":
        return None
    return day + _DAY - timedelta(days=sum(rolling_windows(first_event, day, how)))
