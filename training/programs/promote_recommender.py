"""promote_recommender: register the challenger, ask the gate, move the aliases.

A refusal is an outcome, not a failure: the program ends well, and the champion, if there is one,
stays; where another model is better than that champion beyond chance, an alarm says so. The verdict
is stored beside every version that it is about. Run again, it finds the same versions and the same
champion and changes nothing.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from feature_store.steps import run_first
from training.evaluation.champion_alarms import ADVICE, champion_alarms
from training.evaluation.gate import Verdict, decide
from training.evaluation.record import PRETRAINED, Evaluation, RecordError
from training.evaluation.standing import standing_after
from training.programs.errors import ProgramError
from training.programs.evaluate_recommender import FACTS
from training.programs.interface import Facts, Task
from training.programs.reference import judge_level
from training.registry.records import Candidate, Version, withdrawn

LOG = logging.getLogger(__name__)


def run(task: Task) -> Facts:
    """Decide and, where the gate says so, promote.

    Raises:
        ProgramError: the day has no evaluation, it is an older version's record, or it is not of
            the bundles of now.
        BundleError: the bundle that would be registered or promoted does not verify.
    """
    day = task.day.isoformat()
    evaluation = _evaluation(task)
    candidates = _candidates(task, evaluation)
    champion = task.registry.champion()
    _require_current(task, evaluation, candidates, champion)
    verdict = decide(evaluation, task.config.gate, _withdrawn(task))
    challenger = task.registry.register(candidates[verdict.challenger])
    chosen = challenger
    if verdict.promoted is not None:
        chosen = task.registry.register(candidates[verdict.promoted])
    standing = standing_after(
        evaluation, verdict.promoted or verdict.challenger, judge_level(task, evaluation)
    )
    kept = {**verdict.to_json(), "standing": asdict(standing)}
    for version in {challenger.number: challenger, chosen.number: chosen}.values():
        _record(task, version, kept)
    move = None
    if verdict.promoted is not None:
        move = task.registry.promote(chosen, day=day, reason=verdict.summary)
    serving = task.registry.champion()
    alarms = _alarms(task, evaluation, verdict)
    return {
        "status": "done" if move else "unchanged",
        "decision": verdict.decision,
        "verdict": verdict.to_json(),
        "challenger_version": challenger.number,
        "promoted_version": chosen.number if move else None,
        "champion_version": serving.number if serving else None,
        "champion_family": serving.family if serving else None,
        "previous_version": move.from_version if move else None,
        "evaluation_run_id": evaluation.run_id,
        "alarms": alarms,
        "message": verdict.summary + (f"; {len(alarms)} alarm(s)" if alarms else ""),
    }


def _alarms(task: Task, evaluation: Evaluation, verdict: Verdict) -> list[str]:
    """What is wrong with the champion, where it goes on serving."""
    if verdict.promoted is not None:
        return []
    gate = task.config.gate
    found = champion_alarms(evaluation, floor=gate.floor, budget=gate.reference_budget)
    for alarm in found:
        LOG.warning("champion: alarm: %s. %s", alarm, ADVICE)
    return found


def _evaluation(task: Task) -> Evaluation:
    day = task.day.isoformat()
    found = task.registry.find_run(day=day, step="evaluate_recommender")
    if found is None:
        raise ProgramError(f"{day} has no evaluation; {run_first('evaluation')}")
    try:
        return Evaluation.from_json(task.registry.read_json(found, FACTS))
    except RecordError as error:
        raise ProgramError(f"{day}: {error}") from error


def _candidates(task: Task, evaluation: Evaluation) -> dict[str, Candidate]:
    """The day's candidates by label.

    Raises:
        ProgramError: the latest candidate of a family is not the one that was evaluated.
    """
    found: dict[str, Candidate] = {}
    for label in (evaluation.challenger, *evaluation.baselines):
        family = evaluation.challenger if label == PRETRAINED else label
        candidate = task.registry.find_candidate(
            task.day.isoformat(), family, is_aligned=False if label == PRETRAINED else None
        )
        evaluated = evaluation.entrants[label].digest
        if candidate is None or candidate.digest != evaluated:
            raise ProgramError(
                f"{label} was trained again since the evaluation (evaluated {evaluated:.12}…, "
                f"now {candidate.digest if candidate else 'none'!s:.12}…); "
                "run evaluate_recommender again"
            )
        found[label] = candidate
    return found


def _require_current(
    task: Task,
    evaluation: Evaluation,
    candidates: Mapping[str, Candidate],
    champion: Version | None,
) -> None:
    """Refuse a verdict on another champion than the one that serves.

    A champion that this very evaluation led to is the exception: the program runs again.

    Raises:
        ProgramError: the champion has moved since the evaluation.
    """
    if evaluation.challenger != task.config.models.challenger:
        raise ProgramError(
            f"the evaluation's challenger is {evaluation.challenger!r}, the preset's is "
            f"{task.config.models.challenger!r}; run evaluate_recommender again"
        )
    evaluated = evaluation.champion.digest if evaluation.champion else None
    serving = champion.digest if champion else None
    if serving != evaluated and serving not in {c.digest for c in candidates.values()}:
        raise ProgramError(
            f"the champion has moved since the evaluation (evaluated against "
            f"{evaluated or 'none'!s:.12}, now {serving or 'none'!s:.12}); "
            "run evaluate_recommender again"
        )


def _withdrawn(task: Task) -> set[str]:
    """Digests of the versions whose last move took them out of service by a rollback."""
    numbers = withdrawn(task.registry.history())
    return {version.digest for version in task.registry.versions() if version.number in numbers}


def _record(task: Task, version: Version, verdict: Mapping[str, Any]) -> None:
    """Store the verdict, unless it only finds its own outcome: the reasons for that stay."""
    day = task.day.isoformat()
    if verdict["decision"] != "unchanged" or day not in version.verdicts:
        task.registry.record_verdict(version, day, verdict)
