"""Who watches a fit: the registry's run, and whoever reads the log."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from feature_store.log_lines import PROGRESS, in_words
from training.fit.fitting import Observer
from training.registry.tracked_run import TrackedRun

LOG = logging.getLogger(__name__)


class RunObserver(Observer):
    """Logs each epoch's point of each curve to a run; a resumed fit's earlier ones as well."""

    def __init__(self, run: TrackedRun) -> None:
        self._run = run

    def on_start(self, family: str, max_epochs: int, curves: Sequence[Mapping[str, float]]) -> None:
        """Log the epochs that the fit has behind it."""
        for curve in curves:
            self.on_epoch(curve)

    def on_epoch(self, epoch: Mapping[str, float]) -> None:
        """Log one epoch, at once: it is looked at while the fit goes on."""
        values = {name: value for name, value in epoch.items() if name != "epoch"}
        self._run.log(values, step=int(epoch["epoch"]))
        self._run.flush()


class LineObserver(Observer):
    """Log lines of how far a fit is, with the seconds that are left at most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._family, self._max_epochs = "", 0
        self._validated = ""
        self._started, self._steps = 0.0, 0

    def on_start(self, family: str, max_epochs: int, curves: Sequence[Mapping[str, float]]) -> None:
        """Say whose fit begins, or goes on."""
        self._family, self._max_epochs = family, max_epochs
        self._started, self._steps = self._clock(), 0
        gone_on = f", going on after {len(curves)} of them" if curves else ""
        LOG.info("%s: training for at most %d epochs%s", family, max_epochs, gone_on)

    def on_step(self, epoch: int, step: int, num_steps: int, loss: float) -> None:
        """Say how far it is; lines that follow too soon are not shown."""
        self._steps += 1
        ahead = (self._max_epochs - epoch) * num_steps - step
        left = (self._clock() - self._started) / self._steps * ahead
        LOG.info(
            "%s: epoch %d of %d, step %d of %d, loss %.3f%s, at most %s left",
            *(self._family, epoch + 1, self._max_epochs, step, num_steps, loss, self._validated),
            in_words(left),
            extra=PROGRESS,
        )

    def on_epoch(self, epoch: Mapping[str, float]) -> None:
        """Keep the last validation, which the loop has told, for the lines that follow."""
        if "validation" in epoch:
            self._validated = f", validation {epoch['validation']:.4f}"
