"""Both phases by themselves: the second learns from events that the first has not learnt.

Of an event that it was fitted on the first phase says what came next with far too much certainty,
so that the second would learn to trust it. So

    1. the first phase learns each person's events but the last of them;
    2. the second learns to put in order what the first, held fixed, answers in the place of those,
       to the same questions as it is asked later;
    3. the first goes on over all events for a little while, the second held fixed.

T events that the first has left out, E events that train.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

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
LAST_EPOCHS, LAST_LEARNING_RATE_SHARE = 3, 0.1
"""In which the first phase goes on, as from the weights of a day before."""


class LeftOut(NextItems):
    """The questions that some training events answer; there is no epoch to choose by validation."""

    def __init__(self, split: Split, left_out: Targets, settings: LoopSettings) -> None:
        super().__init__(split, settings, 1)
        self.left_out = left_out

    def num_batches(self, epoch: int, *, world_size: int) -> int:
        """Steps of an epoch."""
        return self.plan(world_size).num_batches(self.split.train, epoch, only=self.left_out)

    def batches(
        self, epoch: int, *, first_step: int, rank: int, world_size: int
    ) -> Iterator[Batch]:
        """The questions, each with the event that answers it."""
        return self.plan(world_size).batches(
            self.split.train,
            epoch,
            only=self.left_out,
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
        yield self.left_out.events


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
    model: Rankgr,
    objective_of: Callable[[Split], NextItems],
    lists_of: Callable[[Histories], EventLists | None],
    split: Split,
    fitting: Fitting,
) -> FitReport:
    """Train a model in place, each phase by itself.

    Args:
        model: with its first weights.
        objective_of: what the first phase goes through of a split.
        lists_of: the preference lists of training events, over before what is not among them.
        split: whose last training events the first phase leaves out at first.
        fitting: of the first phase.
    Returns:
        The report of the first phase's epochs, the last ones at the end; `refinement_loss` in its
        facts is of each epoch of the second.
    Raises:
        ValueError: the share leaves nobody an event.
    """
    settings = fitting.settings
    is_last_E = last_events(split.train, model.config.refinement_share)
    if not is_last_E.any():
        raise ValueError(
            f"refinement_share is {model.config.refinement_share}, and leaves out none of"
            f" {split.train.num_events} events of {split.train.num_users} people: raise it, or set"
            " it to 0"
        )
    early = replace(split, train=split.train.where(~is_last_E))
    model.learn("first")
    model.prepare(lists_of(early.train))
    first = fit_objective(model, objective_of(early), _below(fitting, "first"))

    left_out = Targets(split.train, split.train.users[is_last_E], split.train.positions[is_last_E])
    model.prepare(lists_of(split.train))
    model.learn("second", offered(model, left_out, fitting))
    alone = replace(
        settings,
        max_epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        tokens_per_batch=QUESTIONS * (settings.max_history + 1),
    )
    objective = LeftOut(split, left_out, alone)
    second = fit_objective(model, objective, replace(_below(fitting, "second"), settings=alone))

    model.learn("first")
    last = replace(
        settings,
        max_epochs=LAST_EPOCHS,
        learning_rate=settings.learning_rate * LAST_LEARNING_RATE_SHARE,
    )
    going_on = replace(_below(fitting, "last"), settings=last)
    report = fit_objective(model, objective_of(split), going_on)
    model.requires_grad_(True)
    return _one_report(first, second, report)


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
    """With checkpoints in a folder of their own; only a model's own weights are gone on with."""
    folder: Path | None = fitting.checkpoints
    return replace(fitting, checkpoints=folder and folder / name, first_weights=None)


def _one_report(first: FitReport, second: FitReport, last: FitReport) -> FitReport:
    before = len(first.epochs)
    epochs = [*first.epochs, *({**one, "epoch": before + one["epoch"]} for one in last.epochs)]
    facts = {
        **last.facts,
        **{name: first.facts[name] for name in ("settings", "stopped_because")},
        "best_epoch": before + last.facts["best_epoch"],
        "alarms": [*first.facts["alarms"], *last.facts["alarms"]],
        "refinement_loss": [epoch["loss"] for epoch in second.epochs],
    }
    return FitReport(epochs, facts)
