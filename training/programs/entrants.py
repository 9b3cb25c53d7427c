"""Who is measured on a day: its candidates, what the challenger was before, and the champion."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from feature_store.steps import run_first
from training.data.splits import Split
from training.evaluation.record import CHAMPION, PRETRAINED, REFERENCE, BoardRow, Entrant
from training.programs.day_inputs import Inputs
from training.programs.errors import ProgramError
from training.programs.interface import Task
from training.registry.bundle import Bundle
from training.registry.records import Candidate, Version
from training.settings.spec import BLEND

_SPLIT_KEYS = ("protocol", "day", "train_until", "validation_until")


def entrants(task: Task) -> dict[str, Bundle]:
    """The bundles to measure, by label: challenger, baselines, then the champion if there is one.

    An aligned challenger faces itself from before the alignment, too.

    Raises:
        ProgramError: the day has no candidate of a family.
    """
    config, day = task.config.models, task.day.isoformat()
    families = [config.challenger, *config.rivals]
    candidates = {family: task.registry.find_candidate(day, family) for family in families}
    missing = [family for family, candidate in candidates.items() if candidate is None]
    if missing:
        made = "challenger" if config.challenger in missing else "baselines"
        made = BLEND if missing == [BLEND] else made
        named = ", ".join(missing)
        raise ProgramError(f"no candidate of {named} for {day}; {run_first(made)}")
    bundles = {f: task.registry.fetch(found) for f, found in candidates.items() if found}
    trained = pretrained(task, candidates[config.challenger])
    if trained is not None:
        bundles[PRETRAINED] = task.registry.fetch(trained)
    champion = _champion_before(task, {bundle.digest for bundle in bundles.values()})
    if champion is not None:
        bundles[CHAMPION] = task.registry.fetch(champion)
    return bundles


def _champion_before(task: Task, candidates: Collection[str]) -> Version | None:
    """The champion that the day's candidates, given by digest, challenge.

    Where one of them was promoted already it is the one before: a day that is run again asks the
    same question, and not how a model compares with itself.
    """
    champion = task.registry.champion()
    if champion is None or champion.digest not in candidates:
        return champion
    came = [move for move in task.registry.history() if move.to_version == champion.number]
    if not came or came[-1].kind != "promote" or came[-1].day != task.day.isoformat():
        return champion
    before = came[-1].from_version
    return None if before is None else task.registry.version(before)


def pretrained(task: Task, candidate: Candidate | None) -> Candidate | None:
    """What an aligned candidate was before its alignment; None for one that isn't aligned."""
    if candidate is None:
        return None
    day, family = task.day.isoformat(), candidate.family
    aligned = task.registry.find_candidate(day, family, is_aligned=True)
    if aligned is None or aligned.run_id != candidate.run_id:
        return None
    return task.registry.find_candidate(day, family, is_aligned=False)


def require_same_ground(
    task: Task, bundles: Mapping[str, Bundle], split: Split, inputs: Inputs
) -> None:
    """Refuse candidates of other rows or another split: their weights may have seen the targets.

    Raises:
        ProgramError: there is no target, or a candidate was trained on something else.
    """
    if not len(split.test):
        raise ProgramError(
            f"{task.day} has no target to evaluate on: nothing happened in the last "
            f"{split.facts.get('holdout_days', 0)} days; lengthen evaluation.holdout_days"
        )
    problems = []
    for label, bundle in bundles.items():
        if label in (CHAMPION, REFERENCE):
            continue
        trained = bundle.document("split")
        differing = [key for key in _SPLIT_KEYS if trained.get(key) != split.facts.get(key)]
        if differing:
            problems.append(f"{label} was trained under another split ({', '.join(differing)})")
        for table, found in inputs.items():
            read = bundle.origin.inputs.get(table, {}).get("content_hash")
            # Not every family learns from every table that is asked about.
            if read != found["content_hash"] and (read or table == "user_sequences"):
                problems.append(f"{label} was trained on other rows of {table!r}")
    if problems:
        raise ProgramError("; ".join(problems) + f"; train for {task.day} again")


def row_of(bundle: Bundle, boards: Mapping[str, BoardRow]) -> Entrant:
    """What the record says of a bundle."""
    return Entrant(
        family=bundle.family,
        digest=bundle.digest,
        day=bundle.origin.day,
        generation=bundle.origin.generation,
        num_items=bundle.items().num_rows,
        boards=boards,
    )


def warnings_about_champion(
    trained: Mapping[str, Any] | None, ours: Mapping[str, Any]
) -> Iterator[str]:
    """What a reader of the comparison should know, from the champion's split and the day's."""
    if trained is None:
        return
    if trained["protocol"] != "rolling" or ours["protocol"] != "rolling":
        yield "the champion's weights may have seen some targets: a split is not by time"
    elif trained["train_until"] > ours["validation_until"]:
        yield (
            f"the champion's weights saw events until {trained['train_until']}, the targets begin "
            f"{ours['validation_until']}: the comparison favours the champion"
        )
