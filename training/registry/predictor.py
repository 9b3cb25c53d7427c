"""A bundle's model, asked with today's histories (`model_predictor`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from feature_store.installed import PluginError
from training import inference
from training.data.histories import Histories
from training.data.queries import NO_ITEMS
from training.data.vocabulary import Vocabulary
from training.models import MODELS, weights
from training.models.families import family_of
from training.models.interface import PAD, Queries, TopK
from training.models.weights import WeightsError
from training.registry.bundle import Bundle, BundleFormatError
from training.registry.model_predictor import ModelPredictor, on_all_cores
from training.settings.spec import BLEND


@dataclass(frozen=True, kw_only=True)
class BundlePredictor(ModelPredictor):
    """A bundle's model.

    Attributes:
        bundle: where it comes from.
        item_ids: the source's id of each item_index, shape [V].
    """

    bundle: Bundle
    item_ids: pa.Array

    @classmethod
    def of(
        cls, bundle: Bundle, *, device: str, unlisted: np.ndarray = NO_ITEMS
    ) -> "BundlePredictor":
        """Load a verified bundle's weights.

        Args:
            bundle: of a family that this code has.
            device: `cpu` or `cuda`.
            unlisted: items that the catalogue of the day no longer lists, as
                `DayTables.unlisted` gives them: the bundle doesn't know.

        Raises:
            BundleFormatError: the bundle is of a family that this code does not have, or was
                written when the family kept other weights.
        """
        if bundle.family not in (*MODELS, BLEND):
            raise BundleFormatError(
                f"bundle at {bundle.directory} is of family {bundle.family!r}; "
                f"this code has {sorted(MODELS)}"
            )
        try:
            model = weights.load(bundle.directory / "model", family_of(bundle.family), device)
        except (WeightsError, PluginError) as error:
            raise BundleFormatError(f"bundle at {bundle.directory} is refused: {error}") from error
        training = bundle.document("config")["training"]
        item_ids = bundle.items()["item_id"].combine_chunks()
        return cls(
            bundle=bundle,
            model=model,
            item_ids=item_ids,
            num_items=len(item_ids),
            codes_VQ=codes_of(bundle),
            unlisted=unlisted[unlisted < len(item_ids)],
            max_history=training["max_history"],
            minimum_strength=training["minimum_strength"],
            device=device,
        )

    def next_items(
        self,
        histories: Histories,
        k: int,
        *,
        exclude_seen: bool,
        ranked_candidates: int = 0,
        asked_at: int | np.ndarray | None = None,
    ) -> TopK:
        """What follows each history, one list per user, in their order.

        Args:
            histories: of the users.
            k: places of a list.
            exclude_seen: whether items of the history are left out.
            ranked_candidates: items that are retrieved and put in order by the probability of
                positive feedback; 0, or a model that can't rank: the order of retrieval.
            asked_at: when, seconds since 1970 (UTC), of all or of each; None: when each user's
                last event happened.
        Raises:
            Unanswerable: the model does not recommend.
        """
        queries = self._next(histories, exclude_seen=exclude_seen, asked_at=asked_at)
        if not ranked_candidates or "feedback" not in self.answers:
            return self.recommend(queries, k)

        def ranked(part: Queries) -> TopK:
            return inference.recommend_ranked(self.model, part, k, ranked_candidates)

        return on_all_cores(ranked, queries, device=self.device)

    def next_feedback(
        self,
        histories: Histories,
        items_BC: np.ndarray,
        *,
        asked_at: int | np.ndarray | None = None,
    ) -> np.ndarray:
        """Probability of positive feedback on each candidate after each history, float32, [B, C].

        Args:
            histories: of B users.
            items_BC: as `Ranks.rank` takes them.
            asked_at: as `next_items` takes it.
        Raises:
            Unanswerable: the model does not rank.
        """
        queries = self._next(histories, exclude_seen=False, asked_at=asked_at)
        return self.rank(queries, items_BC)

    def _next(
        self, histories: Histories, *, exclude_seen: bool, asked_at: int | np.ndarray | None
    ) -> Queries:
        """What follows all events of each user?"""
        count = histories.num_users
        return self.ask(histories).queries(
            np.arange(count),
            histories.lengths,
            max_history=self.max_history,
            exclude_seen=exclude_seen,
            asked_at=None if asked_at is None else np.full(count, asked_at, dtype=np.int64),
        )

    def next_ids(
        self, item_ids: Sequence[Sequence[str]], k: int, *, exclude_seen: bool
    ) -> tuple[list[list[str]], list[list[float]]]:
        """Ids and scores of what follows histories given as item ids, oldest first.

        Ids that the bundle does not know are passed over; so are the empty places of a list.
        """
        numbers = {item: number for number, item in enumerate(self.item_ids.to_pylist())}
        known = [[numbers[i] for i in history if i in numbers] for history in item_ids]
        top = self.next_items(_bare_histories(known), k, exclude_seen=exclude_seen)
        filled_Bk = top.items_Bk != PAD
        ids = np.asarray(self.item_ids.to_pylist(), dtype=object)
        items = [ids[row[use]].tolist() for row, use in zip(top.items_Bk, filled_Bk, strict=True)]
        scores = [row[use].tolist() for row, use in zip(top.scores_Bk, filled_Bk, strict=True)]
        return items, scores


def codes_of(bundle: Bundle) -> np.ndarray | None:
    """Semantic IDs by item_index, int, -1 for an item without; None for a bundle without any."""
    rows = bundle.semantic_ids()
    if rows is None:
        return None
    return Vocabulary.with_semantic_ids(bundle.items().num_rows, rows).codes_VQ


def _bare_histories(items: Sequence[Sequence[int]]) -> Histories:
    """Histories without names and times, all feedback strong."""
    offsets = np.cumsum([0, *(len(history) for history in items)], dtype=np.int64)
    flat = np.asarray([item for history in items for item in history], dtype=np.int32)
    return Histories(
        user_ids=np.full(len(items), "", dtype=object),
        offsets=offsets,
        items=flat,
        strengths=np.full(len(flat), 3, dtype=np.int8),
        times=np.zeros(len(flat), dtype=np.int64),
    )
