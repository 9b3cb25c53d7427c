"""sample_beams: what a model would have shown in the place of the day's slates.

For presets whose pseudo-exposures come from beams. The model is the champion or, where that one
reads no semantic IDs of the current generation, the day's challenger. It is told what was known
when a slate began. The next run of build_preference_lists reads the beams.
"""

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.arrow import arrow_schema
from feature_store.checks.check import prepare
from feature_store.log_lines import Progress
from feature_store.rules import RuleInputs
from feature_store.tables import CATALOG
from training.checks.publish import publish_checked
from training.data.histories import SECOND, Histories
from training.data.questions import Questions
from training.data.slates import COLUMNS, Slates
from training.models.interface import PAD, TopK
from training.programs.interface import Facts, Task
from training.programs.recommend import require_promises
from training.registry.bundle import Bundle
from training.registry.predictor import BundlePredictor
from training.settings.spec import BLEND

LOG = logging.getLogger(__name__)
_TABLE = "sampled_beams"
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def run(task: Task) -> Facts:
    """Write a beam for each of the day's slates that begins when the model's weights are over.

    Raises:
        ProgramError: the day has no histories, or the model broke a promise that no row can tell.
        TableRefused: beams break rules of the table.
        BundleError: the model's bundle does not verify.
    """
    if task.config.preference_lists.pseudo_exposures_from != "beams":
        return _nothing(
            "the preset asks for no beams (preference_lists.pseudo_exposures_from: sampled)"
        )
    store = task.store
    if not store.row_count("slates", partition=task.day):
        return _nothing(f"no slates of {task.day}")
    bundle = model_for_beams(task)
    if bundle is None:
        return _nothing(
            "neither the champion nor the day's challenger reads the current generation of "
            "semantic IDs, from weights that end before the day"
        )
    prepare()
    predictor = BundlePredictor.of(bundle, device=task.device, unlisted=task.tables.unlisted())
    if "lists" not in predictor.answers:
        return _nothing(f"{bundle.family} ranks and does not recommend")
    stage = store.stage(_TABLE, day=task.day, job=task.step)
    histories = task.tables.histories()
    until = weights_until(bundle)
    slates, counts = _contexts(task, histories, until)
    inputs = {name: store.snapshot_id(name) for name in ("slates", "user_sequences", "items")}
    try:
        stage.write(_batches(task, predictor, slates, until))
        published = publish_checked(
            task,
            stage,
            RuleInputs(
                day=task.day,
                config=task.config.validation,
                num_items=store.row_count("items"),
            ),
            replace=[task.day],
            inputs={**inputs, "bundle": bundle.digest},
        )
    except BaseException:
        store.discard(stage)
        raise
    return {
        **published,
        "inputs": inputs,
        "model_family": bundle.family,
        "bundle_digest": bundle.digest,
        "generation": bundle.origin.generation,
        "weights_until": until.isoformat(),
        **counts,
        "message": f"{published['rows']:,} beams of {bundle.family} of {bundle.origin.day}",
    }


def _nothing(why: str) -> Facts:
    return {"status": "unchanged", "message": f"no beams: {why}"}


def model_for_beams(task: Task) -> Bundle | None:
    """The champion, or the day's challenger, if one of them may be asked about the day's slates.

    It has to read the current generation of semantic IDs, with weights that end before the day: a
    champion of a later day, met when a day is run again, knows too much.
    """
    day = task.day.isoformat()
    current = task.registry.find_tokenizer(until=day)
    if current is None:
        return None
    for holder in (
        task.registry.champion(),
        task.registry.find_candidate(day, task.config.models.challenger),
    ):
        if holder is None or holder.family == BLEND:
            continue
        bundle = task.registry.fetch(holder)
        if bundle.origin.generation != current.generation:
            LOG.info(
                "%s of %s reads semantic IDs of %s, and not of %s: it is not asked",
                *(bundle.family, bundle.origin.day, bundle.origin.generation, current.generation),
            )
        elif bundle.document("split").get("protocol") == "rolling" and bundle.origin.day <= day:
            return bundle
    return None


def weights_until(bundle: Bundle) -> datetime:
    """The first instant of which neither weights nor what chose them know, of a rolling fit."""
    day = date.fromisoformat(bundle.document("split")["validation_until"])
    return datetime.combine(day, time(), UTC)


def _contexts(task: Task, histories: Histories, until: datetime) -> tuple[Slates, dict[str, int]]:
    """The day's slates that a beam may stand in the place of, and how many there are not."""
    rows = task.store.read("slates", partition=task.day, columns=list(COLUMNS))
    has_history = pc.is_in(rows["user_id"], value_set=pa.array(histories.user_ids, pa.string()))
    slates = Slates.from_arrow(rows.filter(has_history), histories)
    is_after = slates.started_at >= (until - _EPOCH) // _MICROSECOND
    return slates.where(is_after), {
        "slates_of_users_without_history": int(rows.num_rows - len(slates)),
        "slates_that_weights_may_know_of": int((~is_after).sum()),
    }


def _batches(
    task: Task, predictor: BundlePredictor, slates: Slates, until: datetime
) -> Iterator[pa.RecordBatch]:
    """Rows of the table, some thousand slates at a time."""
    count = len(slates)
    questions = Questions(
        slates.user, slates.position, slates.started_at // SECOND, np.arange(count)
    )
    progress, done = Progress(LOG, "sample_beams: slates", count), 0
    exclude_seen = task.config.evaluation.exclude_seen
    for queries in predictor.queries(slates.histories, questions, exclude_seen=exclude_seen):
        top = predictor.recommend(queries, task.config.preference_lists.beam_items)
        require_promises(top, predictor.num_items, unlisted=predictor.unlisted)
        some = slates.where(np.arange(done, done + len(queries)))
        done += len(queries)
        progress.at(done)
        yield _rows(task, predictor, some, top, until)


def _rows(
    task: Task, predictor: BundlePredictor, slates: Slates, top: TopK, until: datetime
) -> pa.RecordBatch:
    """Rows of some slates; one for which the model has no item is left out."""
    filled_Bk = top.items_Bk != PAD
    count = len(slates)
    offsets = pa.array(np.concatenate([[0], filled_Bk.sum(axis=1).cumsum()]), pa.int32())
    items = pa.array(top.items_Bk[filled_Bk], pa.int32())
    origin = predictor.bundle.origin
    columns = {
        "day": pa.array([task.day] * count, pa.date32()),
        "slate_id": pa.array(slates.ids, pa.string()),
        "user_id": pa.array(slates.histories.user_ids[slates.user], pa.string()),
        "context_until": pa.array(slates.started_at, pa.timestamp("us", "UTC")),
        "item_indices": pa.ListArray.from_arrays(offsets, items),
        "scores": pa.ListArray.from_arrays(offsets, pa.array(top.scores_Bk[filled_Bk])),
        "model_family": pa.array([origin.family] * count, pa.string()),
        "bundle_digest": pa.array([predictor.bundle.digest] * count, pa.string()),
        "generation": pa.array([origin.generation] * count, pa.string()),
        "weights_until": pa.array([until] * count, pa.timestamp("us", "UTC")),
    }
    schema = arrow_schema(CATALOG[_TABLE])
    table = pa.table(columns).select(schema.names).cast(schema)
    return table.combine_chunks().to_batches()[0].filter(pa.array(filled_Bk.any(axis=1)))
