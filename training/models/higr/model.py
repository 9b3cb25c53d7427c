"""higr: slates in two steps, first what each place is to be like, then which items.

After the summary of HiGR (arXiv:2512.24787; docs/mechanics.md, Slates). A context is read by a
causal stack. The planner is the same stack going on: its places follow the context's events, so
that each place sees the events and the places before it (the context is the planner's prefix), with
no weights of its own for that and with any backbone.

    p_m = Planner( slate, f_1 … f_(m-1) ; context )
    f_j = vector of item j                   (planner_feedback = item)
        = p_j                                (planner_feedback = latent)

An item is said by a light generator that begins with proj(p_m) (`generator`), to which the context
is added (`begin`). In training all items
of all places are said in one pass; so are the places, but for `latent`, whose places are made of
each other and come one by one.

B rows, L events, W slates of a row, M places, Q levels, D width, V items, N targets, k places
asked for.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.backbones.interface import Memory
from training.data.queries import PAD
from training.data.slate_batches import SlateBatch
from training.decoding.beam import StepFunction
from training.decoding.slate import NextItem, all_at_once, one_by_one
from training.decoding.trie import CodeTrie
from training.models.higr.generator import ItemGenerator
from training.models.slate.model import Read, SlateModel
from training.settings.higr import HigrConfig


class Higr(SlateModel):
    """A heavy planner over places, and light generators of items."""

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
        count = config.num_generators if config.generators == "separate" else 1
        self.generators = nn.ModuleList(ItemGenerator(config, level_sizes) for _ in range(count))
        self.to_generator = nn.Linear(width, width)
        if config.context_in_generator:
            self.context_to_generator = nn.Linear(width, width)
            # Shut at first: the reader hears of the generators by the planner, as of everything.
            self.context_gate = nn.Parameter(torch.zeros(()))
        self.to_planner = nn.Linear(width, width) if config.planner_feedback == "latent" else None

    @staticmethod
    def depth_and_room(config: Any, num_levels: int) -> tuple[int, int]:
        """Blocks of the backbone, and the positions of the longest slate."""
        return config.planner_layers, config.longest_slate

    def slate_log_probs(self, batch: SlateBatch, slate_BWM: Tensor) -> Tensor:
        """Log-probability of every code of W slates for each context, nats, [B, W, M, Q]."""
        plan_BWMD, context_BD = self.plan(batch, slate_BWM)
        return self.item_log_probs(plan_BWMD, context_BD, slate_BWM)

    def plan(self, batch: SlateBatch, slate_BWM: Tensor) -> tuple[Tensor, Tensor]:
        """What each place of the slates is to be like, [B, W, M, D]; the context, [B, D]."""
        read = self.remember(batch)
        B, W, M = slate_BWM.shape
        if self.to_planner is not None:
            plan_BMD = self._imagined(read, read.memory, M)
            return plan_BMD[:, None].expand(-1, W, -1, -1), read.context_BD
        start_BW1D = self.slate_start(B, W, 1)
        told_BWMD = torch.cat([start_BW1D, self.item_vectors(slate_BWM[:, :, :-1])], 2)
        told_BWMD = self.dropout(told_BWMD)
        plan_BWMD = self.backbone.extend(read.memory, read.lengths_B, told_BWMD, read.asked_at_B)
        return plan_BWMD, read.context_BD

    def item_log_probs(self, plan_BWMD: Tensor, context_BD: Tensor, slate_BWM: Tensor) -> Tensor:
        """What the generators say to slates at these places, [B, W, M, Q]; 0 beside PAD.

        Apart from `plan`, so that a plan can be put in another's place to see what it is worth.
        """
        is_item_BWM = slate_BWM != PAD
        begin_ND = self.begin(plan_BWMD, context_BD[:, None])[is_item_BWM]
        codes_NQ = self.items.codes(slate_BWM[is_item_BWM])
        x_NQD = self.dropout(self.code_vectors(codes_NQ))
        found = torch.zeros((*is_item_BWM.shape, self.num_levels), device=codes_NQ.device)
        if len(self.generators) == 1:
            found[is_item_BWM] = self.generators[0].log_probs(begin_ND, x_NQD, codes_NQ)
            return found
        generator_N = self._generator_of(is_item_BWM.nonzero()[:, 2])
        found_NQ = torch.zeros(codes_NQ.shape, device=codes_NQ.device)
        for number, generator in enumerate(self.generators):
            own = (generator_N == number).nonzero()[:, 0]
            found_NQ[own] = generator.log_probs(begin_ND[own], x_NQD[own], codes_NQ[own])
        found[is_item_BWM] = found_NQ
        return found

    def begin(self, plan: Tensor, context: Tensor) -> Tensor:
        """Where the generator of each place begins, the shape of `plan`, [..., M, D].

        What is said of the context stands at every place of a slate, so that gradients of all their
        codes add up in one vector. Of length 1 in the mean square and behind a gate it can't run
        away: without both, steps enlarge what rounding does (`sidereal bench slate_fork`).

        Args:
            plan: the places of a slate.
            context: what it follows, [..., D].
        """
        begin = self.to_generator(plan)
        if self.config.context_in_generator:
            told = self.context_to_generator(context)
            told = F.rms_norm(told, told.shape[-1:], eps=1e-6)
            begin = begin + self.context_gate * told[..., None, :]
        return begin

    def say(
        self,
        read: Read,
        k: int,
        seen_BE: Tensor,
        *,
        distinct: bool = True,
        trie: CodeTrie | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Slates of k items by GSBI: items [B, k] and the log-probability of each."""
        memory, trie = self.backbone.reserve(read.memory, k), trie or self.trie
        search: dict[str, Any] = {
            "num_rows": len(read.lengths_B),
            "num_items": k,
            "beam_width": self.config.beam_width,
            "seen_BE": seen_BE,
            "normalisation": self.config.normalisation,
            "distinct": distinct,
        }
        if self.to_planner is not None:
            plan_BkD = self._imagined(read, memory, k, in_place=True)
            begin_BkD = self.begin(plan_BkD, read.context_BD)
            slates: tuple[Tensor, Tensor] = all_at_once(
                lambda rows: self._step(begin_BkD[rows], 0), trie, **search
            )
        else:
            slates = one_by_one(self._listener(read, memory), trie, **search)
        return slates

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

    def _listener(self, read: Read, memory: Memory) -> NextItem:
        """Plans the next place when told what was chosen; gives the generator's step for it.

        `memory` is that of `read` with room for the places, and is used up.
        """
        place = 0

        def next_item(chosen_B: Tensor | None) -> StepFunction:
            nonlocal memory, place
            told_BD = self.slate_start(len(read.lengths_B))
            if chosen_B is not None:
                told_BD = self.item_vectors(chosen_B)
            plan_B1D, memory = self.backbone.append(
                memory, read.lengths_B + place, told_BD[:, None], read.asked_at_B, in_place=True
            )
            place += 1
            return self._step(self.begin(plan_B1D, read.context_BD), place - 1)

        return next_item

    def _step(self, begin_BMD: Tensor, first_place: int) -> StepFunction:
        """The step of a beam search over B x M rows, places of a row beside each other."""
        if len(self.generators) == 1:
            only_step: StepFunction = self.generators[0].open(
                begin_BMD.flatten(0, 1), self.code_vectors
            )
            return only_step
        B, M = begin_BMD.shape[:2]
        numbers = [min(first_place + m, len(self.generators) - 1) for m in range(M)]
        steps = [
            self.generators[number].open(begin_BMD[:, m], self.code_vectors)
            for m, number in enumerate(numbers)
        ]

        def step(prefix_RWl: Tensor, parent_RW: Tensor) -> Tensor:
            prefixes = prefix_RWl.unflatten(0, (B, M)).unbind(1)
            parents = parent_RW.unflatten(0, (B, M)).unbind(1)
            found = [each(*told) for each, *told in zip(steps, prefixes, parents, strict=True)]
            return torch.stack(found, 1).flatten(0, 1)

        return step

    def _generator_of(self, place: Tensor) -> Tensor:
        """The number of the generator that serves a place, any shape."""
        return place.clamp(max=len(self.generators) - 1)
