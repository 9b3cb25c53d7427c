"""The ranking loss of a batch: which rows are compared, by what, and what is watched of it.

B rows, Q levels of groups: one a code, or one.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from training.losses.listwise import Groups, hardness, jrc, listce, pairwise, softmax_ce
from training.losses.uncertainty import UncertaintyWeights
from training.models.groupce.batches import ImpressionBatch
from training.models.groupce.user_codes import prefixes
from training.settings.groupce import GroupceConfig

DENSE_GROUPS = 1 << 16
"""Up to so many possible groups each has a number of its own; more are counted."""
OF_USERS = ("pairwise_user", "listce_user", "jrc")
"""Losses whose groups are users; of the others, but for groupce, the batch is one group."""
WATCHED = ("rows", "informative", "groups", "users", "median", "hardness", "loss", "weight")
"""Sums a level over steps: rows, and those in groups with both labels; such groups, and their
users; and over steps, the median rows of a group, hardness, loss and weight."""


class RankingLoss(nn.Module):
    """A loss for each level of groups, weighed by uncertainty.

    Args:
        config: says which; one with a ranking loss.
    """

    def __init__(self, config: GroupceConfig) -> None:
        super().__init__()
        self.config = config
        self.num_levels = config.levels if config.has_codes else 1
        self.weights = UncertaintyWeights(self.num_levels)
        self._sums = torch.zeros(self.num_levels, len(WATCHED))
        self._steps = 0

    def forward(self, logits_B: Tensor, batch: ImpressionBatch, codes_BQ: Tensor | None) -> Tensor:
        """The weighted losses of a batch, a number.

        Args:
            logits_B: log-odds of a positive; of `jrc` of both labels, [B, 2].
            batch: the rows.
            codes_BQ: codes of their users, of groupce.
        """
        levels = self.groups(batch, codes_BQ)
        losses_Q = torch.stack([self._loss(logits_B, groups) for groups in levels])
        is_there_Q = torch.stack([groups.is_mixed_G.any() for groups in levels])
        total = self.weights(losses_Q, is_there_Q)
        self._note(logits_B if logits_B.dim() == 1 else click(logits_B), batch, levels, losses_Q)
        return total

    def groups(self, batch: ImpressionBatch, codes_BQ: Tensor | None) -> list[Groups]:
        """Who is compared with whom, level by level."""
        config, labels_B = self.config, batch.labels_B
        if config.has_codes:
            assert codes_BQ is not None, "groups are made of users' codes"
            numbered = (
                prefixes(codes_BQ, config.codes, depth, DENSE_GROUPS)
                for depth in range(1, config.levels + 1)
            )
            return [Groups.of(labels_B, number_B, count) for number_B, count in numbered]
        if config.ranking_loss in OF_USERS:
            return [Groups.of(labels_B, batch.place_B, batch.num_users)]
        return [Groups.one(labels_B)]

    def _loss(self, logits_B: Tensor, groups: Groups) -> Tensor:
        loss, norm = self.config.ranking_loss, self.config.listce_norm
        if loss == "jrc":
            return jrc(logits_B, groups)
        if loss in ("pairwise_batch", "pairwise_user"):
            return pairwise(logits_B, groups)
        return (softmax_ce if loss == "softmax" else listce)(logits_B, groups, norm=norm)

    @torch.no_grad()
    def _note(
        self, logits_B: Tensor, batch: ImpressionBatch, levels: list[Groups], losses_Q: Tensor
    ) -> None:
        """Add a step to what is watched."""
        rows = logits_B.new_tensor(float(len(batch)))
        weights_Q = (-2 * self.weights.log_sigma_Q).exp() / 2
        noted = []
        for groups, loss, weight in zip(levels, losses_Q, weights_Q, strict=True):
            is_mixed_G = groups.is_mixed_G
            users_G = groups.sum(batch.is_first_B.float())
            size_G = groups.rows_G.float()
            noted.append(
                torch.stack(
                    [
                        rows,
                        (size_G * is_mixed_G).sum(),
                        is_mixed_G.sum().float(),
                        (users_G * is_mixed_G).sum(),
                        size_G.where(size_G > 0, torch.nan).nanmedian().nan_to_num(),
                        hardness(logits_B, groups),
                        loss.float(),
                        weight.float(),
                    ]
                )
            )
        self._sums = self._sums.to(logits_B.device) + torch.stack(noted)
        self._steps += 1

    def state(self) -> dict[str, Tensor]:
        """What has been watched of the epoch."""
        return {"sums": self._sums, "steps": torch.tensor(self._steps)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._sums, self._steps = state["sums"].clone(), int(state["steps"])

    def end_epoch(self, total: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """Points of the curves; by level from 1.

        Returns:
            `informative_share_l` of the rows, which lie in groups with both labels;
            `median_group_l`, rows of a group; `users_per_group_l` of groups with both labels: a
            group of one is a list within a user; `hardness_l` (`training.losses.listwise`);
            `loss_level_l` in nats, and its `weight_level_l`, 1 / (2 σ²).
        """
        own_QW = np.vstack([self._sums.cpu().numpy(), np.full(len(WATCHED), self._steps)])
        summed_QW = total(own_QW)
        self._sums, self._steps = torch.zeros_like(self._sums), 0
        steps = max(1.0, float(summed_QW[-1, 0]))
        points: dict[str, float] = {}
        for level, sums in enumerate(summed_QW[:-1], start=1):
            of = dict(zip(WATCHED, sums.tolist(), strict=True))
            points |= {
                f"informative_share_{level}": of["informative"] / max(1.0, of["rows"]),
                f"median_group_{level}": of["median"] / steps,
                f"users_per_group_{level}": of["users"] / max(1.0, of["groups"]),
                f"hardness_{level}": of["hardness"] / steps,
                f"loss_level_{level}": of["loss"] / steps,
                f"weight_level_{level}": of["weight"] / steps,
            }
        return points


def click(logits: Tensor) -> Tensor:
    """Log-odds of a positive from logits of one or of both labels; the last axis is gone."""
    return logits[..., -1] - logits[..., 0] if logits.shape[-1] == 2 else logits[..., 0]


def expected_informative_share(rows: int, groups: int, positive_share: float) -> float:
    """Share of a batch's rows in groups with both labels, were groups equally large.

    docs/mechanics.md, Sparse groups.

    Example:
        >>> [round(expected_informative_share(8192, 16**depth, 0.3), 2) for depth in (1, 2, 3, 4)]
        [1.0, 1.0, 0.54, 0.05]
    """
    other, pi = rows - 1, positive_share
    meets_negative = 1 - (1 - (1 - pi) / groups) ** other
    meets_positive = 1 - (1 - pi / groups) ** other
    return pi * meets_negative + (1 - pi) * meets_positive
