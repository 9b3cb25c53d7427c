"""recommend: the champion continues every user's history into the table `recommendations`.

Histories are read, answered and staged batch by batch, so memory is bounded whatever the number of
users; the day's partition is replaced in one commit. What is answered is kept until then: a step
that was killed asks the rest (`kept_answers`).
"""

import hashlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.arrow import arrow_schema
from feature_store.checks.check import prepare
from feature_store.errors import TableRefused
from feature_store.log_lines import Progress
from feature_store.rules import RuleInputs
from feature_store.steps import run_first
from feature_store.tables import CATALOG
from training.checks.publish import publish_checked
from training.data.histories import COLUMNS, Histories
from training.data.queries import NO_ITEMS
from training.evaluation.metrics import FEEDBACK, metric_of
from training.models.interface import PAD, TopK
from training.programs.errors import ProgramError
from training.programs.interface import Facts, Task
from training.programs.kept_answers import KeptAnswers
from training.programs.training_data import checkpoints_of
from training.registry.predictor import BundlePredictor
from training.registry.records import Version

LOG = logging.getLogger(__name__)
_TABLE = "recommendations"
_USERS = 4096
"""Users answered at once, whose answers are one file until all are published."""


def run(task: Task) -> Facts:
    """Write the day's recommendations with the champion of now; none before there is one.

    Raises:
        ProgramError: the day has no histories, the champion does not recommend, or the model broke
            a promise that no row can tell: an item outside its catalogue or no longer listed, an
            item after an empty place.
        TableRefused: lists break rules of the table: an item twice, scores that rise.
        BundleError: the champion's bundle does not verify.
    """
    champion = task.registry.champion()
    if champion is None:
        # The gate may refuse the first challenger, too: that is an outcome, which the report tells.
        return {"status": "unchanged", "message": "no champion yet, so nothing is recommended"}
    source, store = "user_sequences", task.store
    if not store.row_count(source, partition=task.day):
        raise ProgramError(f"{source!r} has no rows for {task.day}; {run_first(source)}")
    unlisted = task.tables.unlisted()
    bundle = task.registry.fetch(champion)
    prepare()
    predictor = BundlePredictor.of(bundle, device=task.device, unlisted=unlisted)
    if "lists" not in predictor.answers:
        if metric_of(task.config.gate.primary_metric).board == FEEDBACK:
            return {"status": "unchanged", "message": _lists_nothing(champion)}
        raise ProgramError(
            f"the champion, {champion.family} version {champion.number}, ranks and does not"
            " recommend; `sidereal models promote` a version that does"
        )
    kept = KeptAnswers(
        checkpoints_of(task, task.step),
        _determining(task, predictor, champion),
        arrow_schema(CATALOG[_TABLE]),
    )
    stage = store.stage(_TABLE, day=task.day, job=task.step)
    counts = {"users": 0, "users_answered_before": 0, "users_left_out": 0, "places_empty": 0}
    try:
        stage.write(_batches(task, predictor, champion, kept, counts))
        # A champion of a later day may know items of later days: the newest catalogue counts.
        published = publish_checked(
            task,
            stage,
            RuleInputs(
                day=task.day,
                config=task.config.validation,
                num_items=store.row_count("items"),
            ),
            replace=[task.day],
            inputs={
                source: store.snapshot_id(source),
                "items": store.snapshot_id("items"),
                "bundle": f"models:/{task.config.name}/{champion.number}#{champion.digest}",
            },
        )
    except BaseException as error:
        store.discard(stage)
        if isinstance(error, TableRefused):
            kept.remove()
        raise
    kept.remove()
    return {
        **published,
        "inputs": {source: store.snapshot_id(source), "items": store.snapshot_id("items")},
        "items_unlisted": len(predictor.unlisted),
        "model_version": champion.number,
        "model_family": champion.family,
        "bundle_digest": champion.digest,
        "is_ranked": bool(task.config.recommendations.ranked_candidates)
        and "feedback" in predictor.answers,
        **counts,
        "message": _told(published["rows"], champion, counts["users_answered_before"]),
    }


def _lists_nothing(champion: Version) -> str:
    """Of a preset whose gate asks for feedback: there are no lists to write."""
    return (
        f"no lists: the champion, {champion.family} version {champion.number}, ranks alone; ask it"
        " by `sidereal serve`, or blend it with a family that recommends (models.blend)"
    )


def _told(rows: int, champion: Version, answered_before: int) -> str:
    told = f"{rows:,} users, {champion.family} version {champion.number}"
    if answered_before:
        told += f"; a run that was stopped had answered {answered_before:,} of them"
    return told


def _determining(task: Task, predictor: BundlePredictor, champion: Version) -> Facts:
    """All that decides an answer besides the history."""
    return {
        "bundle": champion.digest,
        "version": champion.number,
        "day": task.day.isoformat(),
        "moment": task.config.evaluation.moment,
        "recommendations": task.config.recommendations.model_dump(),
        "unlisted": hashlib.sha256(predictor.unlisted.tobytes()).hexdigest(),
        # Another code may answer otherwise, and another device rounds otherwise.
        "code_revision": task.settings.resolved_code_revision,
        "device": task.device,
    }


def _batches(
    task: Task,
    predictor: BundlePredictor,
    champion: Version,
    kept: KeptAnswers,
    counts: dict[str, int],
) -> Iterator[pa.RecordBatch]:
    """Rows of the table, some thousand users at a time."""
    total = task.store.row_count("user_sequences", partition=task.day)
    progress = Progress(LOG, "recommend: users", total)
    reader = task.store.scan("user_sequences", partition=task.day, columns=list(COLUMNS))
    for batch in reader:
        for start in range(0, batch.num_rows, _USERS):
            rows = _active(batch.slice(start, _USERS), task)
            counts["users_left_out"] += min(_USERS, batch.num_rows - start) - rows.num_rows
            if not rows.num_rows:
                continue
            answer = kept.of(rows)
            was_kept = answer is not None
            if answer is None:
                answer = _answer(task, predictor, champion, rows)
                kept.keep(rows, answer)
            counts["users"] += rows.num_rows
            counts["users_answered_before"] += rows.num_rows if was_kept else 0
            counts["places_empty"] += _places_empty(answer, task)
            done = counts["users"] + counts["users_left_out"]
            if was_kept:
                progress.begin_at(done)
            progress.at(done)
            yield answer


def _answer(
    task: Task, predictor: BundlePredictor, champion: Version, rows: pa.RecordBatch
) -> pa.RecordBatch:
    """The table's rows of these histories."""
    wanted = task.config.recommendations
    histories = Histories.from_arrow([rows])
    top = predictor.next_items(
        histories,
        wanted.num_items,
        exclude_seen=wanted.exclude_seen,
        ranked_candidates=wanted.ranked_candidates,
        asked_at=_asked_at(task),
    )
    require_promises(top, predictor.num_items, unlisted=predictor.unlisted)
    return _rows(task, predictor, champion, histories, top)


def _places_empty(answer: pa.RecordBatch, task: Task) -> int:
    places = answer.num_rows * task.config.recommendations.num_items
    return int(places - len(answer["item_indices"].flatten()))


def _end_of(task: Task) -> datetime:
    """The midnight that ends the task's day, UTC."""
    return datetime.combine(task.day, time(), UTC) + timedelta(days=1)


def _asked_at(task: Task) -> int | None:
    """When the lists are asked for, as they were where the champion was judged."""
    if task.config.evaluation.moment == "event":
        return None
    return int(_end_of(task).timestamp())


def _active(rows: pa.RecordBatch, task: Task) -> pa.RecordBatch:
    """Users with an event in the last `active_days`; all of them where the preset says null."""
    days = task.config.recommendations.active_days
    if days is None:
        return rows
    end = _end_of(task)
    times = rows["event_times"]
    last = times.values.take(pc.subtract(times.offsets[1:], 1))  # no list is empty, by contract
    return rows.filter(pc.greater_equal(last, pa.scalar(end - timedelta(days=days), last.type)))


def require_promises(top: TopK, num_items: int, *, unlisted: np.ndarray = NO_ITEMS) -> None:
    """Refuse lists that break what models promise and the table's rules can't say.

    Raises:
        ProgramError: an item outside the catalogue, or one that it no longer lists, or an item
            after an empty place; says how many lists and shows the first.
    """
    items_Bk = top.items_Bk
    filled_Bk = items_Bk != PAD
    broken = {
        "items outside the catalogue": ((items_Bk < PAD) | (items_Bk >= num_items)).any(axis=1),
        "items that the catalogue no longer lists": np.isin(items_Bk, unlisted).any(axis=1),
        "an item after an empty place": (filled_Bk[:, 1:] & ~filled_Bk[:, :-1]).any(axis=1),
    }
    problems = [
        f"{rows.sum():,} lists with {what}, first {items_Bk[rows.argmax()].tolist()}"
        for what, rows in broken.items()
        if rows.any()
    ]
    if problems:
        raise ProgramError("the model broke its promises: " + "; ".join(problems))


def _rows(
    task: Task,
    predictor: BundlePredictor,
    champion: Version,
    histories: Histories,
    top: TopK,
) -> pa.RecordBatch:
    schema = arrow_schema(CATALOG[_TABLE])
    filled_Bk = top.items_Bk != PAD
    offsets = pa.array(np.concatenate([[0], filled_Bk.sum(axis=1).cumsum()]), pa.int32())
    items = pa.array(top.items_Bk[filled_Bk], pa.int32())
    count = histories.num_users
    columns = {
        "day": pa.array([task.day] * count, pa.date32()),
        "user_id": pa.array(histories.user_ids, pa.string()),
        "item_ids": pa.ListArray.from_arrays(offsets, predictor.item_ids.take(items)),
        "item_indices": pa.ListArray.from_arrays(offsets, items),
        "scores": pa.ListArray.from_arrays(offsets, pa.array(top.scores_Bk[filled_Bk])),
        "model_family": pa.array([champion.family] * count, pa.string()),
        "model_version": pa.array([str(champion.number)] * count, pa.string()),
        "bundle_digest": pa.array([champion.digest] * count, pa.string()),
        "generation": pa.array([predictor.bundle.origin.generation] * count, pa.string()),
    }
    table = pa.table(columns).select(schema.names).cast(schema)
    return table.combine_chunks().to_batches()[0]
