"""Which days `sidereal run` is asked for. The clock is read here and nowhere else."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from feature_store.preset import PresetError


def yesterday() -> date:
    """The day that ended last, UTC."""
    return datetime.now(UTC).date() - timedelta(days=1)


def which_days(
    days: Iterable[str], *, first: str | None, last: str | None, before_today: bool
) -> tuple[tuple[date, ...], date | None]:
    """Days that are run whole, and the first of those that are only brought in before them.

    Args:
        days: texts of `--day`, each one day or several with commas.
        first: of `--from`.
        last: of `--to`.
        before_today: whether `--yesterday` was given.
    Returns:
        Days in order, none where the preset is to say them; and of a range its first day.
    Raises:
        PresetError: a text is no day, or the options contradict each other.
    """
    chosen = tuple(_day("--day", text) for text in ",".join(days).split(",") if text.strip())
    if sum(map(bool, (chosen, last, before_today))) > 1:
        raise PresetError("--day, --to and --yesterday each say which day is run; give one of them")
    if last:
        chosen = (_day("--to", last),)
    if before_today:
        chosen = (yesterday(),)
    if first is None:
        if last:
            raise PresetError("--to needs --from: the first of the days that are filled in")
        return chosen, None
    if not (last or before_today):
        raise PresetError("--from needs --to or --yesterday: the last of the days, which is run")
    begin = _day("--from", first)
    if begin > chosen[0]:
        raise PresetError(f"--from {begin} is after {chosen[0]}, the last of the days")
    return chosen, begin


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        raise PresetError(f"{option}: {text!r} is no day; write it as in 1998-04-15") from error
