"""evaluate_recommender: the day's candidates and the champion, on the same targets.

Every board asks every entrant that answers it about the day's held-out data, each target from what
was known when it was asked for; all differences are paired by user. The record is what the gate
decides from and what the report shows; it is kept with the run, beside the answers.
"""

import logging
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_store.log_lines import Progress
from training.config import TrainingConfig
from training.evaluation.boards import boards_of
from training.evaluation.boards.interface import Board, Measured, Terms
from training.evaluation.bootstrap import Bootstrap
from training.evaluation.gate import require_measured
from training.evaluation.record import CHAMPION, PRETRAINED, REFERENCE, VERSION, Evaluation
from training.evaluation.scoring import Answers, score_boards, who_faces_whom
from training.programs.day_inputs import Inputs, split_histories
from training.programs.entrants import (
    entrants,
    require_same_ground,
    row_of,
    warnings_about_champion,
)
from training.programs.held_out import read_held_out, unlisted_before
from training.programs.interface import Facts, Task
from training.programs.reference import reference
from training.registry.bundle import Bundle, digest_of
from training.registry.predictor import BundlePredictor, codes_of

LOG = logging.getLogger(__name__)
FACTS = "evaluation.json"
"""The run's file that holds the record."""
_OF_THE_GATE = ("primary_metric", "guard_metrics", "confidence", "floor")
"""Fields of `gate` that say what is measured; the others decide from it."""


def run(task: Task) -> Facts:
    """Measure all entrants; a rerun with the same bundles and rows returns the facts of the first.

    Raises:
        PresetError: the gate asks for what was not measured.
        ProgramError: a candidate or the day's histories are missing, or a candidate was trained on
            something else than what is evaluated.
        BundleError: an entrant's bundle does not verify.
    """
    histories = task.tables.histories()
    split = split_histories(histories, task.day, task.config.evaluation)
    bundles = entrants(task)
    best_before, told = reference(task, bundles)
    if best_before is not None:
        bundles[REFERENCE] = best_before
    held_out = read_held_out(task, histories, split)
    unlisted = unlisted_before(task, split)
    inputs = task.tables.inputs
    require_same_ground(task, bundles, split, inputs)
    digest = evaluation_digest(task.config, bundles, inputs, unlisted)
    day = task.day.isoformat()
    known = task.registry.find_run(day=day, step=task.step, inputs_digest=digest)
    # The gate reads the latest one: an older one of these settings does not count.
    if known is not None and known == task.registry.find_run(day=day, step=task.step):
        record = Evaluation.from_json(task.registry.read_json(known, FACTS))
        message = "the same bundles on the same rows"
        return {**record.to_json(), "status": "unchanged", "message": message}
    boards = boards_of(held_out, _terms(task.config, bundles))
    answers = _ask_all(task, bundles, boards, unlisted)
    trained = bundles[CHAMPION].document("split") if CHAMPION in bundles else None
    record = replace(
        _scored(task.config, bundles, boards, answers),
        items_unlisted=len(unlisted),
        split=dict(split.facts),
        inputs=inputs,
        warnings=(*warnings_about_champion(trained, split.facts), *told),
    )
    record = _keep(task, digest, record, boards, answers)
    return {**record.to_json(), "message": record.in_words()}


def _keep(
    task: Task, digest: str, record: Evaluation, boards: list[Board], answers: Answers
) -> Evaluation:
    """The record with the run that now holds it, beside a file of answers per board."""
    with task.registry.run(
        day=task.day.isoformat(), step=task.step, inputs_digest=digest
    ) as tracked:
        record = replace(record, run_id=tracked.run_id)
        tracked.log(record.means())
        tracked.log_json(FACTS, record.to_json())
        with tempfile.TemporaryDirectory(prefix="sidereal-") as scratch:
            for board in boards:
                path = Path(scratch) / f"{board.name}.parquet"
                if (rows := _rows_of(board, answers)) is not None:
                    pq.write_table(rows, path, compression="zstd")
                    tracked.log_file(path)
    return record


def evaluation_digest(
    config: TrainingConfig, bundles: Mapping[str, Bundle], inputs: Inputs, unlisted: np.ndarray
) -> str:
    """SHA-256 of what determines the evaluation's result, and of the shape of its record."""
    withdrawn = {"unlisted": unlisted.tolist()} if len(unlisted) else {}
    return digest_of(
        withdrawn
        | {
            "record_version": VERSION,
            "bundles": {label: bundle.digest for label, bundle in bundles.items()},
            "inputs": {table: found["content_hash"] for table, found in inputs.items()},
            "evaluation": config.evaluation.model_dump(),
            "gate": {name: getattr(config.gate, name) for name in _OF_THE_GATE},
            "challenger": config.models.challenger,
        }
    )


def _terms(config: TrainingConfig, bundles: Mapping[str, Bundle]) -> Terms:
    evaluation = config.evaluation
    return Terms(
        cutoffs=evaluation.cutoffs,
        slate_cutoffs=evaluation.slate_cutoffs,
        exclude_seen=evaluation.exclude_seen,
        positive_strength=evaluation.positive_strength,
        light_user_events=evaluation.light_user_events,
        num_items=max(bundle.items().num_rows for bundle in bundles.values()),
        codes_VQ=codes_of(bundles[config.models.challenger]),
    )


def _ask_all(
    task: Task, bundles: Mapping[str, Bundle], boards: list[Board], unlisted: np.ndarray
) -> Answers:
    """What every board finds of every entrant that answers it, a bundle at a time in memory."""
    by_digest: dict[str, dict[str, Measured]] = {}
    for number, (label, bundle) in enumerate(bundles.items(), start=1):
        if bundle.digest not in by_digest:
            LOG.info("evaluating %s, %d of %d", label, number, len(bundles))
            predictor = BundlePredictor.of(bundle, device=task.device, unlisted=unlisted)
            able = [board for board in boards if board.question in predictor.answers]
            by_digest[bundle.digest] = {board.name: _ask(board, predictor) for board in able}
    return {label: by_digest[bundle.digest] for label, bundle in bundles.items()}


def _ask(board: Board, predictor: BundlePredictor) -> Measured:
    started = time.perf_counter()
    progress = Progress(LOG, f"{predictor.bundle.family}: {board.asks_for}", len(board))
    measured = board.measure(predictor, progress.at)
    return replace(measured, seconds=round(time.perf_counter() - started, 3))


def _scored(
    config: TrainingConfig, bundles: Mapping[str, Bundle], boards: list[Board], answers: Answers
) -> Evaluation:
    """The record of what was answered, without what is known of the day.

    Raises:
        PresetError: the gate asks for what no board measured of the challenger.
    """
    gate, models, evaluation = config.gate, config.models, config.evaluation
    of_challenger = answers[models.challenger].values()
    require_measured(gate, [name for measured in of_challenger for name in measured.names])
    rows, comparisons = score_boards(
        answers,
        [board.name for board in boards],
        who_faces_whom(models.challenger, models.rivals, gate.floor, answers.keys()),
        Bootstrap(evaluation.bootstrap_samples, evaluation.seed, gate.confidence),
        decisive={gate.primary_metric, *gate.guard_metrics},
    )
    return Evaluation(
        challenger=models.challenger,
        baselines=(*models.rivals, *({PRETRAINED} & bundles.keys())),
        primary_metric=gate.primary_metric,
        confidence=gate.confidence,
        bootstrap_samples=evaluation.bootstrap_samples,
        exclude_seen=evaluation.exclude_seen,
        entrants={label: row_of(bundle, rows[label]) for label, bundle in bundles.items()},
        comparisons=tuple(comparisons),
    )


def _rows_of(board: Board, answers: Answers) -> pa.Table | None:
    """What a board keeps of all entrants, each row with its label; None where nobody answers."""
    parts = []
    for label, found in answers.items():
        if board.name in found:
            rows = found[board.name].rows
            parts.append(rows.add_column(0, "label", pa.array([label] * rows.num_rows)))
    return pa.concat_tables(parts, promote_options="default") if parts else None
