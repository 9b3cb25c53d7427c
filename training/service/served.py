"""A loaded version and what it answers to requests that wait together.

B requests, C candidates, k places.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from training.config import TrainingConfig
from training.data.histories import SECOND
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
PROBED = 3
"""Items of the histories that a version is tried with before it serves."""


class UnknownUser(LookupError):
    """A user without a stored history."""


class BundleUseless(BundleError):
    """A bundle that verifies, and whose model doesn't answer as models promise."""


@dataclass(frozen=True)
class Served:
    """A version that answers.

    Attributes:
        version: of the registry.
        predictor: its model, as the daily table asks it.
        config: the preset's part that says how the daily table asks.
        stored: histories of users; None before there are any.
    """

    version: Version
    predictor: BundlePredictor
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
        served = cls(version, BundlePredictor.of(bundle, device=device), config)
        served._probe()
        return served

    def having(self, stored: StoredHistories | None, withheld: frozenset[str]) -> "Served":
        """The same with these histories and withheld items."""
        numbers = [self.numbers[item] for item in withheld if item in self.numbers]
        gone = np.asarray(numbers, dtype=np.int32)
        if stored is not None:
            unlisted = stored.unlisted
            gone = np.union1d(gone, unlisted[unlisted < self.predictor.num_items])
        unlisted = np.unique(gone).astype(np.int32)
        served = replace(self, stored=stored, predictor=replace(self.predictor, unlisted=unlisted))
        served.__dict__["numbers"], served.__dict__["ids"] = self.numbers, self.ids
        return served

    @property
    def generation(self) -> str | None:
        """Of its semantic IDs; None where it uses none."""
        return self.predictor.bundle.origin.generation

    @property
    def answers(self) -> frozenset[Question]:
        """What it can be asked."""
        return self.predictor.answers

    @cached_property
    def ids(self) -> np.ndarray:
        """The source's id of each item_index, object, [V]."""
        return np.asarray(self.predictor.item_ids.to_pylist(), dtype=object)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The item_index of each id."""
        return {item: number for number, item in enumerate(self.ids.tolist())}

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
        people = [self._person(request) for request in requests]
        read = [person for person in people if isinstance(person, _Person)]
        if not read:
            return [person for person in people if not isinstance(person, _Person)]
        ranked = self.config.recommendations.ranked_candidates
        top = self.predictor.next_items(
            together([person.events for person in read]),
            min(k, self.predictor.num_items),
            exclude_seen=exclude_seen,
            ranked_candidates=ranked,
            asked_at=np.asarray([person.asked_at for person in read]),
        )
        filled_Bk = top.items_Bk != PAD
        rows = iter(zip(top.items_Bk, top.scores_Bk, filled_Bk, strict=True))
        is_ranked = bool(ranked) and "feedback" in self.answers
        answers: list[Recommendation | UnknownUser] = []
        for person in people:
            if not isinstance(person, _Person):
                answers.append(person)
                continue
            items_k, scores_k, filled_k = next(rows)
            answers.append(
                Recommendation.model_construct(
                    **person.facts,
                    item_ids=self.ids[items_k[filled_k]].tolist(),
                    scores=scores_k[filled_k].tolist(),
                    is_ranked=is_ranked,
                )
            )
        return answers

    def rank(self, requests: Sequence[RankRequest]) -> list[Ranking | UnknownUser]:
        """Probabilities for each request's candidates, read together.

        Raises:
            Unanswerable: the model does not rank.
        """
        require(self.predictor.model, "feedback")
        people = [self._person(request, request.candidates) for request in requests]
        rows = [row for row, person in enumerate(people) if isinstance(person, _Person)]
        read = [person for person in people if isinstance(person, _Person)]
        answers: list[Any] = list(people)
        if not read:
            return answers
        width = max(len(requests[row].candidates) for row in rows)
        items_BC = np.full((len(read), width), PAD, dtype=np.int32)
        for place, row in enumerate(rows):
            wanted = requests[row].candidates
            numbers_C = [self.numbers.get(item, PAD) for item in wanted]
            items_BC[place, : len(wanted)] = numbers_C
        is_gone_BC = np.isin(items_BC, self.predictor.unlisted)
        probability_BC = self.predictor.next_feedback(
            together([person.events for person in read]),
            np.where(is_gone_BC, PAD, items_BC).astype(np.int32),
            asked_at=np.asarray([person.asked_at for person in read]),
        )
        for place, row in enumerate(rows):
            wanted = requests[row].candidates
            values_C = probability_BC[place, : len(wanted)].tolist()
            gone_C = is_gone_BC[place, : len(wanted)]
            answers[row] = Ranking.model_construct(
                **read[place].facts,
                item_ids=wanted,
                probabilities=[None if value != value else value for value in values_C],
                withheld_items=[wanted[number] for number in np.flatnonzero(gone_C)],
            )
        return answers

    def _person(self, request: Request, candidates: Sequence[str] = ()) -> "_Person | UnknownUser":
        unknown = [item for item in candidates if item not in self.numbers]
        if request.user_id is not None:
            events = None if self.stored is None else self.stored.events(request.user_id)
            if events is None or self.stored is None:
                return UnknownUser(self._nobody(request.user_id))
            asked_at = self.stored.asked_at(events, self.config.evaluation.moment)
            day = self.stored.day
        else:
            sent = request.item_ids or []
            unknown = [*(item for item in sent if item not in self.numbers), *unknown]
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
        return _Person(events, asked_at if request.asked_at is None else request.asked_at, facts)

    def _sent(self, request: Request, item_ids: Sequence[str]) -> Events:
        count, get = len(item_ids), self.numbers.get
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

    def _probe(self) -> None:
        """Ask what every request asks, so that what is made at the first answer is there."""
        known = self.ids[:PROBED].tolist()
        histories = [RecommendRequest(item_ids=[]), RecommendRequest(item_ids=known)]
        if "lists" in self.answers:
            k = min(self.config.recommendations.num_items, self.predictor.num_items - len(known))
            for answer in self.recommend(histories, max(1, k), True):
                assert isinstance(answer, Recommendation)
                if not answer.item_ids or not np.isfinite(answer.scores).all():
                    raise self._useless(f"its first list is {answer.item_ids[:3]}")
        if "feedback" in self.answers:
            [ranking] = self.rank([RankRequest(item_ids=[], candidates=known)])
            assert isinstance(ranking, Ranking)
            if any(value is None or not 0 <= value <= 1 for value in ranking.probabilities):
                raise self._useless(f"its first probabilities are {ranking.probabilities}")
        if not self.answers & {"lists", "feedback"}:
            raise self._useless(f"it answers {sorted(self.answers)}")

    def _useless(self, found: str) -> BundleUseless:
        return BundleUseless(
            f"version {self.version.number} ({self.version.family}) can't serve: {found}"
        )


@dataclass(frozen=True)
class _Person:
    events: Events
    asked_at: int
    facts: Mapping[str, Any]
