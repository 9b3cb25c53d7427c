"""higr: slates in two steps, first what each place is to be like, then which items.

After the summary of HiGR (arXiv:2512.24787; docs/mechanics.md, Slates). A context is read by a
causal stack. The planner is the same stack going on: its places follow the context's events, so
that each place sees the events and the places before it (the context is the planner's prefix), with
no weights of its own for that and with any backbone.

    p_m = Planner( slate, f_1 … f_(m-1) ; context )
    f_j = vector of item j                   (planner_feedback = item)
        = p_j                                (planner_feedback = latent)

What p_m says is read as every model of semantic IDs reads it (`training.models.coded`): codes by a
light decoder, the item itself by cosines. In training all items of all places are said in one pass;
so are the places, but for `latent`, whose places are made of each other and come one by one. A
place is answered by the best of a beam,

    argmax_v  log P( codes of v | p_m ) + η log P( v | p_m )

B rows, L events, W slates of a row or beams, M places, Q levels, D width, V items, N targets, R
places of all rows, k places asked for.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.backbones.interface import Memory
from training.data.queries import PAD, Queries
from training.data.slate_batches import SlateBatch
from training.decoding.beam import StepFunction
from training.decoding.slate import all_at_once, one_by_one
from training.decoding.trie import CodeTrie
from training.models.coded.catalogue import CatalogueHead, directions
from training.models.coded.decoder import CodeDecoder
from training.models.ranking import rows_within
from training.models.slate.model import CHUNK_CELLS, Read, SlateModel
from training.settings.higr import HigrConfig

TEMPERATURE = 0.05
"""Of cosines, as tiger's."""


class Higr(SlateModel):
    """A heavy planner over places, and what says the item of each."""

    family = "higr"

    def __init__(
        self,
        config: HigrConfig,
        codes_VQ: Tensor,
        content_VE: Tensor,
        level_sizes: tuple[int, ...],
    ) -> None:
        super().__init__(config, codes_VQ, content_VE, level_sizes)
        width = config.width
        self.decoder = CodeDecoder(self.level_sizes, width) if config.learns != "items" else None
        self.head = None
        if config.learns != "codes":
            self.head = CatalogueHead(
                width, temperature=TEMPERATURE, num_negatives=config.num_negatives
            )
        self.to_planner = nn.Linear(width, width) if config.planner_feedback == "latent" else None

    @staticmethod
    def depth_and_room(config: Any, num_levels: int) -> tuple[int, int]:
        """Blocks of the backbone, and the positions of the longest slate."""
        return config.planner_layers, config.longest_slate

    @property
    def said_by(self) -> tuple[Tensor, tuple[int, ...]]:
        """Semantic IDs; where codes are not learnt, an item is said by one code, its number."""
        if self.config.learns != "items":
            return super().said_by
        item_V = torch.arange(len(self.codes_VQ), device=self.codes_VQ.device)
        return item_V.masked_fill(self.codes_VQ[:, 0] < 0, PAD)[:, None], (len(item_V),)

    @property
    def num_terms(self) -> int:
        """Log-probabilities that the loss of an item is the sum of: its codes', and its own."""
        return self.num_levels + int(self.config.learns == "both")

    def forward(self, batch: SlateBatch) -> Tensor:
        """Loss of the batch's slates in nats, summed over codes, items and places."""
        is_item_BM = batch.slate_BM != PAD
        plan_ND = self.plan(batch, batch.slate_BM[:, None])[:, 0][is_item_BM]
        item_N, losses = batch.slate_BM[is_item_BM], []
        if self.decoder is not None:
            codes_NQ = self.items.codes(item_N)
            losses.append(-self.decoder.log_probs(plan_ND, codes_NQ, self.items).sum())
        if self.head is not None:
            losses.append(self.head.loss(plan_ND, self.items, item_N.long()))
        return torch.stack(losses).sum()

    def slate_log_probs(self, batch: SlateBatch, slate_BWM: Tensor) -> Tensor:
        """Log-probability of every code of W slates for each context, nats, [B, W, M, Q]."""
        return self.item_log_probs(self.plan(batch, slate_BWM), slate_BWM)

    def plan(self, batch: SlateBatch, slate_BWM: Tensor) -> Tensor:
        """What each place of the slates is to be like, [B, W, M, D]."""
        read = self.remember(batch)
        B, W, M = slate_BWM.shape
        if self.to_planner is not None:
            plan_BMD = self._imagined(read, read.memory, M)
            return plan_BMD[:, None].expand(-1, W, -1, -1)
        start_BW1D = self.slate_start(B, W, 1)
        told_BWMD = torch.cat([start_BW1D, self.item_vectors(slate_BWM[:, :, :-1])], 2)
        told_BWMD = self.dropout(told_BWMD)
        plan_BWMD: Tensor = self.backbone.extend(
            read.memory, read.lengths_B, told_BWMD, read.asked_at_B
        )
        return plan_BWMD

    def item_log_probs(self, plan_BWMD: Tensor, slate_BWM: Tensor) -> Tensor:
        """What is said to slates at these places, [B, W, M, Q]; 0 beside PAD.

        Apart from `plan`, so that a plan can be put in another's place to see what it is worth.
        """
        is_item_BWM = slate_BWM != PAD
        plan_ND, item_N = plan_BWMD[is_item_BWM], slate_BWM[is_item_BWM].long()
        log_probs = torch.zeros((*slate_BWM.shape, self.num_levels), device=plan_ND.device)
        if self.decoder is not None:
            log_probs[is_item_BWM] = self.decoder.log_probs(
                plan_ND, self.items.codes(item_N), self.items
            )
        elif self.head is not None:
            logits_NV = self.head.logits(plan_ND, self.items).float()
            log_probs[is_item_BWM] = -F.cross_entropy(logits_NV, item_N, reduction="none")[:, None]
        return log_probs

    def rows_at_once(self, queries: Queries, k: int, num_candidates: int) -> int:
        """Rows whose attention scores, and whose beams' logits, fit into `CHUNK_CELLS`."""
        places = k if self.to_planner is not None else 1
        width = max(k, self.config.beam_width)
        cells = width * max(2 * self.config.width, *self.level_sizes)
        if self.decoder is None:
            cells = len(self.codes_VQ)
        fitting = rows_within(CHUNK_CELLS, places * cells)
        return min(super().rows_at_once(queries, k, num_candidates), fitting)

    def say(
        self,
        read: Read,
        k: int,
        seen_BE: Tensor,
        *,
        distinct: bool = True,
        trie: CodeTrie | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Slates of k items by GSBI: items [B, k] and the log-probability of each one's codes."""
        memory, trie = self.backbone.reserve(read.memory, k), trie or self.trie
        search: dict[str, Any] = {
            "num_rows": len(read.lengths_B),
            "num_items": k,
            "beam_width": self.config.beam_width,
            "seen_BE": seen_BE,
            "normalisation": self.config.normalisation,
            "distinct": distinct,
        }
        rescores = self.config.learns == "both"
        if self.to_planner is not None:
            plan_BkD = self._imagined(read, memory, k, in_place=True)
            slates: tuple[Tensor, Tensor] = all_at_once(
                lambda rows: self.step(plan_BkD[rows].flatten(0, 1)),
                trie,
                rescore=(lambda rows, items: self.weighed(plan_BkD[rows], items))
                if rescores
                else None,
                **search,
            )
        else:
            places = self._listener(read, memory)
            slates = one_by_one(
                places, trie, rescore=places.weighed if rescores else None, **search
            )
        return slates

    def step(self, plan_RD: Tensor) -> StepFunction:
        """The step of a beam search for the item of each place."""
        if self.decoder is not None:
            return self.decoder.step(plan_RD, self.items)
        assert self.head is not None  # the config has one of the two
        logits_R1V = self.head.logits(plan_RD, self.items)[:, None]
        return lambda prefix_RWl, parent_RW: logits_R1V

    def weighed(self, plan: Tensor, items: Tensor) -> Tensor:
        """η log P(item | plan) up to a constant of the place.

        Args:
            plan: places, [..., D].
            items: some for each place, [..., W]; item 0's in the place of none.
        """
        assert self.head is not None  # who calls has learnt both
        logits = directions(self.items.of(items)) @ self.head.query(plan)[..., None]
        return logits.squeeze(-1).float() * self.config.item_weight

    def _imagined(
        self, read: Read, memory: Memory, num_places: int, *, in_place: bool = False
    ) -> Tensor:
        """Places of which each is told only what the place before it is like, [B, M, D].

        `memory` is that of `read`; with room for the places, which is used up, if `in_place`.
        """
        assert self.to_planner is not None  # who calls has asked
        told_B1D, places = self.slate_start(len(read.lengths_B), 1), []
        for place in range(num_places):
            plan_B1D, memory = self.backbone.append(
                memory, read.lengths_B + place, told_B1D, read.asked_at_B, in_place=in_place
            )
            places.append(plan_B1D)
            told_B1D = self.to_planner(plan_B1D)
        return torch.cat(places, 1)

    def _listener(self, read: Read, memory: Memory) -> "Places":
        return Places(self, read, memory)


class Places:
    """The places of slates, of which each is planned when it is told what was chosen before it.

    Args:
        model: the planner.
        read: what the slates follow.
        memory: that of `read` with room for the places; it is used up.
    """

    def __init__(self, model: Higr, read: Read, memory: Memory) -> None:
        self._model, self._read, self._memory = model, read, memory
        self._next = 0
        self._plan_BD = torch.empty(0)

    def __call__(self, chosen_B: Tensor | None) -> StepFunction:
        """Plans the next place, for which it gives the step of a search."""
        model, read = self._model, self._read
        told_BD = model.slate_start(len(read.lengths_B))
        if chosen_B is not None:
            told_BD = model.item_vectors(chosen_B)
        plan_B1D, self._memory = model.backbone.append(
            self._memory,
            read.lengths_B + self._next,
            told_BD[:, None],
            read.asked_at_B,
            in_place=True,
        )
        self._next += 1
        self._plan_BD = plan_B1D[:, 0]
        return model.step(self._plan_BD)

    def weighed(self, item_BW: Tensor) -> Tensor:
        """`Higr.weighed` of items for the place that was planned last."""
        return self._model.weighed(self._plan_BD, item_BW)
