"""Who is the reference of a day: the best champion of the last weeks, measured like the others.

The champion alone is no measure of a chain: each of its members may be a little worse than the one
before it. The reference's bundle is kept by the registry, and is asked today's questions.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from training.evaluation.record import CHAMPION, Evaluation
from training.evaluation.standing import FIRST, judge_of
from training.programs.interface import Task
from training.registry.bundle import Bundle, BundleError
from training.registry.predictor import BundlePredictor
from training.registry.records import RegistryError, Version, served, withdrawn


def reference(task: Task, bundles: Mapping[str, Bundle]) -> tuple[Bundle | None, list[str]]:
    """The bundle of the reference, and what a reader should know of others that were better.

    Args:
        task: the day.
        bundles: the other entrants, by label.
    Returns:
        None where the champion is the reference itself, or the gate does not ask for one.
    """
    gate = task.config.gate
    if CHAMPION not in bundles or gate.reference_budget is None:
        return None, []
    told: list[str] = []
    for version in by_standing(_served(task, bundles), gate.primary_metric):
        if version.digest == bundles[CHAMPION].digest:
            break
        try:
            return _answering(task, version, bundles), told
        except (RegistryError, BundleError) as error:
            told.append(
                f"version {version.number} ({version.family} of {version.day}) can't be the "
                f"reference any more, so the best of the others is: {error}"
            )
    return None, told


def by_standing(versions: Iterable[Version], metric: str) -> list[Version]:
    """The best first; of equals the one that stood first."""
    return sorted(versions, key=lambda version: -level_of(version, metric))


def level_of(version: Version, metric: str) -> float:
    """A version's standing by a metric, as its last verdict has it."""
    for _, verdict in sorted(version.verdicts.items(), reverse=True):
        found = verdict.get("standing", {})
        if (found.get("digest"), found.get("metric")) == (version.digest, metric):
            return float(found["level"])
    return FIRST


def judge_level(task: Task, evaluation: Evaluation) -> float:
    """Standing of whom the day's entrants are judged against."""
    judge = judge_of(evaluation)
    digest = evaluation.entrants[judge].digest if judge else ""
    found = (version for version in task.registry.versions() if version.digest == digest)
    return next((level_of(version, evaluation.primary_metric) for version in found), FIRST)


def _served(task: Task, bundles: Mapping[str, Bundle]) -> list[Version]:
    """Versions that served in the gate's weeks, oldest first; none of the day, none withdrawn."""
    history = task.registry.history()
    since = task.day - timedelta(weeks=task.config.gate.reference_weeks)
    numbers = served(history, since.isoformat(), task.day.isoformat())
    today = {bundle.digest for label, bundle in bundles.items() if label != CHAMPION}
    versions = {version.number: version for version in task.registry.versions()}
    rolled_back = withdrawn(history)
    return [
        versions[number]
        for number in numbers
        if number not in rolled_back and versions[number].digest not in today
    ]


def _answering(task: Task, version: Version, bundles: Mapping[str, Bundle]) -> Bundle:
    """The version's bundle, if this code can ask it about the challenger's catalogue.

    Raises:
        RegistryError: the bundle is gone, or numbers the items in another way.
        BundleError: it does not verify, or this code can't load it.
    """
    bundle = task.registry.fetch(version)
    BundlePredictor.of(bundle, device=task.device)
    theirs = bundle.items()["item_id"]
    if not bundles[task.config.models.challenger].items()["item_id"][: len(theirs)].equals(theirs):
        raise RegistryError("its items are numbered in another way than today's")
    return bundle
