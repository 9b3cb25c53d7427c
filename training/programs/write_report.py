"""write_report: one self-contained HTML page about the day, and the index of all days.

Reads the day's run records, a few rows of tables, the registry's moves, and of other days their
`report.json`; recomputes nothing. A day whose chain stopped half-way gets a report of the half that
ran.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from feature_store.run_record import read_steps
from training.evaluation.record import Evaluation, RecordError, evaluation_of
from training.programs import report_rows
from training.programs.errors import ProgramError
from training.programs.interface import Facts, Task
from training.registry.view import look
from training.report.blocks import Section
from training.report.brief import Brief, brief_of, read_briefs, write_brief
from training.report.index import write_index
from training.report.opening import opening
from training.report.outcome import Outcome, Steps, of_this_run, outcome_of
from training.report.page import day_page, replace_page
from training.report.places import PAGE, data_docs, links
from training.report.remedies import remedies
from training.report.sections.boards import boards
from training.report.sections.champion import champions
from training.report.sections.checks import checks
from training.report.sections.cost import cost
from training.report.sections.data import data
from training.report.sections.fits import alignment, training
from training.report.sections.lineage import lineage
from training.report.sections.people import people
from training.report.sections.tokenizer import tokenizer
from training.report.sections.trend import trend


def run(task: Task, stopped_at: str = "") -> Facts:
    """Write `report.html` and `report.json` beside the day's run records, and `index.html`.

    Args:
        task: the day.
        stopped_at: a step that ended without a record of its failure, where the caller saw that.
    Raises:
        ProgramError: no step of the day left a record, or the evaluation's is of an older version.
    """
    records = read_steps(task.runs, task.day)
    if not records:
        raise ProgramError(f"no step has run for {task.day} under {task.runs}; run the day first")
    outcome = outcome_of(records, stopped_at)
    steps = of_this_run(records, outcome)
    try:
        evaluation = evaluation_of(steps.get("evaluate_recommender", {}))
    except RecordError as error:
        raise ProgramError(f"{task.day}: {error}") from error
    page, brief = _day(task, steps, outcome, evaluation)
    path = task.runs / task.day.isoformat() / PAGE
    replace_page(path, page)
    write_brief(task.runs, brief)
    every = read_briefs(task.runs)
    index = write_index(task.runs, task.config.name, task.config.description, every)
    return {
        "path": str(path),
        "index": str(index),
        "bytes": len(page.encode()),
        "message": f"wrote {path}",
    }


def _day(
    task: Task, steps: Steps, outcome: Outcome, evaluation: Evaluation | None
) -> tuple[str, Brief]:
    """The page of the day, and the day in a few numbers."""
    name, day = task.config.name, task.day.isoformat()
    volume = report_rows.volume(task.store, task.day)
    # Rows that an earlier run of the day published are none of one whose data were refused.
    is_refused = outcome.kind == "data_refused"
    strengths = {} if is_refused else report_rows.strengths_of(volume, task.day)
    brief = brief_of(task.day, steps, outcome, evaluation, strengths)
    earlier = [_counted(each, volume) for each in read_briefs(task.runs) if each.day < day]
    briefs = [*earlier, brief]
    first = opening(
        steps,
        outcome,
        evaluation,
        briefs,
        remedies(steps, outcome, brief, earlier, name),
        links(task.settings, name, task.day, briefs),
    )
    cards = [
        trend(briefs),
        checks(steps, data_docs(task.settings, name, task.day)),
        data(steps, volume),
        tokenizer(steps),
        training(steps),
        alignment(steps),
        *(boards(evaluation) if evaluation else []),
        *_served(task, steps, briefs),
        cost(steps, task.settings.machine_cost_per_hour),
    ]
    sections = [card for card in cards if card is not None]
    return day_page(name, day, task.config.description, first, sections), brief


def _counted(brief: Brief, volume: Mapping[str, Any] | None) -> Brief:
    """A day that was filled in, and never had a report, with what the table says of it."""
    if brief.strengths or brief.kind == "data_refused":
        return brief
    return replace(brief, strengths=report_rows.strengths_of(volume, date.fromisoformat(brief.day)))


def _served(task: Task, steps: Steps, briefs: Sequence[Brief]) -> Sequence[Section | None]:
    """What people get, who recommends, and what that was made from."""
    view = look(task.settings, task.config.name)
    moves = [move for move in view.history() if move.day <= task.day.isoformat()]
    record = steps.get("recommend", {})
    model = f"{record.get('model_family')} {record.get('model_version')}"
    cards = [champions(moves, view.versions(), briefs, task.config.gate.reference_budget)]
    if "rows" in record:  # those that an earlier run of the day wrote are none of this one's
        compared = steps.get("compare_answers", {})
        agreement = compared["message"] if "largest_difference" in compared else ""
        cards.insert(0, people(report_rows.people(task.store, task.day), model, agreement))
        cards.append(lineage(report_rows.lineage(task.store, task.day), task.config.name))
    return cards
