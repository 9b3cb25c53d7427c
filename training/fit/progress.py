"""Where a fit stands, and what its epochs did."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.fit.fitting import LoopSettings

COUNTED = ("loss", "targets", "events", "positions")
"""Of each step: loss in nats, summed; targets; events fed; positions fed, padding included."""
CLEARLY = 2.0
"""Standard errors by which an epoch beats the floor when learning has begun."""
OFTEN_CLIPPED = 0.1
"""Share of steps after the warm-up; more of them, and the clip sets the pace of all learning."""


@dataclass
class Progress:
    """Where a fit stands; JSON-serialisable.

    Attributes:
        epoch: of the next step.
        step: the next step within it.
        done: of the epoch's steps so far, over all processes: `COUNTED`, and seconds; of its steps
            after the warm-up how many there were, and how many were clipped; the gradients' norms.
        curves: of the finished epochs.
        best_epoch: by validation; -1 before the first.
        best_value: its validation; larger is better.
        last_idle: the last epoch before learning began, in which patience isn't lost.
        has_begun: whether learning has: the warm-up is over, and an epoch clearly beat the floor.
        num_averaged: steps that the average of the weights has taken in.
        settled_steps: steps after the warm-up.
        clipped_steps: those of them whose gradient was cut.
        stopped_because: "" while the fit goes on.
    """

    epoch: int = 0
    step: int = 0
    done: dict[str, float] = field(default_factory=dict)
    curves: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    best_value: float = -math.inf
    last_idle: int = -1
    has_begun: bool = False
    num_averaged: int = 0
    settled_steps: int = 0
    clipped_steps: int = 0
    stopped_because: str = ""

    def count(self, **amounts: float) -> None:
        """Add to what the epoch has done."""
        for name, amount in amounts.items():
            self.done[name] = self.done.get(name, 0.0) + amount

    def curve(self, positions_per_event: int) -> dict[str, float]:
        """What the epoch did, as one point of each curve."""
        done = self.done
        return {
            "epoch": self.epoch + 1,
            "steps": self.step,
            "loss": done["loss"] / max(1, done["targets"]),
            "targets": int(done["targets"]),
            "tokens_per_second": done["events"] * positions_per_event / done["seconds"],
            "padding_share": 1 - done["events"] / done["positions"],
            "gradient_norm": done["norm"] / max(1, self.step),
            "clipped_share": done["clipped"] / max(1.0, done["settled"]),
            "seconds": done["seconds"],
        }

    def count_gradient(self, norm: float, most: float, *, is_settled: bool) -> None:
        """Add a step's gradient to what the epoch has done.

        Args:
            norm: its length before it was cut.
            most: the length to which it is cut.
            is_settled: whether the warm-up is over.
        """
        is_clipped = is_settled and norm > most
        self.count(norm=norm, settled=is_settled, clipped=is_clipped)
        self.settled_steps += is_settled
        self.clipped_steps += is_clipped

    def note_learning(self, curve: Mapping[str, float], sign: int, *, is_warming_up: bool) -> None:
        """See from an epoch's curve whether learning has begun.

        Args:
            curve: `validation` with, where there is one, `validation_floor`: what answers without
                knowing a person are worth; and the standard error of the first.
            sign: 1 where more is better, -1 where less is.
            is_warming_up: whether the epoch ended within the warm-up.
        """
        above = math.inf
        if "validation_floor" in curve:
            above = sign * (curve["validation"] - curve["validation_floor"])
            above -= CLEARLY * curve.get("validation_error", 0.0)
        self.has_begun = self.has_begun or (above > 0 and not is_warming_up)
        if not self.has_begun:
            self.last_idle = self.epoch

    def end_epoch(self, curve: dict[str, float], settings: LoopSettings) -> None:
        """Go to the next epoch, or say why there is none."""
        self.curves.append(curve)
        waited = self.epoch - max(self.best_epoch, self.last_idle)
        self.epoch, self.step, self.done = self.epoch + 1, 0, {}
        if waited >= settings.patience_epochs:
            self.stopped_because = f"no better validation for {waited} epochs"
        elif self.epoch >= settings.max_epochs:
            self.stopped_because = "max_epochs"

    def facts(self, settings: LoopSettings) -> dict[str, Any]:
        """What came of the fit: its best epoch, why it stopped, what should be looked at."""
        best = self.curves[self.best_epoch] if self.best_epoch >= 0 else {}
        validating = sum(curve["validation_seconds"] for curve in self.curves)
        seconds = validating + sum(curve["seconds"] for curve in self.curves)
        return {
            "best_epoch": self.best_epoch + 1,
            "best_validation": best.get("validation"),
            "validation_metric": settings.validation_metric,
            "validation_share": validating / seconds if seconds else 0.0,
            "stopped_because": self.stopped_because,
            "alarms": self._alarms(settings),
        }

    def _alarms(self, settings: LoopSettings) -> list[str]:
        share = self.clipped_steps / max(1, self.settled_steps)
        if share <= OFTEN_CLIPPED:
            return []
        return [
            f"{share:.0%} of the gradients after the warm-up were longer than"
            f" {settings.gradient_clip_factor:g} times their mean (gradient_clip_factor), expected"
            f" at most {OFTEN_CLIPPED:.0%}: few batches teach most of what is learnt; lower"
            " learning_rate or raise tokens_per_batch"
        ]


def told(curve: Mapping[str, float], max_epochs: int) -> str:
    """An epoch in a line of the log."""
    validation = f", validation {curve['validation']:.4f}" if "validation" in curve else ""
    seconds = curve["seconds"] + curve["validation_seconds"]
    epoch = f"epoch {curve['epoch']:.0f} of {max_epochs}"
    return f"{epoch}: loss {curve['loss']:.3f}{validation}, {seconds:.1f} s"
