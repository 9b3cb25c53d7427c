"""Lists: which item came next, predicted by a ranked list of the whole catalogue.

They are asked for at the moment that the preset serves. A second board asks for them at the other
one, so that what the moment is worth can be read; nothing decides by it.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Self

from training.data.histories import Histories
from training.data.queries import TopK
from training.data.splits import Targets, has_days
from training.evaluation.boards.interface import HeldOut, Measured, Predictor, Terms
from training.evaluation.consistency import impossible_values
from training.evaluation.metrics import DAY_END_LISTS, EVENT_LISTS, LISTS
from training.evaluation.record import ALL
from training.evaluation.retrieval import Meter, SidIndex, by_slice, consume, target_metrics
from training.evaluation.samples import UserMeans, user_rows
from training.settings.spec import AskedAt, Question


class ListBoard:
    """Every target's item, looked for in the list of its question.

    Facts of a model: `illegal_share` and `repeated_share` of filled places, and the share of its
    catalogue that its lists name, `coverage@K`.
    """

    name = LISTS
    question: Question = "lists"
    asks_for = "next items"

    def __init__(self, targets: Targets, train: Histories, terms: Terms) -> None:
        self._targets, self._train, self._terms = targets, train, terms
        self._shared = None if terms.codes_VQ is None else SidIndex.of(terms.codes_VQ)

    @classmethod
    def of(cls, held_out: HeldOut, terms: Terms) -> Self | None:
        """The board of a day's targets."""
        return cls(held_out.lists, held_out.train, terms) if len(held_out.lists) else None

    def __len__(self) -> int:
        return len(self._targets.questions)

    def measure(self, model: Predictor, progress: Callable[[int], None]) -> Measured:
        """Read a model's lists as items and as semantic IDs: its own, or else the challenger's."""
        codes_VQ, cutoffs = model.codes_VQ, self._terms.cutoffs
        meter = Meter(
            num_items=model.num_items,
            list_length=max(cutoffs),
            sids=self._shared if codes_VQ is None else SidIndex.of(codes_VQ),
            needs_sids=codes_VQ is not None,
        )
        consume(
            meter, lists_of(model, self._targets, self._terms, progress), self._targets, cutoffs
        )
        samples = by_slice(meter, self._targets, cutoffs=cutoffs, train=self._train)
        contradictions = [
            f"{name}: {problem}"
            for name, sample in samples.items()
            for reading in (meter.readings if len(sample) else ())
            for problem in impossible_values(
                sample.points(), cutoffs=cutoffs, list_length=meter.list_length, reading=reading
            )
        ]
        return Measured(
            samples=samples,
            names=samples[ALL].names,
            rows=user_rows(samples, self._targets.histories.user_ids),
            facts={
                "illegal_share": meter.illegal_share,
                "repeated_share": meter.repeated_share,
                **meter.coverage(),
            },
            contradictions=tuple(contradictions),
        )


class _ListsAtAnotherMoment:
    """The same targets as `ListBoard`, asked for at the moment that decides nothing.

    Lists are read as items alone, of all targets alone.
    """

    name: str
    moment: AskedAt
    question: Question = "lists"
    asks_for = "next items, at another moment"

    def __init__(self, targets: Targets, terms: Terms) -> None:
        self._targets, self._terms = replace(targets, asked_at=self.moment), terms

    @classmethod
    def of(cls, held_out: HeldOut, terms: Terms) -> Self | None:
        """The board of a day's targets; None where they are asked for at this moment anyway.

        None, too, at the day's end of a log that is of one day: nobody has a history before it.
        """
        targets = held_out.lists
        if not len(targets) or targets.asked_at == cls.moment:
            return None
        if cls.moment == "day_end" and not has_days(targets.histories):
            return None
        return cls(targets, terms)

    def __len__(self) -> int:
        return len(self._targets.questions)

    def measure(self, model: Predictor, progress: Callable[[int], None]) -> Measured:
        """Look for each target's item in the list of its question."""
        targets, cutoffs = self._targets, self._terms.cutoffs
        meter = Meter(num_items=model.num_items, list_length=max(cutoffs))
        consume(meter, lists_of(model, targets, self._terms, progress), targets, cutoffs)
        means = UserMeans(targets.user)
        for name, values_T in target_metrics(
            meter.ranks()[""], cutoffs=cutoffs, list_length=meter.list_length
        ):
            means.add(f"{self.moment}_{name}", values_T)
        samples = {ALL: means.result()}
        rows = user_rows(samples, targets.histories.user_ids)
        return Measured(samples, samples[ALL].names, rows, meter.coverage())


class EventListBoard(_ListsAtAnotherMoment):
    """Lists that are asked for before each event, where the preset serves them at the day's end."""

    name = EVENT_LISTS
    moment: AskedAt = "event"


class DayEndListBoard(_ListsAtAnotherMoment):
    """Lists that are asked for at the day's end, where the preset serves them before each event."""

    name = DAY_END_LISTS
    moment: AskedAt = "day_end"


def lists_of(
    model: Predictor, targets: Targets, terms: Terms, progress: Callable[[int], None]
) -> Iterator[TopK]:
    """Each target's list, some targets at a time; a question that several share is asked once."""
    questions, done = targets.questions, 0
    for queries in model.queries(targets.histories, questions, exclude_seen=terms.exclude_seen):
        top = model.recommend(queries, max(terms.cutoffs))
        row_B = questions.rows(done, done + len(queries)).question_T
        yield TopK(top.items_Bk[row_B], top.scores_Bk[row_B])
        done += len(queries)
        progress(done)
