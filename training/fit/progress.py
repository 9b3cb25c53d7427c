"""Where a fit stands, and what its epochs did."""

import math
from dataclasses import dataclass, field

from training.fit.fitting import LoopSettings

COUNTED = ("loss", "targets", "events", "positions")
"""Of each step: loss in nats, summed; targets; events fed; positions fed, padding included."""


@dataclass
class Progress:
    """Where a fit stands; JSON-serialisable.

    Attributes:
        epoch: of the next step.
        step: the next step within it.
        done: of the epoch's steps so far, over all processes: `COUNTED`, and seconds.
        curves: of the finished epochs.
        best_epoch: by validation; -1 before the first.
        best_value: its validation; larger is better.
        last_warm_up: the last epoch that ended within the warm-up, in which patience isn't lost.
        stopped_because: "" while the fit goes on.
    """

    epoch: int = 0
    step: int = 0
    done: dict[str, float] = field(default_factory=dict)
    curves: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    best_value: float = -math.inf
    last_warm_up: int = -1
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
            "seconds": done["seconds"],
        }

    def end_epoch(self, curve: dict[str, float], settings: LoopSettings) -> None:
        """Go to the next epoch, or say why there is none."""
        self.curves.append(curve)
        waited = self.epoch - max(self.best_epoch, self.last_warm_up)
        self.epoch, self.step, self.done = self.epoch + 1, 0, {}
        if waited >= settings.patience_epochs:
            self.stopped_because = f"no better validation for {waited} epochs"
        elif self.epoch >= settings.max_epochs:
            self.stopped_because = "max_epochs"
