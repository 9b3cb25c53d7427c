"""The first screen: what became of the day, what decided, what changed, what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.evaluation.metrics import metric_of
from training.evaluation.record import CHAMPION, Comparison, Entrant, Evaluation, Interval
from training.report import trend_charts
from training.report.blocks import Entry, Tone
from training.report.brief import Brief
from training.report.changes import Change, changes
from training.report.entrants import best_baseline, is_better, named
from training.report.outcome import Outcome, Steps, failed_rules
from training.report.remedies import Remedy


@dataclass(frozen=True, kw_only=True)
class Link:
    """A place to look; the address is empty where only a command leads there."""

    text: str
    address: str = ""
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What the template reads of the first screen.

    Attributes:
        sentence: what became of the day.
        tone: of the card.
        said: sentences that give the numbers behind it.
        svg: the picture of what decided; empty where nothing was measured.
        failed: rules that failed: of the gate, or of the table whose rows were refused.
        rules: all of the gate's.
        changes: against the run before.
        before: that run's day; empty on a first day.
        remedies: what to do; empty where nothing is wrong.
        links: where to look.
    """

    sentence: str
    tone: Tone
    said: Sequence[str]
    svg: str
    failed: Sequence[Entry]
    rules: Sequence[Entry]
    changes: Sequence[Change]
    before: str
    remedies: Sequence[Remedy]
    links: Sequence[Link]


def opening(
    steps: Steps,
    outcome: Outcome,
    evaluation: Evaluation | None,
    briefs: Sequence[Brief],
    found: Sequence[Remedy],
    links: Sequence[Link],
) -> Opening:
    """The first screen of a day.

    Args:
        steps: the records of its last run.
        outcome: what became of it.
        evaluation: None before one.
        briefs: the runs up to the day, oldest first, the day's own last.
        found: what to do.
        links: where to look.
    """
    before = briefs[-2] if len(briefs) > 1 else None
    rules = _rules(steps.get("promote_recommender", {}))
    broken = _broken(steps.get(outcome.step, {})) if outcome.kind == "data_refused" else []
    return Opening(
        sentence=outcome.sentence,
        tone=outcome.tone,
        said=_said(evaluation, outcome) if evaluation else [],
        svg=_decided(evaluation) if evaluation else "",
        failed=broken or [rule for rule in rules if rule.tone == "bad"],
        rules=rules,
        changes=changes(briefs[-1], before),
        before=before.day if before else "",
        remedies=found,
        links=links,
    )


def _rules(record: Mapping[str, Any]) -> list[Entry]:
    return [
        Entry(f"{reason['rule']}: {reason['detail']}", "good" if reason["passed"] else "bad")
        for reason in record.get("verdict", {}).get("reasons", ())
    ]


def _broken(record: Mapping[str, Any]) -> list[Entry]:
    return [
        Entry(
            f"{rule['rule']}: {rule.get('description', '')} Found {rule.get('observed')}, "
            f"expected {rule.get('expected')}.",
            "bad",
        )
        for rule in failed_rules(record)
    ]


def _said(evaluation: Evaluation, outcome: Outcome) -> list[str]:
    """The deciding metric of the challenger, the champion and the best baseline, in words."""
    metric, challenger = evaluation.primary_metric, evaluation.challenger
    value = evaluation.entrants[challenger].value(metric)
    if value is None:
        return [f"{challenger} has no {metric}."]
    told = [f"{challenger} has a {metric} of {value.point:.4f}."]
    return told + [
        _against(evaluation, label, outcome)
        for label in (CHAMPION, best_baseline(evaluation, metric))
        if label and label in evaluation.entrants
    ]


def _against(evaluation: Evaluation, label: str, outcome: Outcome) -> str:
    metric, challenger = evaluation.primary_metric, evaluation.challenger
    theirs = evaluation.entrants[label].value(metric)
    row = evaluation.find(challenger, label, metric)
    who = f"The best baseline, {named(evaluation, label)},"
    if label == CHAMPION:
        moved = outcome.kind in ("promoted", "baseline")
        who = f"The champion{' before' if moved else ''}, {_dated(evaluation.entrants[label])},"
    if theirs is None or row is None:
        return f"{who} has no {metric}."
    difference = {
        True: f"{challenger} is significantly better",
        False: f"{challenger} is significantly worse",
        None: "the difference is not significant",
    }[is_better(row)]
    return f"{who} has {theirs.point:.4f}: {difference}."


def _dated(entrant: Entrant) -> str:
    return f"{entrant.family} of {entrant.day}"


def _decided(evaluation: Evaluation) -> str:
    metric, challenger = evaluation.primary_metric, evaluation.challenger
    if evaluation.entrants[challenger].value(metric) is None:
        return ""
    faced = [label for label in (CHAMPION, best_baseline(evaluation, metric)) if label]
    rows = [_faced(evaluation, challenger, None)]
    for label in faced:
        if label and label in evaluation.entrants:
            rows.append(_faced(evaluation, label, evaluation.find(challenger, label, metric)))
    return trend_charts.deciding(
        metric,
        rows,
        confidence=evaluation.confidence,
        less_is_better=not metric_of(metric).higher_is_better,
    )


def _faced(evaluation: Evaluation, label: str, row: Comparison | None) -> trend_charts.Faced:
    value: Interval | None = evaluation.entrants[label].value(evaluation.primary_metric)
    shown = named(evaluation, label)
    return trend_charts.Faced(
        label=f"best baseline, {shown}" if row is not None and label != CHAMPION else shown,
        value=value,
        difference=row.difference if row else None,
        is_better=is_better(row),
    )
