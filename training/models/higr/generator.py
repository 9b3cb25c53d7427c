"""The light item generator: from what the planner says of a place to the codes of an item.

The planner's vector stands where a sequence would begin (BOS); the codes follow, each seeing only
those of its own item.

    P( s^q | s^<q, p ) = softmax( W_q · G( proj(p), s^1 … s^(q-1) ) )

R rows (an item to be said each), Q levels, K codes of a level, D width, W beams, N beams of all
rows, l codes so far.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.backbones import make_backbone
from training.decoding.beam import StepFunction
from training.settings.higr import HigrConfig


class ItemGenerator(nn.Module):
    """A few layers and a head per level; one set of weights for every place it serves."""

    def __init__(self, config: HigrConfig, level_sizes: tuple[int, ...]) -> None:
        super().__init__()
        # Codes have no times, of which an hstu would have weights that never learn.
        self.backbone = make_backbone(
            "llama",
            width=config.width,
            num_layers=config.generator_layers,
            num_heads=config.num_heads,
            dropout=config.dropout,
            max_positions=len(level_sizes),
            hidden_width=config.hidden_width,
        )
        self.heads = nn.ModuleList(nn.Linear(config.width, K, bias=False) for K in level_sizes)

    def log_probs(self, begin_RD: Tensor, x_RQD: Tensor, codes_RQ: Tensor) -> Tensor:
        """Log-probability of each code given those before it, nats, float32, [R, Q].

        Args:
            begin_RD: where each item begins.
            x_RQD: embeddings of its codes.
            codes_RQ: the codes, int64.
        """
        y_RQD = self.backbone(torch.cat([begin_RD[:, None], x_RQD[:, :-1]], 1))
        found = [
            -F.cross_entropy(head(y_RQD[:, q]).float(), codes_RQ[:, q], reduction="none")
            for q, head in enumerate(self.heads)
        ]
        return torch.stack(found, 1)

    def open(self, begin_RD: Tensor, code_vectors: Callable[[Tensor], Tensor]) -> StepFunction:
        """The step of a beam search for the items that begin so.

        Args:
            begin_RD: where each item begins.
            code_vectors: from codes [R, W, l] to their embeddings [R, W, l, D].
        Returns:
            A step for one search: it keeps what it has run.
        """
        R = len(begin_RD)
        y_R1D, memory = self.backbone.remember(begin_RD[:, None])
        memory = self.backbone.reserve(memory, len(self.heads) - 1)
        first_R1 = torch.arange(R, device=begin_RD.device)[:, None]
        width = 1

        def step(prefix_RWl: Tensor, parent_RW: Tensor) -> Tensor:
            nonlocal memory, width
            level = prefix_RWl.shape[-1]
            if level == 0:
                return self.heads[0](y_R1D)
            # A beam's cache is a few codes long: to keep it costs less than to run them again.
            row_N = (first_R1 * width + parent_RW).flatten()
            memory, width = self.backbone.select(memory, row_N), prefix_RWl.shape[1]
            x_N1D = code_vectors(prefix_RWl)[:, :, -1:].flatten(0, 1)
            y_N1D, memory = self.backbone.append(
                memory, torch.full_like(row_N, level), x_N1D, in_place=True
            )
            return self.heads[level](y_N1D.view(R, width, -1))

        return step
