"""A loaded version and what it answers to requests that wait together.

B requests, C candidates, k places.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from training.config import TrainingConfig
from training.data.histories import SECOND, Histories
from training.inference import require
from training.models.interface import PAD
from training.registry.bundle import Bundle, BundleError
from training.registry.predictor import BundlePredictor
from training.registry.records import Version
from training.service.messages import (
    NAMED,
    Ranking,
    RankRequest,
    Recommendation,
    RecommendRequest,
    Request,
)
from training.service.stored import Events, StoredHistories, together
from training.settings.spec import Question

UNREAD = np.iinfo(np.int32).max
"""Stands for an item that the model doesn't know, in a history: it is read over, as in a table."""
TRIED = 3
"""Items of the histories that a version is tried with before it serves."""


class UnknownUser(LookupError):
    """A user without a stored history."""


class BundleUseless(BundleError):
    """A bundle that verifies, and whose model doesn't answer as models promise."""


@dataclass(frozen=True)
class Names:
    """A bundle's items by number and by id.

    Attributes:
        ids: the source's id of each item_index, object, [V].
        numbers: the item_index of each id.
    """

    ids: np.ndarray
    numbers: Mapping[str, int]

    @classmethod
    def of(cls, item_ids: pa.Array) -> "Names":
        """The names of a vocabulary."""
        ids = np.asarray(item_ids.to_pylist(), dtype=object)
        return cls(ids, {item: number for number, item in enumerate(ids.tolist())})


@dataclass(frozen=True)
class Served:
    """A version that answers.

    Attributes:
        version: of the registry.
        predictor: its model, as the daily table asks it.
        names: of the items that the model knows.
        config: the preset's part that says how the daily table asks.
        stored: histories of users; None before there are any.
    """

    version: Version
    predictor: BundlePredictor
    names: Names
    config: TrainingConfig
    stored: StoredHistories | None = None

    @classmethod
    def load(
        cls, version: Version, bundle: Bundle, config: TrainingConfig, *, device: str
    ) -> "Served":
        """The version, once it has answered a first question.

        Raises:
            BundleError: the code doesn't have the family, or the model's first answers break
                what models promise.
        """
        predictor = BundlePredictor.of(bundle, device=device)
        served = cls(version, predictor, Names.of(predictor.item_ids), config)
        served._try()
        return served

    def having(self, stored: StoredHistories | None, withheld: Collection[str]) -> "Served":
        """The same with these histories and withheld items."""
        numbers, num_items = self.names.numbers, self.predictor.num_items
        gone = {numbers[item] for item in withheld if item in numbers}
        unlisted = np.asarray(sorted(gone), dtype=np.int32)
        if stored is not None:
            unlisted = np.union1d(unlisted, stored.unlisted[stored.unlisted < num_items])
        predictor = replace(self.predictor, unlisted=unlisted.astype(np.int32))
        return replace(self, stored=stored, predictor=predictor)

    @property
    def generation(self) -> str | None:
        """Of its semantic IDs; None where it uses none."""
        return self.predictor.bundle.origin.generation

    @property
    def answers(self) -> frozenset[Question]:
        """What it can be asked."""
        return self.predictor.answers

    def recommend(
        self, requests: Sequence[RecommendRequest], k: int, exclude_seen: bool
    ) -> list[Recommendation | UnknownUser]:
        """A list for each request, read together.

        Args:
            requests: B.
            k: places of all of them.
            exclude_seen: for all of them.
        Raises:
            Unanswerable: the model does not recommend.
        """
        require(self.predictor.model, "lists")
        ranked = self.config.recommendations.ranked_candidates
        people = [self._person(request) for request in requests]
        read = [person for person in people if isinstance(person, _Person)]
        if not read:
            return [person for person in people if isinstance(person, UnknownUser)]
        top = self.predictor.next_items(
            _histories(read),
            min(k, self.predictor.num_items),
            exclude_seen=exclude_seen,
            ranked_candidates=ranked,
            asked_at=np.asarray([person.asked_at for person in read]),
        )
        is_ranked = bool(ranked) and "feedback" in self.answers
        lists = zip(top.items_Bk, top.scores_Bk, strict=True)
        return [
            self._list(person, *next(lists), is_ranked) if isinstance(person, _Person) else person
            for person in people
        ]

    def rank(self, requests: Sequence[RankRequest]) -> list[Ranking | UnknownUser]:
        """Probabilities for each request's candidates, read together.

        Raises:
            Unanswerable: the model does not rank.
        """
        require(self.predictor.model, "feedback")
        people = [self._person(request, request.candidates) for request in requests]
        read = [person for person in people if isinstance(person, _Person)]
        if not read:
            return [person for person in people if isinstance(person, UnknownUser)]
        width = max(len(person.candidates) for person in read)
        items_BC = np.full((len(read), width), PAD, dtype=np.int32)
        for row, person in enumerate(read):
            numbers_C = [self.names.numbers.get(item, PAD) for item in person.candidates]
            items_BC[row, : len(numbers_C)] = numbers_C
        is_gone_BC = np.isin(items_BC, self.predictor.unlisted)
        items_BC[is_gone_BC] = PAD
        probability_BC = self.predictor.next_feedback(
            _histories(read),
            items_BC,
            asked_at=np.asarray([person.asked_at for person in read]),
        )
        rankings = zip(probability_BC, is_gone_BC, strict=True)
        return [
            _ranking(person, *next(rankings)) if isinstance(person, _Person) else person
            for person in people
        ]

    def _list(
        self, person: "_Person", items_k: np.ndarray, scores_k: np.ndarray, is_ranked: bool
    ) -> Recommendation:
        filled_k = items_k != PAD
        return Recommendation.model_construct(
            **person.facts,
            item_ids=self.names.ids[items_k[filled_k]].tolist(),
            scores=scores_k[filled_k].tolist(),
            is_ranked=is_ranked,
        )

    def _person(self, request: Request, candidates: Sequence[str] = ()) -> "_Person | UnknownUser":
        numbers = self.names.numbers
        unknown = [item for item in candidates if item not in numbers]
        if request.user_id is not None:
            events = None if self.stored is None else self.stored.events(request.user_id)
            if events is None or self.stored is None:
                return UnknownUser(self._nobody(request.user_id))
            asked_at = self.stored.asked_at(events, self.config.evaluation.moment)
            day = self.stored.day
        else:
            sent = request.item_ids or []
            unknown = [*(item for item in sent if item not in numbers), *unknown]
            events, day = self._sent(request, sent), None
            asked_at = int(events.times[-1]) // SECOND if len(events) else 0
        unknown = list(dict.fromkeys(unknown))
        facts = {
            "model_family": self.version.family,
            "model_version": self.version.number,
            "bundle_digest": self.version.digest,
            "generation": self.generation,
            "history_day": day,
            "num_events": len(events),
            "num_unknown_items": len(unknown),
            "unknown_items": unknown[:NAMED],
        }
        asked_at = asked_at if request.asked_at is None else request.asked_at
        return _Person(request.user_id or "", events, asked_at, candidates, facts)

    def _sent(self, request: Request, item_ids: Sequence[str]) -> Events:
        count, get = len(item_ids), self.names.numbers.get
        seconds = request.event_times or [request.asked_at or 0] * count
        return Events(
            np.asarray([get(item, UNREAD) for item in item_ids], dtype=np.int32),
            np.asarray(request.strengths or [3] * count, dtype=np.int8),
            np.asarray(seconds, dtype=np.int64) * SECOND,
        )

    def _nobody(self, user_id: str) -> str:
        if self.stored is None:
            return "there are no stored histories; send a history as item_ids"
        return (
            f"no history of user {user_id!r} on {self.stored.day}; send a history as item_ids,"
            " which may be empty"
        )

    def _try(self) -> None:
        """Ask what every request asks, so that what is made at the first answer is there."""
        some = self.names.ids[:TRIED].tolist()
        histories = [RecommendRequest(item_ids=[]), RecommendRequest(item_ids=some)]
        if "lists" in self.answers:
            k = min(self.config.recommendations.num_items, self.predictor.num_items - len(some))
            for answer in self.recommend(histories, max(1, k), True):
                assert isinstance(answer, Recommendation)
                if not answer.item_ids or not np.isfinite(answer.scores).all():
                    raise self._useless(f"its first list is {answer.item_ids[:3]}")
        if "feedback" in self.answers:
            [ranking] = self.rank([RankRequest(item_ids=[], candidates=some)])
            assert isinstance(ranking, Ranking)
            if any(value is None or not 0 <= value <= 1 for value in ranking.probabilities):
                raise self._useless(f"its first probabilities are {ranking.probabilities}")
        if not self.answers & {"lists", "feedback"}:
            raise self._useless(f"it answers {sorted(self.answers)}")

    def _useless(self, because: str) -> BundleUseless:
        return BundleUseless(
            f"version {self.version.number} ({self.version.family}) can't serve: {because}"
        )


@dataclass(frozen=True)
class _Person:
    """Who is asked about, and what an answer says of it whatever the model says."""

    user_id: str
    events: Events
    asked_at: int
    candidates: Sequence[str]
    facts: Mapping[str, Any]


def _histories(people: Sequence[_Person]) -> Histories:
    return together([person.events for person in people], [person.user_id for person in people])


def _ranking(person: _Person, probability_C: np.ndarray, is_gone_C: np.ndarray) -> Ranking:
    values = probability_C[: len(person.candidates)].tolist()
    return Ranking.model_construct(
        **person.facts,
        item_ids=list(person.candidates),
        probabilities=[None if math.isnan(value) else value for value in values],
        withheld_items=[person.candidates[number] for number in np.flatnonzero(is_gone_C).tolist()],
    )
