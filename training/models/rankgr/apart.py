"""Both phases by themselves: the first learns, then the second learns what the first answers.

    1. the first phase learns all events;
    2. it is held fixed, and the second learns to put in order what the first answers in the place
       of each person's last training events, to the same questions as it is asked later: after the
       history alone, without dropout, and with everything that was seen left out.

T events that are asked for, E events that train.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from training import inference
from training.data.batches import Batch
from training.data.histories import Histories
from training.data.queries import PAD, queries_of
from training.data.splits import Split, Targets
from training.fit.distributed import Processes
from training.fit.fitting import FitReport, Fitting, LoopSettings
from training.fit.loop import fit_objective
from training.fit.objective import NextItems
from training.models.rankgr.contexts import EventLists, Offered
from training.models.rankgr.model import Rankgr

EPOCHS, LEARNING_RATE = 5, 1e-3
"""Of the second phase: a few thousand lists are soon learnt by heart."""
QUESTIONS = 256
"""Of its step; half of them hold what came next."""


class Asked(NextItems):
    """The questions that some training events answer; there is no epoch to choose by validation."""

    def __init__(self, split: Split, asked: Targets, settings: LoopSettings) -> None:
        super().__init__(split, settings, 1)
        self.asked = asked

    def num_batches(self, epoch: int, *, world_size: int) -> int:
        """Steps of an epoch."""
        return self.plan(world_size).num_batches(self.split.train, epoch, only=self.asked)

    def batches(
        self, epoch: int, *, first_step: int, rank: int, world_size: int
    ) -> Iterator[Batch]:
        """The questions, each with the event that answers it."""
        return self.plan(world_size).batches(
            self.split.train,
            epoch,
            only=self.asked,
            first_step=first_step,
            rank=rank,
            world_size=world_size,
        )

    def validate(self, model: nn.Module, fitting: Fitting, group: Processes) -> dict[str, float]:
        """Nothing."""
        return {}

    def content(self) -> Iterator[np.ndarray]:
        """What determines the losses: the events, and which of them are asked for."""
        yield from super().content()
        yield self.asked.events


def last_events(train: Histories, share: float) -> np.ndarray:
    """Marks of each person's last events, bool, [E]: so large a share of them, rounded down.

    Example:
        >>> from datetime import UTC
        >>> none = np.zeros(5)
        >>> two = Histories(np.array(["a", "b"]), np.array([0, 4, 5]), none, none, none)
        >>> last_events(two, 0.5).tolist()
        [False, False, True, True, False]
    """
    kept_U = train.lengths - np.floor(train.lengths * share).astype(np.int64)
    return train.positions >= np.repeat(kept_U, train.lengths)


def fit_apart(
    model: Rankgr, objective: NextItems, listed: EventLists | None, fitting: Fitting
) -> FitReport:
    """Train a model in place, one phase after the other.

    Args:
        model: with its first weights.
        objective: what the first phase goes through.
        listed: the preference lists of the training events.
        fitting: of the first phase.
    Returns:
        The report of the first phase; `refinement_loss` in its facts has the second's epochs.
    Raises:
        ValueError: the share holds no event.
    """
    train, settings = objective.split.train, fitting.settings
    is_last_E = last_events(train, model.config.refinement_share)
    if not is_last_E.any():
        raise ValueError(
            f"refinement_share is {model.config.refinement_share}, and of {train.num_events} events"
            f" of {train.num_users} people that is none: raise it, or set it to 0"
        )
    model.prepare(listed)
    model.learn("first")
    report = fit_objective(model, objective, _below(fitting, "first"))

    asked = Targets(train, train.users[is_last_E], train.positions[is_last_E])
    model.learn("second", offered(model, asked, fitting))
    alone = replace(
        settings,
        max_epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        tokens_per_batch=QUESTIONS * (settings.max_history + 1),
    )
    how = replace(_below(fitting, "second"), settings=alone, first_weights=None)
    second = fit_objective(model, Asked(objective.split, asked, alone), how)
    model.learn("both")
    losses = [epoch["loss"] for epoch in second.epochs]
    return replace(report, facts={**report.facts, "refinement_loss": losses})


@torch.no_grad()
def offered(model: Rankgr, targets: Targets, fitting: Fitting) -> Offered:
    """What the first phase answers in the place of training events, on the model's device."""
    count, tops = model.config.candidates, []
    for queries in queries_of(
        targets, max_history=fitting.settings.max_history, exclude_seen=fitting.exclude_seen
    ):
        for _, state in inference.states(model, queries, k=count):
            tops.append(model.assess(state, count))
    device = model.codes_VQ.device
    items_Tλ = torch.from_numpy(np.concatenate([top.items_Bk for top in tops])).long()
    log_probs_Tλ = torch.from_numpy(np.concatenate([top.scores_Bk for top in tops]))
    place_E = torch.full((targets.histories.num_events,), -1)
    place_E[torch.from_numpy(targets.events)] = torch.arange(len(targets))
    log_probs_Tλ = log_probs_Tλ.masked_fill(items_Tλ == PAD, 0.0)
    return Offered(place_E.to(device), items_Tλ.to(device), log_probs_Tλ.to(device))


def _below(fitting: Fitting, name: str) -> Fitting:
    """With checkpoints in a folder of their own."""
    return replace(fitting, checkpoints=fitting.checkpoints and fitting.checkpoints / name)
