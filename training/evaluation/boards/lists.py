"""Lists: which item came next, predicted by a ranked list of the whole catalogue."""

from collections.abc import Callable, Iterator
from typing import Self

from training.data.histories import Histories
from training.data.queries import TopK
from training.data.splits import Targets
from training.evaluation.boards.interface import HeldOut, Measured, Predictor, Terms
from training.evaluation.consistency import impossible_values
from training.evaluation.metrics import LISTS
from training.evaluation.record import ALL
from training.evaluation.retrieval import Meter, SidIndex, by_slice, consume
from training.evaluation.samples import user_rows


class ListBoard:
    """Every target's item, asked for once, before the event.

    Facts of a model: `illegal_share` and `repeated_share` of filled places, and the share of its
    catalogue that its lists name, `coverage@K`.
    """

    name = LISTS
    asks_for = "next items"

    def __init__(self, targets: Targets, train: Histories, terms: Terms) -> None:
        self._targets, self._train, self._terms = targets, train, terms
        self._shared = None if terms.codes_VQ is None else SidIndex.of(terms.codes_VQ)

    @classmethod
    def of(cls, held_out: HeldOut, terms: Terms) -> Self | None:
        """The board of a day's targets."""
        return cls(held_out.lists, held_out.train, terms) if len(held_out.lists) else None

    def __len__(self) -> int:
        return len(self._targets)

    def measure(self, model: Predictor, progress: Callable[[int], None]) -> Measured:
        """Read a model's lists as items and as semantic IDs: its own, or else the challenger's."""
        codes_VQ, cutoffs = model.codes_VQ, self._terms.cutoffs
        meter = Meter(
            num_items=model.num_items,
            list_length=max(cutoffs),
            sids=self._shared if codes_VQ is None else SidIndex.of(codes_VQ),
            needs_sids=codes_VQ is not None,
        )
        consume(meter, self._answers(model, progress), self._targets, cutoffs)
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

    def _answers(self, model: Predictor, progress: Callable[[int], None]) -> Iterator[TopK]:
        targets, terms, done = self._targets, self._terms, 0
        for queries in model.queries(
            targets.histories, targets.user, targets.position, exclude_seen=terms.exclude_seen
        ):
            yield model.recommend(queries, max(terms.cutoffs))
            done += len(queries)
            progress(done)
