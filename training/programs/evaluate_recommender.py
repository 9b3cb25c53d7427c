"""evaluate_recommender: the day's candidates and the champion, on the same targets.

Every entrant answers every target of the day's split from the events before it; all differences
are paired by user. The facts are what the gate decides from and what the report shows; they are
kept with the run, beside every user's values.
"""

import logging
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_store.log_lines import Progress
from feature_store.steps import run_first
from training.answering import Answerer, on_all_cores
from training.bundle import Bundle, digest_of
from training.config import Evaluation, TrainingConfig
from training.data.contexts import NO_ITEMS
from training.data.histories import SECOND, Histories
from training.data.slates import Slates
from training.data.splits import Split, Targets
from training.data.vocabulary import Vocabulary
from training.evaluation.consistency import impossible_values
from training.evaluation.metric_names import RANKING_METRICS, slate_metric_names
from training.evaluation.ranking import Judged
from training.evaluation.retrieval import (
    Meter,
    SidIndex,
    UserMetrics,
    by_slice,
    consume,
    slice_masks,
)
from training.gate import CHAMPION, PRETRAINED
from training.models.interface import Contexts, TopK, as_ranker
from training.programs.day_inputs import (
    Inputs,
    read_histories,
    read_slates,
    read_unlisted,
    split_histories,
    split_slates,
)
from training.programs.interface import Facts, ProgramError, Task
from training.programs.item_vectors import item_matrix, read_item_vectors
from training.ranking_scoreboard import ranking_scoreboard
from training.registry_records import Candidate, Version
from training.scoreboard import headline, in_words, require_answerable, scoreboard
from training.slate_scoreboard import asked_slates, slate_scoreboard

LOG = logging.getLogger(__name__)
FACTS = "evaluation.json"
"""The run's file that holds the facts."""
_ROWS = 2048
"""Targets answered at once."""
_OF_THE_GATE = ("primary_metric", "guard_metrics", "confidence", "floor")
"""Fields of `gate` that say what is measured; the others decide from it."""
_SPLIT_KEYS = ("protocol", "day", "train_until", "validation_until")


@dataclass(frozen=True)
class Measured:
    """One entrant's results; `judged` is None for one that can't rank.

    `said_SM` is what it would have shown in the place of each slate; None where none was asked for.
    """

    bundle: Bundle
    by_slice: Mapping[str, UserMetrics]
    judged: Judged | None
    said_SM: np.ndarray | None
    facts: Facts


@dataclass(frozen=True)
class Questions:
    """What all entrants are asked about.

    Attributes:
        split: its test targets are the next items that are asked for.
        feedback: events whose feedback is asked for.
        slates: slates that are asked for, with what was engaged with; None where none are known.
        vectors_VD: a vector per item, float32, [V, D]; None where they don't matter.
        unlisted: items that were withdrawn before the first target, and are no candidate.
    """

    split: Split
    feedback: Targets
    slates: Slates | None
    vectors_VD: np.ndarray | None
    unlisted: np.ndarray


def run(task: Task) -> Facts:
    """Measure all entrants; a rerun with the same bundles and rows returns the facts of the first.

    Raises:
        PresetError: the gate asks for what is not measured.
        ProgramError: a candidate or the day's histories are missing, or a candidate was trained on
            something else than what is evaluated.
        BundleError: an entrant's bundle does not verify.
    """
    require_answerable(task.config)
    inputs: Inputs = {}
    histories = read_histories(task, inputs)
    split = split_histories(histories, task.day, task.config.evaluation)
    bundles = entrants(task)
    slates = slate_questions(task, histories, inputs)
    questions = Questions(
        split,
        feedback_targets(task, histories),
        slates,
        None if slates is None else _item_vectors(task, inputs),
        _unlisted(task, split),
    )
    _require_same_ground(task, bundles, split, inputs)
    digest = evaluation_digest(task.config, bundles, inputs, questions.unlisted)
    day = task.day.isoformat()
    known = task.registry.find_run(day=day, step=task.step, inputs_digest=digest)
    # The gate reads the latest one: an older one of these settings does not count.
    if known is not None and known == task.registry.find_run(day=day, step=task.step):
        facts = task.registry.read_json(known, FACTS)
        return {**facts, "status": "unchanged", "message": "the same bundles on the same rows"}
    measured = _measure_all(task, bundles, questions)
    warnings: list[str] = []
    if CHAMPION in bundles:
        trained = bundles[CHAMPION].document("split")
        warnings += warnings_about_champion(trained, split.facts)
    facts = {
        **_scored(task.config, measured, questions),
        "primary_metric": task.config.gate.primary_metric,
        "exclude_seen": task.config.evaluation.exclude_seen,
        "items_unlisted": len(questions.unlisted),
        "split": dict(split.facts),
        "inputs": inputs,
        "warnings": warnings,
    }
    with task.registry.run(day=day, step=task.step, inputs_digest=digest) as tracked:
        facts["run_id"] = tracked.run_id
        tracked.log(headline(facts))
        tracked.log_json(FACTS, facts)
        with tempfile.TemporaryDirectory(prefix="sidereal-") as scratch:
            path = Path(scratch) / "per_user.parquet"
            pq.write_table(_per_user(measured, split), path, compression="zstd")
            tracked.log_file(path)
            if any(found.judged is not None for found in measured.values()):
                path = Path(scratch) / "feedback.parquet"
                per_target = _per_target(measured, questions.feedback)
                pq.write_table(per_target, path, compression="zstd")
                tracked.log_file(path)
    return {**facts, "message": in_words(facts, facts["primary_metric"])}


def feedback_targets(task: Task, histories: Histories) -> Targets:
    """Held-out events whose feedback is asked for: the targets of the lists, weaker ones included.

    How weak `evaluation.ranking_minimum_strength` says: ranking needs both kinds of feedback.
    """
    evaluation = task.config.evaluation
    minimum = {"target_minimum_strength": evaluation.ranking_minimum_strength}
    return split_histories(histories, task.day, evaluation.model_copy(update=minimum)).test


def slate_questions(task: Task, histories: Histories, inputs: Inputs) -> Slates | None:
    """Held-out slates that are asked for; None where none are published, or none fits.

    None, too, where each user's last events are left out: the other items of a last slate have
    taught every model that would be asked for it.
    """
    if task.config.evaluation.protocol == "leave_last_out":
        return None
    slates = read_slates(task, histories, inputs)
    if slates is None:
        return None
    test = split_slates(slates, task.day, task.config.evaluation).test
    asked = asked_slates(test, task.config)
    return asked if len(asked) else None


def _unlisted(task: Task, split: Split) -> np.ndarray:
    """Items that nobody could have been recommended when the first target was asked for."""
    times = split.test.histories.times[split.test.events]
    if not len(times):
        return NO_ITEMS
    first = datetime.fromtimestamp(int(times.min()) // SECOND, UTC).date()
    return read_unlisted(task.store, task.day, asked_on=first)


def _item_vectors(task: Task, inputs: Inputs) -> np.ndarray:
    """A vector per item, those of items without one all zeros, float32, [V, D]."""
    found = read_item_vectors(task, inputs)
    return item_matrix(found, int(found.item_indices.max()) + 1)


def _scored(
    config: TrainingConfig, measured: Mapping[str, Measured], questions: Questions
) -> Facts:
    """The scoreboard of lists, of feedback for the entrants that can rank, and of slates."""
    split, feedback = questions.split, questions.feedback
    found = {label: entrant.by_slice for label, entrant in measured.items()}
    judged = {label: e.judged for label, e in measured.items() if e.judged is not None}
    facts = scoreboard(
        config,
        found,
        {label: entrant.facts for label, entrant in measured.items()},
        also_measured=[
            *(RANKING_METRICS if config.models.challenger in judged else ()),
            *(slate_metric_names(config.evaluation.slate_cutoffs) if questions.slates else ()),
        ],
    )
    ranking, rows = ranking_scoreboard(config, judged, slice_masks(feedback, split.train))
    for label, by_name in ranking.items():
        facts["entrants"][label]["ranking"] = by_name
    facts["comparisons"] += rows
    if questions.slates is not None:
        boards, rows = slate_scoreboard(
            config,
            {label: e.said_SM for label, e in measured.items() if e.said_SM is not None},
            questions.slates,
            split.train,
            questions.vectors_VD,
            max(entrant.facts["num_items"] for entrant in measured.values()),
        )
        for label, board in boards.items():
            facts["entrants"][label]["slates"] = board
        facts["num_slates"] = len(questions.slates)
        facts["comparisons"] += rows
    return facts


def entrants(task: Task) -> dict[str, Bundle]:
    """The bundles to measure, by label: challenger, baselines, then the champion if there is one.

    An aligned challenger faces itself from before the alignment, too.

    Raises:
        ProgramError: the day has no candidate of a family.
    """
    config, day = task.config.models, task.day.isoformat()
    families = [config.challenger, *config.baselines]
    candidates = {family: task.registry.find_candidate(day, family) for family in families}
    missing = [family for family, candidate in candidates.items() if candidate is None]
    if missing:
        made = "challenger" if config.challenger in missing else "baselines"
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


def evaluation_digest(
    config: TrainingConfig, bundles: Mapping[str, Bundle], inputs: Inputs, unlisted: np.ndarray
) -> str:
    """SHA-256 of what determines the evaluation's result."""
    withdrawn = {"unlisted": unlisted.tolist()} if len(unlisted) else {}
    return digest_of(
        withdrawn
        | {
            "bundles": {label: bundle.digest for label, bundle in bundles.items()},
            "inputs": {table: found["content_hash"] for table, found in inputs.items()},
            "evaluation": config.evaluation.model_dump(),
            "gate": {name: getattr(config.gate, name) for name in _OF_THE_GATE},
            "challenger": config.models.challenger,
        }
    )


def _require_same_ground(
    task: Task, bundles: Mapping[str, Bundle], split: Split, inputs: Inputs
) -> None:
    """Refuse candidates of other rows or another split: their weights may have seen the targets."""
    if not len(split.test):
        raise ProgramError(
            f"{task.day} has no target to evaluate on: nothing happened in the last "
            f"{split.facts.get('holdout_days', 0)} days; lengthen evaluation.holdout_days"
        )
    problems = []
    for label, bundle in bundles.items():
        if label == CHAMPION:
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


def _measure_all(
    task: Task, bundles: Mapping[str, Bundle], questions: Questions
) -> dict[str, Measured]:
    challenger = bundles[task.config.models.challenger]
    shared = _sid_index(challenger)
    measured: dict[str, Measured] = {}
    by_digest: dict[str, Measured] = {}
    for label, bundle in bundles.items():
        if bundle.digest not in by_digest:
            own = shared if bundle is challenger else _sid_index(bundle)
            LOG.info("evaluating %s, %d of %d", label, len(measured) + 1, len(bundles))
            found = _measure(task, bundle, questions, own, own or shared)
            by_digest[bundle.digest] = found
        measured[label] = by_digest[bundle.digest]
    return measured


def _measure(
    task: Task,
    bundle: Bundle,
    questions: Questions,
    own: SidIndex | None,
    sids: SidIndex | None,
) -> Measured:
    evaluation, split = task.config.evaluation, questions.split
    answerer = Answerer.of(bundle, device=task.device, unlisted=questions.unlisted)
    meter = Meter(
        num_items=answerer.num_items,
        list_length=max(evaluation.cutoffs),
        sids=sids,
        needs_sids=own is not None,
    )
    started = time.perf_counter()
    consume(meter, _answers(answerer, split, evaluation), split.test, evaluation.cutoffs)
    seconds = time.perf_counter() - started
    found = by_slice(meter, split.test, cutoffs=evaluation.cutoffs, train=split.train)
    facts = {
        "family": bundle.family,
        "digest": bundle.digest,
        "day": bundle.origin.day,
        "generation": bundle.origin.generation,
        "num_items": answerer.num_items,
        "illegal_share": meter.illegal_share,
        "repeated_share": meter.repeated_share,
        "coverage": meter.coverage(),
        "contradictions": [*_contradictions(found, evaluation, meter)],
        "seconds": round(seconds, 3),
        "targets_per_second": round(len(split.test) / max(seconds, 1e-9), 1),
    }
    started = time.perf_counter()
    judged = _judged(answerer, questions.feedback, evaluation)
    if judged is not None:
        facts["ranking_seconds"] = round(time.perf_counter() - started, 3)
    started = time.perf_counter()
    said_SM = _said(answerer, questions.slates, evaluation)
    if said_SM is not None:
        facts["slate_seconds"] = round(time.perf_counter() - started, 3)
    return Measured(bundle, found, judged, said_SM, facts)


def _answers(answerer: Answerer, split: Split, evaluation: Evaluation) -> Iterator[TopK]:
    def answer(contexts: Contexts) -> TopK:
        return answerer.model.recommend(contexts, max(evaluation.cutoffs))

    progress, done = Progress(LOG, f"{answerer.bundle.family}: next items", len(split.test)), 0
    for contexts in _questions(answerer, split.test, exclude_seen=evaluation.exclude_seen):
        yield on_all_cores(answer, contexts, device=answerer.device)
        done += len(contexts)
        progress.at(done)


def _said(answerer: Answerer, slates: Slates | None, evaluation: Evaluation) -> np.ndarray | None:
    """What an entrant would have shown in the place of each slate, int32, [S, k]."""
    if slates is None:
        return None
    longest = max(evaluation.slate_cutoffs)

    def answer(contexts: Contexts) -> TopK:
        return answerer.model.recommend(contexts, longest)

    asked, said = answerer.ask(slates.histories), []
    progress = Progress(LOG, f"{answerer.bundle.family}: slates", len(slates))
    for start in range(0, len(slates), _ROWS):
        part = slice(start, start + _ROWS)
        contexts = asked.contexts(
            slates.user[part],
            slates.position[part],
            max_history=answerer.max_history,
            exclude_seen=evaluation.exclude_seen,
        )
        said.append(on_all_cores(answer, contexts, device=answerer.device).items_Bk)
        progress.at(min(start + _ROWS, len(slates)))
    return np.concatenate(said)


def _judged(answerer: Answerer, feedback: Targets, evaluation: Evaluation) -> Judged | None:
    """What an entrant says of every target's feedback; None where it can't, or there is none."""
    ranker = as_ranker(answerer.model)
    if ranker is None or not len(feedback):
        return None
    said, row, items = [], 0, feedback.items
    progress = Progress(LOG, f"{answerer.bundle.family}: feedback", len(feedback))
    for contexts in _questions(answerer, feedback, exclude_seen=False):
        said.append(ranker.rank(contexts, items[row : row + len(contexts), None])[:, 0])
        row += len(contexts)
        progress.at(row)
    strengths = feedback.histories.strengths[feedback.events]
    return Judged(
        feedback.user,
        strengths >= evaluation.positive_strength,
        np.concatenate(said).astype(np.float64),
    )


def _questions(answerer: Answerer, targets: Targets, *, exclude_seen: bool) -> Iterator[Contexts]:
    asked = answerer.ask(targets.histories)
    for start in range(0, len(targets), _ROWS):
        part = slice(start, start + _ROWS)
        yield asked.contexts(
            targets.user[part],
            targets.position[part],
            max_history=answerer.max_history,
            exclude_seen=exclude_seen,
        )


def _contradictions(
    found: Mapping[str, UserMetrics], evaluation: Evaluation, meter: Meter
) -> Iterator[str]:
    for name, metrics in found.items():
        for reading in meter.readings if len(metrics.users) else ():
            for problem in impossible_values(
                metrics.means(),
                cutoffs=evaluation.cutoffs,
                list_length=meter.list_length,
                reading=reading,
            ):
                yield f"{name}: {problem}"


def _sid_index(bundle: Bundle) -> SidIndex | None:
    rows = bundle.semantic_ids()
    if rows is None:
        return None
    vocabulary = Vocabulary.with_semantic_ids(bundle.items().num_rows, rows)
    return SidIndex.of(vocabulary.codes_VQ)


def warnings_about_champion(trained: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """What a reader of the comparison should know, from the champion's split and the day's."""
    if trained["protocol"] != "rolling" or ours["protocol"] != "rolling":
        yield "the champion's weights may have seen some targets: a split is not by time"
    elif trained["train_until"] > ours["validation_until"]:
        yield (
            f"the champion's weights saw events until {trained['train_until']}, the targets begin "
            f"{ours['validation_until']}: the comparison favours the champion"
        )


def _per_user(measured: Mapping[str, Measured], split: Split) -> pa.Table:
    """One row per entrant, slice and user: number of targets and the mean of every metric."""
    parts = []
    for label, found in measured.items():
        for name, metrics in found.by_slice.items():
            count = len(metrics.users)
            columns: dict[str, Any] = {
                "label": pa.array([label] * count, pa.string()),
                "slice": pa.array([name] * count, pa.string()),
                "user_id": pa.array(split.test.histories.user_ids[metrics.users], pa.string()),
                "num_targets": metrics.num_targets,
            }
            columns |= dict(zip(metrics.names, metrics.values_UM.T, strict=True))
            parts.append(pa.table(columns))
    return pa.concat_tables(parts, promote_options="default")


def _per_target(measured: Mapping[str, Measured], feedback: Targets) -> pa.Table:
    """One row per entrant that can rank and target: what it said of the feedback, and the feedback.

    Probabilities are float32.
    """
    parts = []
    for label, found in measured.items():
        if found.judged is None:
            continue
        columns = {
            "label": pa.array([label] * len(feedback), pa.string()),
            "user_id": pa.array(feedback.histories.user_ids[feedback.user], pa.string()),
            "item_index": pa.array(feedback.items, pa.int32()),
            "strength": pa.array(feedback.histories.strengths[feedback.events], pa.int8()),
            "probability": pa.array(found.judged.probability_T.astype(np.float32)),
        }
        parts.append(pa.table(columns))
    return pa.concat_tables(parts)
