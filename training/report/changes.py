"""What changed since the run before: today's numbers beside that day's."""

from collections.abc import Sequence
from dataclasses import dataclass

from training.report.blocks import shown
from training.report.brief import Brief


@dataclass(frozen=True, kw_only=True)
class Change:
    """One line.

    Attributes:
        what: is counted.
        before: that day's; empty on a first day.
        now: the day's.
        change: between them; empty where there is none.
    """

    what: str
    before: str
    now: str
    change: str = ""


def changes(brief: Brief, before: Brief | None) -> list[Change]:
    """The lines of a day, what nobody recorded left out.

    Args:
        brief: the day.
        before: the run before it; None on a first day.
    """
    counted = [
        _counted("events published", "rows", brief, before),
        _counted("rows quarantined", "quarantined", brief, before),
        _counted("items", "items", brief, before, "new"),
        _counted("people with a history", "people", brief, before, "new"),
    ]
    told = [line for line in counted if line is not None]
    if brief.metric:
        told.append(_metric(brief, before))
    if brief.challenger:
        was = _began(before) if before else ""
        told.append(Change(what="weights begun from", before=was, now=_began(brief)))
    if brief.version is not None:
        was = shown(before.version) if before else ""
        told.append(Change(what="champion's version", before=was, now=shown(brief.version)))
    told.append(_alarms(brief, before))
    told.append(_seconds(brief, before))
    return told


def _counted(
    what: str, name: str, brief: Brief, before: Brief | None, more: str = ""
) -> Change | None:
    now, was = getattr(brief, name), getattr(before, name) if before else None
    if now is None:
        return None
    difference = now - was if was is not None else 0
    change = f"{difference:+,}".replace("-", "−") if difference else ""
    if more and difference > 0:
        change = f"{difference:,} {more}"
    return Change(what=what, before=shown(was) if before else "", now=shown(now), change=change)


def _metric(brief: Brief, before: Brief | None) -> Change:
    was = before.value if before and before.metric == brief.metric else None
    return Change(
        what=f"challenger's {brief.metric}",
        before=f"{was.point:.4f}" if was else ("–" if before else ""),
        now=f"{brief.value.point:.4f}" if brief.value else "–",
        change=f"{brief.value.point - was.point:+.4f}".replace("-", "−")
        if brief.value and was
        else "",
    )


def _began(brief: Brief) -> str:
    if not brief.challenger:
        return "–"
    return brief.began_with or "none"


def _alarms(brief: Brief, before: Brief | None) -> Change:
    new = sorted(set(brief.alarms) - set(before.alarms)) if before else []
    change = f"{len(new)} new" if new else ""
    was = _number(before.alarms) if before else ""
    return Change(what="alarms", before=was, now=_number(brief.alarms), change=change)


def _number(found: Sequence[str]) -> str:
    return str(len(found)) if found else "none"


def _seconds(brief: Brief, before: Brief | None) -> Change:
    change = ""
    if before and before.seconds:
        change = f"{brief.seconds / before.seconds - 1:+.0%}".replace("-", "−")
    return Change(
        what="seconds of work",
        before=f"{before.seconds:,.0f}" if before else "",
        now=f"{brief.seconds:,.0f}",
        change=change,
    )
