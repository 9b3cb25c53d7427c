"""flat_slate: a slate as one line of codes, each a step of one stack; what HiGR is to beat.

It reads queries as HiGR does, has as many weights, learns the same slates and says them by the
same greedy choice, but there is no plan: every code of every item is a step of the whole stack.

    slate  s_1^1 … s_1^Q  s_2^1 … s_2^Q  …          position t predicts code t + 1

B rows, L events, W slates of a row or beams, M places, Q levels, K codes of a level, D width, N
targets, l codes so far, k places asked for.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.backbones.interface import Memory
from training.data.queries import PAD
from training.data.slate_batches import SlateBatch
from training.decoding.beam import StepFunction
from training.decoding.slate import NextItem, one_by_one
from training.decoding.trie import CodeTrie
from training.models.slate.model import Read, SlateModel
from training.settings.families import FlatSlateConfig


class FlatSlate(SlateModel):
    """One causal stack over the context's events and the slate's codes."""

    family = "flat_slate"

    def __init__(
        self,
        config: FlatSlateConfig,
        codes_VQ: Tensor,
        content_VE: Tensor,
        level_sizes: tuple[int, ...],
    ) -> None:
        super().__init__(config, codes_VQ, content_VE, level_sizes)
        self.heads = nn.ModuleList(nn.Linear(config.width, K, bias=False) for K in level_sizes)

    @staticmethod
    def depth_and_room(config: Any, num_levels: int) -> tuple[int, int]:
        """Blocks of the backbone, and the positions of the longest slate."""
        return config.num_layers, config.longest_slate * num_levels

    def slate_log_probs(self, batch: SlateBatch, slate_BWM: Tensor) -> Tensor:
        """Log-probability of every code of W slates for each context, nats, [B, W, M, Q]."""
        read = self.remember(batch)
        is_item_BWM = slate_BWM != PAD
        codes_BWMQ = self.items.codes(slate_BWM)
        x_BWTD = self.dropout(self.code_vectors(codes_BWMQ)).flatten(2, 3)
        start_BW1D = self.slate_start(*slate_BWM.shape[:2], 1)
        x_BWTD = torch.cat([start_BW1D, x_BWTD[:, :, :-1]], 2)
        y_BWTD = self.backbone.extend(read.memory, read.lengths_B, x_BWTD, read.asked_at_B)
        y_NQD = y_BWTD.unflatten(2, (-1, self.num_levels))[is_item_BWM]
        codes_NQ = codes_BWMQ[is_item_BWM]
        log_probs = [
            -F.cross_entropy(head(y_NQD[:, q]).float(), codes_NQ[:, q], reduction="none")
            for q, head in enumerate(self.heads)
        ]
        found = torch.zeros(codes_BWMQ.shape, device=codes_BWMQ.device)
        found[is_item_BWM] = torch.stack(log_probs, 1)
        return found

    def say(
        self,
        read: Read,
        k: int,
        seen_BE: Tensor,
        *,
        distinct: bool = True,
        trie: CodeTrie | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Slates of k items, greedy over places, a beam inside each; and their log-probability."""
        memory = self.backbone.reserve(read.memory, 1 + k * self.num_levels)
        slates: tuple[Tensor, Tensor] = one_by_one(
            self._listener(read, memory),
            trie or self.trie,
            num_rows=len(read.lengths_B),
            num_items=k,
            beam_width=self.config.beam_width,
            seen_BE=seen_BE,
            normalisation=self.config.normalisation,
            distinct=distinct,
        )
        return slates

    def _listener(self, read: Read, memory: Memory) -> NextItem:
        """Reads what was chosen, all its codes; gives the step for the next item.

        `memory` is that of `read` with room for a start and the codes, and is used up.
        """
        length_B = read.lengths_B

        def next_item(chosen_B: Tensor | None) -> StepFunction:
            nonlocal memory, length_B
            x_BSD = self.slate_start(len(length_B), 1)
            if chosen_B is not None:
                x_BSD = self.code_vectors(self.items.codes(chosen_B))
            y_BSD, memory = self.backbone.append(
                memory, length_B, x_BSD, read.asked_at_B, in_place=True
            )
            length_B = length_B + x_BSD.shape[1]
            return self._step(y_BSD[:, -1:], memory, length_B, read.asked_at_B)

        return next_item

    def _step(
        self, last_B1D: Tensor, memory: Memory, length_B: Tensor, asked_at_B: Tensor
    ) -> StepFunction:
        def step(prefix_BWl: Tensor, parent_BW: Tensor) -> Tensor:
            level = prefix_BWl.shape[-1]
            if level == 0:
                return self.heads[0](last_B1D)
            x_BWlD = self.code_vectors(prefix_BWl)
            y_BWlD = self.backbone.extend(memory, length_B, x_BWlD, asked_at_B)
            return self.heads[level](y_BWlD[:, :, -1])

        return step
