"""The result of a day of the daily chain: what its evaluation found of every entrant."""

import json
from pathlib import Path

from training.evaluation.metrics import headline_names, metric_of
from training.evaluation.record import Evaluation
from training.experiments.result import Compared, Figure, Result, RowResult

NAME = "day"
RECORD = "steps/evaluate_recommender.json"


def result_of_day(run: Path) -> Result:
    """The table of a run.

    Args:
        run: the day's folder of run records.
    Raises:
        ValueError: the day has no evaluation.
    """
    path = run / RECORD
    if not path.is_file():
        raise ValueError(f"no {path}: expected a day's run, as in var/runs/PRESET/DAY")
    facts = json.loads(path.read_text(encoding="utf-8"))
    record = Evaluation.from_json(facts)
    measured = {name for entrant in record.entrants.values() for name in entrant.values()}
    metrics = headline_names(measured, record.primary_metric)
    decides = record.entrants[record.challenger].on(metric_of(record.primary_metric).board)
    return Result(
        experiment=NAME,
        preset=facts["preset"],
        says="the entrants of a day of the daily chain, one fit each",
        command=f"sidereal run --preset {facts['preset']} --days {facts['day']}",
        day=facts["day"],
        unit="people",
        num_units=decides.num_users if decides else 0,
        confidence=record.confidence,
        samples=record.bootstrap_samples,
        machines=(),
        inputs={name: read["content_hash"] for name, read in record.inputs.items()},
        rows=tuple(_row(record, label, metrics) for label in record.entrants),
        comparisons=tuple(
            Compared(
                ours=row.ours,
                theirs=row.theirs,
                metric=row.metric,
                difference=row.difference,
                relative=row.relative,
            )
            for label in record.entrants
            for metric in metrics
            if (row := record.find(record.challenger, label, metric)) is not None
        ),
    )


def _row(record: Evaluation, label: str, metrics: list[str]) -> RowResult:
    values = record.entrants[label].values()
    there = {name: values[name] for name in metrics if name in values}
    figures = {name: Figure(bounds.point, None, bounds) for name, bounds in there.items()}
    return RowResult(name=label, seeds=(0,), metrics=figures)
