"""blend: weighted scores of two fitted models over the union of their candidates.

    score(i) = w · z_1(i) + (1 - w) · z_2(i)

A second model that ranks and lists nothing scores the candidates of the first again, by the
log-odds of positive feedback; the blend then answers feedback as that model does.

z is a model's score made comparable per query, over the candidates that it names. An item that one
of them doesn't name has there what its last candidate has (`standardised`) or nothing (`softmax`).
Models that know items by codes and by ids find other items (LIGER, arXiv:2411.18814, adds their
candidates up). B queries, C candidates of a part, k places in a list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Self, cast

import numpy as np
from torch import Tensor, nn

from training.models import MODELS
from training.models.interface import PAD, Queries, Ranks, Recommends, State, TopK
from training.models.ranking import log_odds
from training.settings.spec import BLEND, LISTS, Question

CANDIDATES = 50
"""Of each part; never fewer than the items that are asked for."""
READ_AHEAD = 4
"""A part that leaves weak events out finds its own among so many times as many."""
Normalisation = Literal["standardised", "softmax"]


@dataclass(frozen=True)
class BlendConfig:
    """What was chosen on validation targets."""

    weight: float = 0.5
    """w, of the first part's scores, from 0 to 1."""
    normalisation: Normalisation = "standardised"
    """A score less the mean of the query's candidates, in standard deviations; or its share of the
    sum of exponentials over them, which is a probability where scores are logits."""


class Reads(NamedTuple):
    """What a part reads of a history."""

    max_history: int
    """Most recent events."""
    minimum_strength: int
    """Weaker ones are left out before."""


def reads_of_both(parts: Sequence[Reads]) -> Reads:
    """What has to be read so that every part finds what it reads.

    Example:
        >>> reads_of_both([Reads(50, 1), Reads(100, -1)])
        Reads(max_history=200, minimum_strength=-1)
    """
    weakest = min(part.minimum_strength for part in parts)
    lengths = (
        part.max_history * (READ_AHEAD if part.minimum_strength > weakest else 1) for part in parts
    )
    return Reads(max(lengths), weakest)


class Blend(nn.Module):
    """Two models, and one list of both.

    Args:
        config: how their scores are added up.
        parts: two fitted models, of which the first answers lists and the second lists or feedback.
        reads: what each reads of a history that is read as `reads_of_both` says.
    """

    family = BLEND

    def __init__(self, config: BlendConfig, parts: Sequence[Any], reads: Sequence[Reads]) -> None:
        super().__init__()
        self.config, self.parts, self.reads = config, tuple(parts), tuple(reads)
        self.neural = nn.ModuleList(part for part in parts if isinstance(part, nn.Module))

    @property
    def answers(self) -> frozenset[Question]:
        """Lists, and feedback where a part answers it."""
        return LISTS | {"feedback"} if self._rankers else LISTS

    @property
    def sizes(self) -> dict[str, Any]:
        """Of each part its family, its config, its own sizes, and what it reads."""
        return {
            "parts": [
                {
                    "family": part.family,
                    "config": asdict(part.config),
                    "sizes": dict(part.sizes),
                    "reads": reads._asdict(),
                }
                for part, reads in zip(self.parts, self.reads, strict=True)
            ]
        }

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Tensor]:
        """The tensors of both, under the number of the part."""
        return {
            f"{number}.{name}": tensor
            for number, part in enumerate(self.parts)
            for name, tensor in part.state_dict().items()
        }

    @classmethod
    def from_weights(
        cls, config: BlendConfig, sizes: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Self:
        """The blend that had these parts."""
        parts, reads = [], []
        for number, each in enumerate(sizes["parts"]):
            family, start = MODELS[each["family"]], f"{number}."
            own = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            shape = family.config_class(**each["config"])
            parts.append(family.model_class.from_weights(shape, each["sizes"], own))
            reads.append(Reads(**each["reads"]))
        return cls(config, parts, reads)

    def rows_at_once(self, queries: Queries, k: int, num_candidates: int) -> int:
        """Rows that both have room for."""
        width = max(k, CANDIDATES)
        ranked = max(num_candidates, width)
        return min(int(part.rows_at_once(queries, width, ranked)) for part in self.parts)

    def read(self, queries: Queries) -> tuple[State, ...]:
        """What each part makes of the histories."""
        if len(set(self.reads)) == 1:
            return tuple(part.read(queries) for part in self.parts)
        return tuple(
            part.read(queries.narrowed(**reads._asdict()))
            for part, reads in zip(self.parts, self.reads, strict=True)
        )

    def select(self, state: tuple[State, ...], rows: np.ndarray) -> tuple[State, ...]:
        """Some of the rows."""
        return tuple(part.select(of, rows) for part, of in zip(self.parts, state, strict=True))

    def candidates(self, state: tuple[State, ...], k: int) -> list[TopK]:
        """What each part would answer, at least k items; a ranker scores those of the first."""
        width = max(k, CANDIDATES)
        first, second = self.parts
        top = cast("Recommends", first).recommend(state[0], width)
        if LISTS & second.answers:
            return [top, cast("Recommends", second).recommend(state[1], width)]
        is_item_BC = top.items_Bk != PAD
        odds_BC = log_odds(cast("Ranks", second).rank(state[1], top.items_Bk))
        return [top, TopK(top.items_Bk, np.where(is_item_BC, odds_BC, -np.inf))]

    def rank(self, state: tuple[State, ...], items_BC: np.ndarray) -> np.ndarray:
        """Probability of positive feedback, as the last part says that answers it, [B, C]."""
        number = self._rankers[-1]
        return cast("Ranks", self.parts[number]).rank(state[number], items_BC)

    @property
    def _rankers(self) -> list[int]:
        return [n for n, part in enumerate(self.parts) if "feedback" in part.answers]

    def recommend(self, state: tuple[State, ...], k: int) -> TopK:
        """The k best of both parts' candidates by the sum of their scores."""
        first, second = self.candidates(state, k)
        return blended(first, second, self.config, k)


def blended(first: TopK, second: TopK, config: BlendConfig, k: int) -> TopK:
    """One list of two.

    Args:
        first: candidates of the part that has the weight.
        second: of the other, as many.
        config: how scores are made comparable and added up.
        k: places of the list, at most as many as candidates.
    Example:
        >>> a = TopK(np.array([[1, 2]], np.int32), np.array([[2.0, 1.0]], np.float32))
        >>> b = TopK(np.array([[2, 3]], np.int32), np.array([[0.9, 0.1]], np.float32))
        >>> blended(a, b, BlendConfig(0.25), 2).items_Bk.tolist()
        [[2, 1]]
    """
    ours_BC, our_rest_B1 = _comparable(first, config.normalisation)
    theirs_BC, their_rest_B1 = _comparable(second, config.normalisation)
    same_BCC = first.items_Bk[:, :, None] == second.items_Bk[:, None, :]
    same_BCC &= (first.items_Bk != PAD)[:, :, None]
    is_shared_BC = same_BCC.any(axis=1)
    of_ours_BC = np.take_along_axis(theirs_BC, same_BCC.argmax(axis=2), 1)
    of_ours_BC = np.where(same_BCC.any(axis=2), of_ours_BC, their_rest_B1)
    w = config.weight
    scores_BC = np.concatenate(
        [w * ours_BC + (1 - w) * of_ours_BC, w * our_rest_B1 + (1 - w) * theirs_BC], axis=1
    )
    items_BC = np.concatenate(
        [first.items_Bk, np.where(is_shared_BC, PAD, second.items_Bk)], axis=1
    )
    scores_BC = np.where(items_BC == PAD, -np.inf, scores_BC)
    order_Bk = np.argsort(-scores_BC, axis=1, kind="stable")[:, :k]
    return TopK(
        np.take_along_axis(items_BC, order_Bk, 1),
        np.take_along_axis(scores_BC, order_Bk, 1).astype(np.float32),
    )


def _comparable(top: TopK, normalisation: Normalisation) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a part's candidates, float64, [B, C]; 0 beside `PAD`. And of all others, [B, 1]."""
    is_item_BC = top.items_Bk != PAD
    count_B1 = np.maximum(1, is_item_BC.sum(axis=1, keepdims=True))
    scores_BC = np.where(is_item_BC, top.scores_Bk, 0).astype(np.float64)
    if normalisation == "softmax":
        best_B1 = np.where(is_item_BC, scores_BC, -np.inf).max(axis=1, keepdims=True)
        best_B1 = np.where(np.isfinite(best_B1), best_B1, 0)
        powers_BC = np.where(is_item_BC, np.exp(scores_BC - best_B1), 0)
        total_B1 = np.maximum(powers_BC.sum(axis=1, keepdims=True), 1e-300)
        return powers_BC / total_B1, np.zeros_like(total_B1)
    apart_BC = np.where(is_item_BC, scores_BC - scores_BC.sum(1, keepdims=True) / count_B1, 0)
    deviation_B1 = np.sqrt((apart_BC**2).sum(axis=1, keepdims=True) / count_B1)
    z_BC = apart_BC / np.where(deviation_B1 > 0, deviation_B1, 1)
    return z_BC, z_BC.min(axis=1, keepdims=True)
