"""What groupce goes through: batches of impressions, and what its answers to others are worth.

N impressions, B of a batch, U users.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from training.fit.distributed import Processes
from training.fit.first_weights import bytes_of
from training.fit.fitting import Fitting, LoopSettings
from training.fit.objective import Curves
from training.fit.validation import deciding, feedback_points
from training.models.groupce.batches import ImpressionBatch, Rows, order_of
from training.models.groupce.model import Groupce
from training.models.groupce.ranking_loss import click

ROWS = 8192
"""Impressions that are validated at a time."""


class ImpressionObjective:
    """Every impression is learnt once an epoch; whole users validate.

    Args:
        model: whose codes say who comes together, where batches are made by prefix.
        train: rows.
        validation: rows.
        settings: of the loop.
        first_weights: what the fit begins with; they determine losses, too.
    """

    def __init__(
        self,
        model: Groupce,
        train: Rows,
        validation: Rows,
        settings: LoopSettings,
        first_weights: Path | None = None,
    ) -> None:
        self.model, self.train, self.settings = model, train, settings
        self.validation = validation
        self.first_weights = first_weights

    def rows_per_step(self, world_size: int) -> int:
        """B, of all processes together."""
        return self.settings.positions_per_step(len(self.train), world_size)

    def num_batches(self, epoch: int, *, world_size: int) -> int:
        """Steps of an epoch."""
        return -(-len(self.train) // self.rows_per_step(world_size))

    def batches(
        self, epoch: int, *, first_step: int, rank: int, world_size: int
    ) -> Iterator[ImpressionBatch]:
        """Batches of training impressions.

        A process takes a stretch of each batch, so that who comes together stays together.
        """
        order_N = order_of(self.settings.seed, epoch, len(self.train), self._groups())
        size = self.rows_per_step(world_size)
        for start in range(first_step * size, len(order_N), size):
            rows = order_N[start : start + size]
            own = np.array_split(rows, world_size)[rank]
            yield self.train.batch(own, len(rows))

    def _groups(self) -> np.ndarray | None:
        """Rows of one number come together; None: any may."""
        how, user_N = self.model.config.batches, self.train.impressions.user
        if how == "by_user":
            return user_N
        numbers_U = None
        if how == "by_prefix" and self.model.roster is not None:
            numbers_U = self.model.roster.numbers()
        return None if numbers_U is None else numbers_U[user_N]

    @torch.inference_mode()
    def validate(self, model: nn.Module, fitting: Fitting, group: Processes) -> dict[str, float]:
        """What order and probabilities of whole validation users are worth.

        Returns:
            What `feedback_points` says, `validation_copc`, clicks said over clicks, and what
            decides; nothing without rows.
        """
        rows = chosen_users(self.validation, fitting.settings.max_validation_targets)
        if not len(rows):
            return {}
        model.eval()
        said = [np.empty(0)]
        for batch in rows.in_order(ROWS, group.world_size, group.rank):
            on_device = batch.to(group.device)
            with group.mixed_precision():
                network = model.backbone
                item_BD = network.item(
                    on_device.item_BF, on_device.context_BF, on_device.history_BLF
                )
                logit_B = click(network(network.user(on_device.user_BF), item_BD).float())
            said.append(logit_B.double().sigmoid().cpu().numpy())
        said_N, label_N = group.gather(np.concatenate(said)), rows.label_N
        points = feedback_points(said_N, label_N, rows.impressions.user)
        points["validation_copc"] = float(said_N.sum() / max(1, label_N.sum()))
        metric = self.settings.validation_metric
        return points | deciding(points, "logloss" if metric == "loss" else metric)

    def objection(self, curves: Curves) -> str:
        """None: what goes wrong with groups is an alarm, and the best epoch is by validation."""
        return ""

    def content(self) -> Iterator[np.ndarray]:
        """Codes, users, times and labels of what trains and validates; histories where read."""
        for rows in (self.train, self.validation):
            of = rows.impressions
            yield from (of.user, of.time, rows.label_N, of.user_NF, of.item_NF, of.context_NF)
            if rows.histories is not None:
                yield from (rows.histories.items, rows.end_N)
        yield from bytes_of(self.first_weights)


def chosen_users(rows: Rows, most: int) -> Rows:
    """The rows of whole users, who are drawn once and for all, up to so many; at least one user."""
    if len(rows) <= most:
        return rows
    users, user_N, count_U = np.unique(
        rows.impressions.user, return_inverse=True, return_counts=True
    )
    drawn_U = np.random.default_rng(0).permutation(len(users))
    num_kept = max(1, int((np.cumsum(count_U[drawn_U]) <= most).sum()))
    is_kept_U = np.zeros(len(users), dtype=bool)
    is_kept_U[drawn_U[:num_kept]] = True
    return rows.where(is_kept_U[user_N])
