"""higr: slates in two steps, first what each place is to be like, then which items.

After the summary of HiGR (arXiv:2512.24787; MECHANICS §3.3). A context is read by a causal stack.
The planner is the same stack going on: its places follow the context's events, so that each place
sees the events and the places before it (the context is the planner's prefix), with no weights of
its own for that and with any backbone.

    p_m = Planner( slate, f_1 … f_(m-1) ; context )
    f_j = pooled code embeddings of item j   (planner_feedback = item)
        = p_j                                (planner_feedback = latent)

An item is said by a light generator that begins with proj(p_m) (`generator`). In training all items
of all places are said in one pass; so are the places, but for `latent`, whose places are made of
each other and come one by one.

B rows, L events, M places, Q levels, D width, V items, N targets, k places asked for.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from training.backbones import make_backbone
from training.data.slate_batches import SlateBatch
from training.decoding.beam import StepFunction
from training.decoding.slate import all_at_once, one_by_one
from training.models.higr.config import HigrConfig
from training.models.higr.generator import ItemGenerator
from training.models.slate_model import SlateModel


class Higr(SlateModel):
    """A heavy planner over places, and light generators of items."""

    family = "higr"

    def __init__(self, config: HigrConfig, codes_VQ: Tensor, level_sizes: tuple[int, ...]) -> None:
        super().__init__(config, codes_VQ, level_sizes)
        width = config.width
        self.backbone = make_backbone(
            config.backbone,
            width=width,
            num_layers=config.planner_layers,
            num_heads=config.num_heads,
            dropout=config.dropout,
            max_positions=config.max_history + 1 + config.longest_slate,
            hidden_width=config.hidden_width,
        )
        count = config.num_generators if config.generators == "separate" else 1
        self.generators = nn.ModuleList(ItemGenerator(config, level_sizes) for _ in range(count))
        self.to_generator = nn.Linear(width, width)
        self.context_to_generator = nn.Linear(width, width) if config.context_in_generator else None
        self.to_planner = nn.Linear(width, width) if config.planner_feedback == "latent" else None

    def token_log_probs(self, batch: SlateBatch) -> Tensor:
        """Log-probability of every code of the batch's slates, nats, [B, M, Q]; 0 beside PAD."""
        plan_BMD, context_BD = self.plan(batch)
        return self.item_log_probs(plan_BMD, context_BD, batch)

    def plan(self, batch: SlateBatch) -> tuple[Tensor, Tensor]:
        """What each place of the batch's slates is to be like, [B, M, D]; the context, [B, D]."""
        x_BTD, memory, length_B = self.remember(batch)
        context_BD = x_BTD[torch.arange(len(x_BTD), device=x_BTD.device), length_B - 1]
        if self.to_planner is not None:
            num_places = batch.slate_BM.shape[1]
            return self._imagined(memory, length_B, batch, num_places), context_BD
        start_B1D = self.slate_D.expand(len(x_BTD), 1, -1)
        told_BMD = torch.cat([start_B1D, self.item_vectors(batch.slate_BM[:, :-1])], 1)
        told_BMD = self.dropout(told_BMD)
        plan_B1MD = self.backbone.extend(memory, length_B, told_BMD[:, None], batch.asked_at_B)
        return plan_B1MD[:, 0], context_BD

    def item_log_probs(self, plan_BMD: Tensor, context_BD: Tensor, batch: SlateBatch) -> Tensor:
        """What the generators say to the batch's slates at these places, [B, M, Q]; 0 beside PAD.

        Apart from `plan`, so that a plan can be put in another's place to see what it is worth.
        """
        is_target_BM = batch.is_target_BM
        begin_ND = self.begin(plan_BMD, context_BD)[is_target_BM]
        codes_NQ = self.codes(batch.slate_BM[is_target_BM])
        x_NQD = self.dropout(self.code_vectors(codes_NQ))
        found_BMQ = plan_BMD.new_zeros((*is_target_BM.shape, self.num_levels), dtype=torch.float32)
        if len(self.generators) == 1:
            found_BMQ[is_target_BM] = self.generators[0].log_probs(begin_ND, x_NQD, codes_NQ)
            return found_BMQ
        generator_N = self._generator_of(is_target_BM.nonzero()[:, 1])
        found_NQ = torch.zeros(codes_NQ.shape, device=codes_NQ.device)
        for number, generator in enumerate(self.generators):
            own = (generator_N == number).nonzero()[:, 0]
            found_NQ[own] = generator.log_probs(begin_ND[own], x_NQD[own], codes_NQ[own])
        found_BMQ[is_target_BM] = found_NQ
        return found_BMQ

    def begin(self, plan_BMD: Tensor, context_BD: Tensor) -> Tensor:
        """Where the generator of each place begins, [B, M, D]."""
        begin_BMD = self.to_generator(plan_BMD)
        if self.context_to_generator is not None:
            begin_BMD = begin_BMD + self.context_to_generator(context_BD)[:, None]
        return begin_BMD

    def say(
        self, batch: SlateBatch, k: int, seen_BE: Tensor, *, distinct: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Slates of k items by GSBI: items [B, k] and the log-probability of each."""
        x_BTD, memory, length_B = self.remember(batch)
        context_BD = x_BTD[torch.arange(len(x_BTD), device=x_BTD.device), length_B - 1]
        search: dict[str, Any] = {
            "num_rows": len(x_BTD),
            "num_items": k,
            "beam_width": self.config.beam_width,
            "seen_BE": seen_BE,
            "normalisation": self.config.normalisation,
            "distinct": distinct,
        }
        if self.to_planner is not None:
            plan_BkD = self._imagined(memory, length_B, batch, k)
            step = self._step(self.begin(plan_BkD, context_BD), 0)
            return all_at_once(step, self.trie, **search)
        next_item = self._listener(memory, length_B, batch, context_BD)
        return one_by_one(next_item, self.trie, **search)

    def _imagined(
        self, memory: Any, length_B: Tensor, batch: SlateBatch, num_places: int
    ) -> Tensor:
        """Places of which each is told only what the place before it is like, [B, M, D]."""
        told_B1D, places = self.slate_D.expand(len(length_B), 1, -1), []
        for place in range(num_places):
            plan_B1D, memory = self.backbone.append(
                memory, length_B + place, told_B1D, batch.asked_at_B
            )
            places.append(plan_B1D)
            told_B1D = self.to_planner(plan_B1D)
        return torch.cat(places, 1)

    def _listener(
        self, memory: Any, length_B: Tensor, batch: SlateBatch, context_BD: Tensor
    ) -> Callable[[Tensor | None], StepFunction]:
        """Plans the next place when told what was chosen; gives the generator's step for it."""
        place = 0

        def next_item(chosen_B: Tensor | None) -> StepFunction:
            nonlocal memory, place
            told_BD = self.slate_D.expand(len(length_B), -1)
            if chosen_B is not None:
                told_BD = self.item_vectors(chosen_B)
            plan_B1D, memory = self.backbone.append(
                memory, length_B + place, told_BD[:, None], batch.asked_at_B
            )
            place += 1
            return self._step(self.begin(plan_B1D, context_BD), place - 1)

        return next_item

    def _step(self, begin_BMD: Tensor, first_place: int) -> StepFunction:
        """The step of a beam search over B x M rows, places of a row beside each other."""
        if len(self.generators) == 1:
            return self.generators[0].open(begin_BMD.flatten(0, 1), self.code_vectors)
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
