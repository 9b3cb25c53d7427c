"""A day in a few numbers: what the index, the trend and the next day's page read of it.

`report.json` beside the page holds it, a kilobyte or two, so that a hundred days are read in a
moment. A day without one, or with one of an earlier version, is read from its run records.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Self, get_args

from feature_store.run_record import read_steps
from training.evaluation.record import CHAMPION, Evaluation, Interval, RecordError, evaluation_of
from training.evaluation.shares import share_of
from training.evaluation.standing import judge_of
from training.report.outcome import (
    Kind,
    Outcome,
    Steps,
    alarms_of,
    of_this_run,
    ordered,
    outcome_of,
)

VERSION = 2
NAME = "report.json"


@dataclass(frozen=True, kw_only=True)
class Brief:
    """One day.

    Attributes:
        day: ISO.
        kind: of its end; a key of `IN_SHORT`.
        sentence: that a person reads first.
        challenger: label of the family that was meant to serve; empty before an evaluation.
        metric: what decides; empty before an evaluation.
        value: the challenger's; None where it was not measured.
        champion: what the champion had on the same targets; None without one.
        gain: challenger less champion, so that more is better; None without a champion.
        lead: the same against the reference, which may be the champion itself, as a share of what
            that one has above chance.
        champion_lead: the champion's, 0 where it is the reference.
        rows: events published.
        quarantined: rows.
        items: in the catalogue.
        people: with a history.
        version: of the champion at the day's end.
        began_with: the day whose weights the challenger began with; empty for none.
        alarms: sentences.
        strengths: events of the day by strength.
        seconds: of work in all steps.
    """

    day: str
    kind: Kind
    sentence: str
    challenger: str = ""
    metric: str = ""
    value: Interval | None = None
    champion: Interval | None = None
    gain: Interval | None = None
    lead: Interval | None = None
    champion_lead: float | None = None
    rows: int | None = None
    quarantined: int | None = None
    items: int | None = None
    people: int | None = None
    version: int | None = None
    began_with: str = ""
    alarms: tuple[str, ...] = ()
    strengths: Mapping[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the version of its shape."""
        return {"brief_version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self | None:
        """A day from what `to_json` gave; None where that is of another version."""
        if plain.get("brief_version") != VERSION or plain.get("kind") not in get_args(Kind):
            return None
        intervals = {
            name: None if plain[name] is None else Interval(**plain[name])
            for name in ("value", "champion", "gain", "lead")
        }
        strengths = {int(strength): rows for strength, rows in plain["strengths"].items()}
        given = {name: plain[name] for name in cls.__dataclass_fields__}
        typed = {"alarms": tuple(plain["alarms"]), "strengths": strengths}
        return cls(**{**given, **intervals, **typed})


def brief_of(
    day: date,
    steps: Steps,
    outcome: Outcome,
    evaluation: Evaluation | None,
    strengths: Mapping[int, int],
) -> Brief:
    """A day from its run records.

    Args:
        day: the partition.
        steps: its records, of its last run.
        outcome: what became of it.
        evaluation: of the day, where there is one.
        strengths: events of the day by strength; empty where nobody counted them.
    """
    ingest = steps.get("ingest_interactions", {})
    challenger = evaluation.challenger if evaluation else ""
    fit = steps.get("train_recommender", {}).get("families", {}).get(challenger, {})
    return Brief(
        day=day.isoformat(),
        kind=outcome.kind,
        sentence=outcome.sentence,
        rows=ingest.get("published"),
        quarantined=ingest.get("quarantined"),
        items=steps.get("build_items", {}).get("rows"),
        people=steps.get("build_user_sequences", {}).get("rows"),
        version=steps.get("promote_recommender", {}).get("champion_version"),
        began_with=fit.get("warm_start", {}).get("day") or "",
        alarms=tuple(alarms_of(steps)),
        strengths=dict(strengths),
        seconds=round(sum(float(steps[n].get("seconds", 0.0)) for n in ordered(steps)), 1),
        **(_measured(evaluation) if evaluation else {}),
    )


def _measured(evaluation: Evaluation) -> dict[str, Any]:
    metric, challenger = evaluation.primary_metric, evaluation.challenger
    champion = evaluation.champion
    row = evaluation.find(challenger, CHAMPION, metric)
    judge = judge_of(evaluation) or ""
    faced, before = (evaluation.find(one, judge, metric) for one in (challenger, CHAMPION))
    share = share_of(evaluation, before) if before else None
    return {
        "challenger": challenger,
        "metric": metric,
        "value": evaluation.entrants[challenger].value(metric),
        "champion": champion.value(metric) if champion else None,
        "gain": row.gain if row else None,
        "lead": share_of(evaluation, faced) if faced else None,
        "champion_lead": 0.0 if judge == CHAMPION else share.point if share else None,
    }


def read_briefs(runs: Path) -> list[Brief]:
    """Every day that has records, oldest first.

    Args:
        runs: `Settings.runs_of` the preset.
    """
    days = sorted({path.parent.name for path in runs.glob("????-??-??/steps")})
    return [found for day in days if (found := _read(runs, date.fromisoformat(day)))]


def _read(runs: Path, day: date) -> Brief | None:
    path = runs / day.isoformat() / NAME
    if path.is_file():
        kept = Brief.from_json(json.loads(path.read_text(encoding="utf-8")))
        if kept is not None:
            return kept
    records = read_steps(runs, day)
    if not records:
        return None
    outcome = outcome_of(records)
    steps = of_this_run(records, outcome)
    try:
        evaluation = evaluation_of(steps.get("evaluate_recommender", {}))
    except RecordError:  # of an earlier version: the day is listed without its metric
        evaluation = None
    return brief_of(day, steps, outcome, evaluation, {})


def write_brief(runs: Path, brief: Brief) -> None:
    """Replace the day's `report.json`."""
    path = runs / brief.day / NAME
    beside = path.with_suffix(".json.tmp")
    beside.write_text(json.dumps(brief.to_json(), indent=1, sort_keys=True), encoding="utf-8")
    beside.replace(path)
