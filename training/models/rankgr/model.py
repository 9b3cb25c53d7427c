"""rankgr: generative retrieval that learns from lists, and looks at its best candidates again.

After RankGR (Fu et al. 2026, arXiv:2602.08575). The first phase, *initial assessment*, is tiger
with a listwise preference loss beside the loss of the next item; the second, *refined scoring*,
puts the first's best candidates into order. Both are learnt at once:

    L = L_next + alpha L_lists( beta (log P(codes | history) - reference) ) + gamma L_lists( score )

with L_lists over tiers of feedback (`training.losses.tiered`), in some contexts of each step.

B rows, L events, D width, G contexts, C candidates, N targets, Q levels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from training.data.batches import Batch
from training.data.queries import PAD
from training.losses.tiered import tiered_loss
from training.models.interface import Queries, TopK
from training.models.rankgr.contexts import Contexts, EventLists, Offered, contexts_of, drawn
from training.models.rankgr.prefixes import each_prefix_loss
from training.models.rankgr.reference import Reference
from training.models.rankgr.scorer import RefinedScorer
from training.models.rankgr.watch import Watch
from training.models.ranking import best_of, rows_within
from training.models.tiger.model import CHUNK_CELLS, Tiger, TigerState
from training.settings.rankgr import RankgrConfig


@dataclass(frozen=True)
class RankgrState:
    """Histories that were read once.

    Attributes:
        expected: what the first phase answers from.
        memory: keys and values that candidates look at, [B, 2, A, T, D / A].
        is_read_BT: positions of each history.
    """

    expected: TigerState
    memory: Tensor
    is_read_BT: Tensor

    @property
    def queries(self) -> Queries:
        """The questions."""
        return self.expected.queries


class Rankgr(Tiger):
    """A tiger, and what looks at its best candidates again."""

    family = "rankgr"
    config: RankgrConfig

    def __init__(
        self,
        config: RankgrConfig,
        codes_VQ: Tensor,
        content_VE: Tensor,
        level_sizes: tuple[int, ...],
    ) -> None:
        super().__init__(config, codes_VQ, content_VE, level_sizes)
        self.scorer = None
        if config.refinement_weight:
            self.scorer = RefinedScorer(config.width, config.num_heads, dropout=config.dropout)
        self.watch = Watch()
        self._lists: EventLists | None = None
        self._reference: Reference | None = None
        self._offered: Offered | None = None

    def prepare(self, lists: EventLists | None) -> None:
        """Before a fit: the lists of its events, and the reference, of the weights as they are."""
        if self.config.preference_weight and self.config.reference != "none":
            self._reference = Reference(self, follows=self.config.reference == "average")
        self._lists = lists

    def learn(
        self, phase: Literal["first", "second", "both"], offered: Offered | None = None
    ) -> None:
        """Say which phase the next fit moves; the other is held fixed.

        Args:
            phase: that learns.
            offered: what the first has answered, where the second learns by itself.
        """
        assert self.scorer is not None  # who learns by itself is there
        self.requires_grad_(phase != "second")
        self.scorer.requires_grad_(phase != "first")
        self._offered = offered

    def forward(self, batch: Batch) -> Tensor:
        """Loss of the batch's targets in nats, summed; in training that of lists, too."""
        if self.training and self._offered is not None:
            return self._second_phase(batch, self._offered)
        y_BLD = self.expected(batch)
        target_N = batch.items_BL[batch.is_target_BL]
        loss = self.next_item_loss(y_BLD[batch.is_target_BL], target_N)
        config = self.config
        if not self.training or not (config.preference_weight or self._refines):
            return loss
        # A mean over contexts, as often as there are targets: all losses are per target.
        return loss + len(target_N) * self._list_losses(batch, y_BLD)

    @property
    def _refines(self) -> bool:
        """Whether the second phase learns."""
        return self.scorer is not None and self.scorer.trust.requires_grad

    def _second_phase(self, batch: Batch, offered: Offered) -> Tensor:
        """Loss of the second phase alone on what the first has answered, nats, summed."""
        row_G, column_G = batch.is_target_BL.nonzero(as_tuple=True)
        assert batch.events_BL is not None
        own_Gk, log_probs_Gk = offered.at(batch.events_BL[row_G, column_G])
        contexts = contexts_of(batch, row_G, column_G, own_Gk, self._lists)
        self.reader.eval()  # as it answered
        y_BLD = self.expected(batch)
        return len(row_G) * self._refinement(batch, contexts, y_BLD, log_probs_Gk)

    def _list_losses(self, batch: Batch, y_BLD: Tensor) -> Tensor:
        config = self.config
        row_G, column_G = drawn(batch, config.contexts_per_step)
        y_GD = y_BLD[row_G, column_G]
        own_Gk, by_item_Gk = self._own_candidates(batch, row_G, column_G, y_GD)
        contexts = contexts_of(batch, row_G, column_G, own_Gk, self._lists)
        log_probs_GCQ = self._code_log_probs(y_GD, contexts.items_GC)
        loss = y_GD.new_zeros(())
        if config.preference_weight:
            loss = loss + config.preference_weight * self._preference(
                batch, contexts, log_probs_GCQ
            )
        if self._refines:
            log_probs_Gk = log_probs_GCQ.sum(-1)[:, contexts.own] + by_item_Gk
            loss = loss + config.refinement_weight * self._refinement(
                batch, contexts, y_BLD, log_probs_Gk
            )
        return loss

    @torch.no_grad()
    def _own_candidates(
        self, batch: Batch, row_G: Tensor, column_G: Tensor, y_GD: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The items with the largest cosines, but those of the row that came before.

        Returns:
            Items, [G, k], `PAD` beyond those there are; and η log P(v | y) of each.
        """
        assert self.head is not None
        near_GV = self.head.logits(y_GD, self.items).float().log_softmax(-1)
        items_GL = batch.items_BL[row_G]
        target_G1 = items_GL.gather(1, column_G[:, None])
        target_value_G1 = near_GV.gather(1, target_G1)
        columns_L = torch.arange(items_GL.shape[1], device=items_GL.device)
        is_seen_GL = (columns_L < column_G[:, None]) & (items_GL != PAD)
        row_S = is_seen_GL.nonzero(as_tuple=True)[0]
        near_GV[row_S, items_GL[is_seen_GL]] = -torch.inf
        near_GV.scatter_(1, target_G1, target_value_G1)
        near_GV[:, self.codes_VQ[:, 0] < 0] = -torch.inf
        near = near_GV.topk(min(self.config.candidates, near_GV.shape[1]))
        is_none_Gk = near.values.isneginf()
        by_item_Gk = near.values.masked_fill(is_none_Gk, 0.0) * self.config.item_weight
        return near.indices.masked_fill(is_none_Gk, PAD), by_item_Gk

    def _code_log_probs(self, y_GD: Tensor, items_GC: Tensor) -> Tensor:
        """Log-probability of each code of each candidate, nats, [G, C, Q]."""
        assert self.decoder is not None
        G, C = items_GC.shape
        codes_NQ = self.items.codes(items_GC).flatten(0, 1)
        log_probs_NQ = self.decoder.log_probs(y_GD.repeat_interleave(C, 0), codes_NQ, self.items)
        return log_probs_NQ.view(G, C, len(self.level_sizes))

    def _preference(self, batch: Batch, contexts: Contexts, log_probs_GCQ: Tensor) -> Tensor:
        config = self.config
        tiers_GC = contexts.tiers_without_repeats
        reward_GCQ = log_probs_GCQ
        if self._reference is not None:
            self._reference.follow(self)
            reward_GCQ = reward_GCQ - self._of_reference(batch, contexts)
        self.watch.note(log_probs_GCQ.sum(-1), tiers_GC, contexts)
        reward_GCQ = config.preference_scale * reward_GCQ
        if config.each_prefix:
            codes_GCQ = self.items.codes(contexts.items_GC)
            return _mean(each_prefix_loss(reward_GCQ, codes_GCQ, tiers_GC))
        return _mean(tiered_loss(reward_GCQ.sum(-1), tiers_GC))

    @torch.no_grad()
    def _of_reference(self, batch: Batch, contexts: Contexts) -> Tensor:
        assert self._reference is not None
        other = self._reference.copy
        rows_R, place_G = contexts.row_G.unique(return_inverse=True)
        part = replace(
            batch,
            items_BL=batch.items_BL[rows_R],
            strengths_BL=batch.strengths_BL[rows_R],
            times_BL=batch.times_BL[rows_R],
        )
        y_GD = other.expected(part)[place_G, contexts.column_G]
        return other._code_log_probs(y_GD, contexts.items_GC)

    def _refinement(
        self, batch: Batch, contexts: Contexts, y_BLD: Tensor, log_probs_Gk: Tensor
    ) -> Tensor:
        assert self.scorer is not None
        row_G, column_G = contexts.row_G, contexts.column_G
        items_Gk = contexts.items_GC[:, contexts.own]
        y_GD = y_BLD[row_G, column_G]
        vectors_GkD = self.items.of(items_Gk)
        events_BLD = self._event_vectors(batch.items_BL[:, :-1], batch.strengths_BL[:, :-1])
        if not self.config.refines_reader:
            y_BLD, y_GD = y_BLD.detach(), y_GD.detach()
            vectors_GkD, events_BLD = vectors_GkD.detach(), events_BLD.detach()
        memory = self.scorer.remember(y_BLD, events_BLD)[row_G]
        columns_L = torch.arange(y_BLD.shape[1], device=y_BLD.device)
        is_read_GL = columns_L <= column_G[:, None]
        score_Gk = self.scorer(memory, is_read_GL, y_GD, vectors_GkD, log_probs_Gk)
        return _mean(tiered_loss(score_Gk, contexts.tiers_GC[:, contexts.own]))

    def _event_vectors(self, items_BL: Tensor, strengths_BL: Tensor) -> Tensor:
        """What is read of the events, after a start of zeros, [B, 1 + L, D]."""
        x_BLD = self.reader.events(self.items, items_BL, strengths_BL)
        start_B1D = x_BLD.new_zeros((len(x_BLD), 1, x_BLD.shape[2]))
        return torch.cat([start_B1D, x_BLD], 1)

    def code_loss(self, batch: Batch) -> Tensor:
        """Nats of the targets' codes, summed over codes and targets."""
        assert self.decoder is not None
        y_ND = self.expected(batch)[batch.is_target_BL]
        codes_NQ = self.items.codes(batch.items_BL[batch.is_target_BL])
        return -self.decoder.log_probs(y_ND, codes_NQ, self.items).sum()

    def training_state(self) -> dict[str, Tensor]:
        """What later steps depend on beside the weights: the reference, and what was counted."""
        reference = {} if self._reference is None else self._reference.state()
        return {
            **{f"reference.{name}": value for name, value in reference.items()},
            **{f"watch.{name}": value for name, value in self.watch.state().items()},
        }

    def restore_training(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `training_state` gave."""
        for owner in (self._reference, self.watch):
            prefix = "watch." if owner is self.watch else "reference."
            part = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            if owner is not None:
                owner.restore(part)

    def end_epoch(self, total: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """How the epoch's lists were told apart."""
        return self.watch.end_epoch(total)

    def rows_at_once(self, queries: Queries, k: int, num_candidates: int) -> int:
        """Rows whose widest array, of either phase, fits into `CHUNK_CELLS`."""
        config, length = self.config, queries.items_BL.shape[1] + 1
        k = self._looked_at(k)
        cells = k * (4 * config.width + config.num_heads * length) if self.scorer else 1
        return min(
            super().rows_at_once(queries, k, num_candidates), rows_within(CHUNK_CELLS, cells)
        )

    @torch.inference_mode()
    def read(self, queries: Queries) -> RankgrState:
        """Run the histories once, and make what candidates look at."""
        queries, y_BTD, last_B = self.read_all(queries)
        device = last_B.device
        places_B = torch.arange(len(last_B), device=device)
        expected = TigerState(queries, y_BTD[places_B, last_B])
        is_read_BT = torch.arange(y_BTD.shape[1], device=device) <= last_B[:, None]
        if self.scorer is None:
            return RankgrState(expected, y_BTD[:, :0], is_read_BT)
        events_BTD = self._event_vectors(
            torch.from_numpy(queries.items_BL).long().to(device),
            torch.from_numpy(queries.strengths_BL).to(device),
        )
        return RankgrState(expected, self.scorer.remember(y_BTD, events_BTD), is_read_BT)

    @torch.inference_mode()
    def select(self, state: RankgrState, rows: np.ndarray) -> RankgrState:
        """Some of the rows."""
        numbers = np.arange(len(state.queries))[rows]
        row_N = torch.from_numpy(numbers).to(state.is_read_BT.device)
        expected = super().select(state.expected, rows)
        return RankgrState(expected, state.memory[row_N], state.is_read_BT[row_N])

    @torch.inference_mode()
    def recommend(self, state: RankgrState, k: int) -> TopK:
        """The first phase's best, in the second's order; scores are the second's."""
        offered = self.assess(state, self._looked_at(k))
        if self.scorer is None:
            return offered
        device = state.is_read_BT.device
        items_BC = torch.from_numpy(offered.items_Bk).long().to(device)
        score_BC = self.refine(state, items_BC, torch.from_numpy(offered.scores_Bk).to(device))
        return best_of(score_BC, k, items_BC)

    def assess(self, state: RankgrState, k: int) -> TopK:
        """The k best by the first phase alone."""
        top: TopK = super().recommend(state.expected, k)
        return top

    @torch.inference_mode()
    def refine(self, state: RankgrState, items_BC: Tensor, log_probs_BC: Tensor) -> Tensor:
        """What the second phase makes of candidates, [B, C]; -inf where there is none.

        Args:
            state: of histories.
            items_BC: the candidates, int64; `PAD` for none.
            log_probs_BC: what the first phase says of them; read where there is a candidate.
        """
        assert self.scorer is not None  # who is asked has a second phase
        is_none_BC = items_BC == PAD
        score_BC = self.scorer(
            state.memory,
            state.is_read_BT,
            state.expected.y_BD,
            self.items.of(items_BC),
            log_probs_BC.masked_fill(is_none_BC, 0.0),
        )
        return score_BC.masked_fill(is_none_BC, -torch.inf)

    def _looked_at(self, k: int) -> int:
        return max(k, self.config.candidates) if self.scorer is not None else k


def _mean(loss_G: Tensor) -> Tensor:
    """Of no contexts 0, which has gradients: a process may have a row without a target."""
    return loss_G.sum() / max(1, len(loss_G))
