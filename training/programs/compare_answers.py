"""compare_answers: the day's table, the service and the evaluation say the same of the same people.

Three ways lead to a list. `recommend` reads people by the thousand from a table, the service a few
at a time from the histories that it holds, and an evaluation asks its own questions. Some people of
the day are asked about in all three; what they are not told alike fails the day.

S people, k places.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.content_hash import row_hashes
from feature_store.store import FeatureStore
from training import inference
from training.data.histories import COLUMNS, Histories
from training.data.queries import query_times
from training.data.questions import Questions
from training.models.interface import PAD, TopK
from training.programs.errors import ProgramError
from training.programs.interface import Facts, Task
from training.registry.bundle import Bundle
from training.registry.predictor import BundlePredictor
from training.registry.records import Version
from training.service.batches import Batches, Limits
from training.service.messages import Recommendation, RecommendRequest
from training.service.served import Served
from training.service.stored import StoredHistories, end_of

NUM_USERS = 64
"""S: people who are asked about, those of the day with the smallest hashes of day and id."""
TOLERANCE = 1e-5
"""Of a score; of scores beyond 1, and of both sides of a difference, a share of the larger."""
_TABLE, _SEQUENCES = "recommendations", "user_sequences"
_SHOWN = 3
"""People whose disagreement is told."""


@dataclass(frozen=True)
class Lists:
    """What one of them says of S people.

    Attributes:
        says: who says it, for a person.
        items_S: ids of each list, best first, object, [k or fewer].
        scores_S: the scores beside them, float64.
    """

    says: str
    items_S: Sequence[np.ndarray]
    scores_S: Sequence[np.ndarray]

    def at(self, user: int, place: int) -> str:
        """What it says of a person at a place, in words."""
        items = self.items_S[user]
        if place >= len(items):
            return f"{self.says} nothing"
        return f"{self.says} {items[place]} ({self.scores_S[user][place]:.8g})"


def run(task: Task) -> Facts:
    """Compare lists place by place; does nothing before there is a champion.

    Raises:
        ProgramError: they differ, or the table is of another version than the champion.
        BundleError: the champion's bundle does not verify.
    """
    champion = task.registry.champion()
    if champion is None:
        return {"status": "unchanged", "message": "no champion yet, so nothing is compared"}
    rows = None if task.store.snapshot_id(_TABLE) is None else sample(task.store, task)
    if rows is None or not rows.num_rows:
        message = f"{_TABLE} has nobody of {task.day}, so nothing is compared"
        return {"status": "unchanged", "message": message}
    _require_of(champion, rows, task)
    user_ids = rows["user_id"].to_pylist()
    histories = _histories(task.store, task, rows["user_id"])
    bundle = task.registry.fetch(champion)
    unlisted = task.tables.unlisted()
    stored = StoredHistories(task.day, histories, unlisted)
    said = (
        _of_table(rows),
        _of_service(task, champion, bundle, stored, user_ids),
        _of_evaluation(task, bundle, histories, unlisted),
    )
    facts = compare(said, user_ids, because=f"{champion.family} version {champion.number}")
    return {
        **facts,
        "model_version": champion.number,
        "model_family": champion.family,
        "bundle_digest": champion.digest,
        "inputs": {name: task.store.snapshot_id(name) for name in (_TABLE, _SEQUENCES, "items")},
        "message": f"table, service and evaluation agree: {facts['users']} people, "
        f"{facts['places']:,} places, largest difference {facts['largest_difference']:.1e}",
    }


def sample(store: FeatureStore, task: Task) -> pa.Table:
    """The rows of at most S people of the day, ascending by id.

    Who they are follows from the day and the ids alone; of the others nothing but ids is read.
    """
    chosen, hashes = pa.array([], pa.string()), np.empty(0, dtype=np.uint64)
    for batch in store.scan(_TABLE, partition=task.day, columns=["day", "user_id"]):
        ids = pa.concat_arrays([chosen, batch["user_id"].cast(pa.string())])
        hashes = np.concatenate([hashes, row_hashes(batch)])
        least = np.argsort(hashes, kind="stable")[:NUM_USERS]
        chosen, hashes = ids.take(pa.array(least)), hashes[least]
    return _of_users(store, task, _TABLE, None, chosen).sort_by("user_id")


def compare(said: Sequence[Lists], user_ids: Sequence[str], *, because: str) -> Facts:
    """What was compared, where all say the same.

    At each place scores differ by `TOLERANCE` at most. Items may differ where scores don't tell
    them apart: whoever has one of them elsewhere, or leaves it out at the end of its list, gives
    that place the same score.

    Args:
        said: by each of them, of the same people.
        user_ids: of these people.
        because: which model it is, for a person.
    Raises:
        ProgramError: they don't; says whose, which place, and what each says there.
    """
    differing: dict[int, int] = {}
    largest, tied = 0.0, 0
    for one, other in combinations(said, 2):
        for user in range(len(user_ids)):
            wrong_k, difference_k = _differences(one, other, user)
            if wrong_k.any():
                place = int(wrong_k.argmax())
                differing[user] = min(place, differing.get(user, place))
            else:
                largest = max(largest, float(difference_k.max(initial=0)))
                tied += int((one.items_S[user] != other.items_S[user]).sum())
    if differing:
        shown = [
            f"user {user_ids[user]!r} at place {place + 1}: "
            + ", ".join(each.at(user, place) for each in said)
            for user, place in sorted(differing.items())[:_SHOWN]
        ]
        more = f"; and {len(differing) - _SHOWN:,} more" if len(differing) > _SHOWN else ""
        raise ProgramError(
            f"{because} is not heard alike about {len(differing):,} of {len(user_ids):,} people"
            f" (scores within {TOLERANCE:g}): {'; '.join(shown)}{more}. Serve neither before it is"
            " known why; docs/operations.md says where to look"
        )
    return {
        "users": len(user_ids),
        "places": sum(map(len, said[0].items_S)),
        "tied_places": tied,
        "largest_difference": largest,
        "tolerance": TOLERANCE,
    }


def _differences(one: Lists, other: Lists, user: int) -> tuple[np.ndarray, np.ndarray]:
    """Where two lists of a person disagree, bool, and by how much scores differ, each [k]."""
    sizes = len(one.items_S[user]), len(other.items_S[user])
    if sizes[0] != sizes[1]:  # the first place that one of them hasn't
        wrong_k = np.arange(max(sizes)) == min(sizes)
        return wrong_k, np.zeros(max(sizes))
    difference_k = _difference(one.scores_S[user], other.scores_S[user])
    wrong_k = ~(difference_k <= TOLERANCE)  # NaN is no agreement
    wrong_k |= _misplaced(one, other, user) | _misplaced(other, one, user)
    return wrong_k, difference_k


def _misplaced(one: Lists, other: Lists, user: int) -> np.ndarray:
    """Items of one's list that the other has at a place of another score, bool, [k]."""
    items_k, scores_k = one.items_S[user], other.scores_S[user]
    places = {item: place for place, item in enumerate(other.items_S[user])}
    # An item that the other hasn't would follow its last one.
    place_k = np.asarray([places.get(item, len(scores_k) - 1) for item in items_k], dtype=np.int64)
    misplaced_k: np.ndarray = ~(_difference(one.scores_S[user], scores_k[place_k]) <= TOLERANCE)
    return misplaced_k


def _difference(one_k: np.ndarray, other_k: np.ndarray) -> np.ndarray:
    """Of scores, as a share of the larger where that is beyond 1."""
    size_k = np.maximum(1.0, np.maximum(np.abs(one_k), np.abs(other_k)))
    difference_k: np.ndarray = np.abs(one_k - other_k) / size_k
    return difference_k


def _require_of(champion: Version, rows: pa.Table, task: Task) -> None:
    """Refuse rows that another version wrote.

    Raises:
        ProgramError: the champion has moved since.
    """
    others = set(pc.unique(rows["bundle_digest"]).to_pylist()) - {champion.digest}
    if others:
        number = rows["model_version"][0].as_py()
        raise ProgramError(
            f"{_TABLE} of {task.day} were written by version {number} (bundle"
            f" {min(others):.12}), the champion is version {champion.number}"
            f" ({champion.digest:.12}); run recommend for that day again"
        )


def _histories(store: FeatureStore, task: Task, user_ids: pa.ChunkedArray) -> Histories:
    """Histories of these people.

    Raises:
        ProgramError: somebody has none.
    """
    rows = _of_users(store, task, _SEQUENCES, list(COLUMNS), user_ids.combine_chunks())
    without = sorted({*user_ids.to_pylist()} - {*rows["user_id"].to_pylist()})
    if without:
        raise ProgramError(
            f"{_TABLE} of {task.day} has user {without[0]!r} and {len(without) - 1:,} more without"
            f" a history in {_SEQUENCES}; run build_user_sequences and recommend for that day again"
        )
    return Histories.from_arrow(rows)


def _of_users(
    store: FeatureStore, task: Task, table: str, columns: list[str] | None, user_ids: pa.Array
) -> pa.Table:
    """Rows of some people, a batch at a time in memory."""
    reader = store.scan(table, partition=task.day, columns=columns)
    of_users = [
        batch.filter(pc.is_in(batch["user_id"], user_ids.cast(batch["user_id"].type)))
        for batch in reader
    ]
    return pa.Table.from_batches(of_users, reader.schema)


def _of_table(rows: pa.Table) -> Lists:
    return Lists(
        _TABLE,
        [np.asarray(each, dtype=object) for each in rows["item_ids"].to_pylist()],
        [np.asarray(each, dtype=np.float64) for each in rows["scores"].to_pylist()],
    )


def _of_service(
    task: Task,
    champion: Version,
    bundle: Bundle,
    stored: StoredHistories,
    user_ids: Sequence[str],
) -> Lists:
    """What `sidereal serve` answers, but for its socket: loaded, stored and batched as there."""
    served = Served.load(champion, bundle, task.config, device=task.device).having(stored, ())
    wanted = task.config.recommendations

    def answers(key: Any, requests: Sequence[RecommendRequest]) -> Sequence[Any]:
        return served.recommend(requests, *key)

    async def ask() -> list[Recommendation]:
        batches = Batches(answers, Limits(most_waiting=NUM_USERS), lambda rows, seconds: None)
        batches.start()
        key = (wanted.num_items, wanted.exclude_seen)
        asked = [batches.ask(key, RecommendRequest(user_id=user)) for user in user_ids]
        try:
            return list(await asyncio.gather(*asked))
        finally:
            await asyncio.to_thread(batches.stop)

    said = asyncio.run(ask())
    return Lists(
        "the service",
        [np.asarray(each.item_ids, dtype=object) for each in said],
        [np.asarray(each.scores, dtype=np.float64) for each in said],
    )


def _of_evaluation(task: Task, bundle: Bundle, histories: Histories, unlisted: np.ndarray) -> Lists:
    """What the boards would be answered, were the midnight's lists among their questions."""
    predictor = BundlePredictor.of(bundle, device=task.device, unlisted=unlisted)
    wanted, people = task.config.recommendations, np.arange(histories.num_users)
    if task.config.evaluation.moment == "event":
        asked_at_G = query_times(histories, people, histories.lengths)
    else:
        asked_at_G = np.full(len(people), end_of(task.day), dtype=np.int64)
    questions = Questions(people, histories.lengths, asked_at_G, people)
    parts = [TopK.empty(wanted.num_items)]
    for queries in predictor.queries(histories, questions, exclude_seen=wanted.exclude_seen):
        if wanted.ranked_candidates and "feedback" in predictor.answers:
            how = wanted.num_items, wanted.ranked_candidates
            parts.append(inference.recommend_ranked(predictor.model, queries, *how))
        else:
            parts.append(predictor.recommend(queries, wanted.num_items))
    top = TopK.concatenate(parts)
    ids = np.asarray(predictor.item_ids.to_pylist(), dtype=object)
    filled_Sk = top.items_Bk != PAD
    return Lists(
        "the evaluation",
        [ids[row[use]] for row, use in zip(top.items_Bk, filled_Sk, strict=True)],
        [row[use].astype(np.float64) for row, use in zip(top.scores_Bk, filled_Sk, strict=True)],
    )
