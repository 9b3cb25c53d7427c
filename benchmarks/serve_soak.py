"""`sidereal serve` under a steady load, while champions come and go.

    python -m benchmarks.serve_soak 600

The load comes from another process. Meanwhile a version is promoted, rolled back, another is made
champion by hand whose weights are cut off, which is refused, and a version is promoted again. No
request may fail, every client sees the versions in this order, and memory at the end is compared
with that of the first fifth.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import psutil

from benchmarks.serve_requests import (
    DAY,
    NUM_ITEMS,
    PRESET,
    bundle_in,
    page,
    registered,
    serving,
    value,
)
from feature_store.settings import Settings
from training.registry.bundle import BundleError
from training.registry.client import Registry
from training.registry.records import CHAMPION

GOAL = 1.1
PER_SECOND, CLIENTS = 40.0, 4
OPTIONS = ("--kept-mb", "2", "--timeout", "30")
"""Kept answers fill long before the first change, so that they are no growth; a machine that others
keep busy is no failure of the service."""
SECONDS, QUICK_SECONDS = 60.0, 20.0
MOST_WAIT_SECONDS = 120.0
"""Until a change must have come into service."""
SETTLED_SECONDS = 2.0
"""Of the load after the last change, if that came late."""
SAMPLES_A_PART = 4
_REFUSED = 'refused_total{reason="corrupt"}'


class SoakFailed(Exception):
    """A request failed, or somebody was answered by a version that should not serve."""


def measure(settings: Settings, *, quick: bool = False, seconds: float = SECONDS) -> dict[str, Any]:
    """Memory at the end as a share of what it was before anything changed.

    Args:
        settings: the device; the home is one of the benchmark's.
        quick: twenty seconds.
        seconds: of the load.
    Raises:
        SoakFailed: says what was seen.
    """
    seconds = QUICK_SECONDS if quick else seconds
    with tempfile.TemporaryDirectory(prefix="sidereal-") as folder:
        home = settings.model_copy(update={"home": Path(folder)})
        soak = Soak(home, Path(folder))
        with serving(Path(folder), OPTIONS) as (port, process):
            with _load(port, seconds) as load:
                soak.run(port, process, seconds)
                load.terminate()
                seen = json.loads(load.communicate()[0])
            metrics = page(port, "metrics")
    _require_sound(seen, soak.expected)
    start, middle, end = (soak.megabytes[part] for part in ("start", "middle", "end"))
    return {
        "name": "serve_soak",
        "work": f"{seen['requests']:,} lists in {seconds:.0f} s, two promotions, a rollback, a "
        f"corrupt champion; {settings.device}",
        "unit": "MB",
        "ours": end,
        "peers": {"at the start": start},
        "ratio": end / start,
        "goal": GOAL,
        "parts": {
            **seen,
            "versions": seen["versions"][0],
            "middle_mb": middle,
            "peak_mb": max(soak.samples),
            "samples_mb": soak.samples,
            "changes": soak.changes,
            "swaps": value(metrics, "swaps_total"),
            "refused": value(metrics, _REFUSED),
        },
    }


class Soak:
    """Three versions, and what happens to them while the service is asked."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._registry = Registry.open(settings, PRESET)
        self._client = mlflow.MlflowClient(settings.resolved_mlflow_tracking_uri)
        first, second, corrupt = (
            registered(self._registry, bundle_in(folder / f"bundle-{seed}", seed))
            for seed in range(3)
        )
        self._second, self._corrupt = second, corrupt
        self._registry.promote(first, day=DAY, reason="the first")
        self.expected = [first.number, second.number, first.number, second.number]
        self._turns = iter(self.expected[1:])
        self.megabytes: dict[str, float] = {}
        self.samples: list[float] = []
        self.changes: list[tuple[float, str]] = []

    def run(self, port: int, process: int, seconds: float) -> None:
        """Everything, in fifths of the time, beside the load."""
        changes: list[tuple[str, str, Callable[[int], None]]] = [
            ("start", "promoted", self._promote),
            ("", "rolled back", self._roll_back),
            ("middle", "corrupt by hand", self._promote_corrupt),
            ("", "promoted", self._promote),
        ]
        began = time.perf_counter()
        for number, (part, says, change) in enumerate(changes, start=1):
            self._sample(process, began + number * seconds / 5, part)
            self.changes.append((round(time.perf_counter() - began, 1), says))
            change(port)
        self._sample(process, max(began + seconds, time.perf_counter() + SETTLED_SECONDS), "end")

    def _sample(self, process: int, until: float, part: str) -> None:
        """Resident memory a few times until then; the last of them is the part's."""
        pause = (until - time.perf_counter()) / SAMPLES_A_PART
        for _ in range(SAMPLES_A_PART):
            time.sleep(max(0.0, pause))
            self.samples.append(round(psutil.Process(process).memory_info().rss / 1e6, 1))
        if part:
            self.megabytes[part] = self.samples[-1]

    def _promote(self, port: int) -> None:
        self._registry.promote(self._second, day=DAY, reason="better")
        _wait_for(port, next(self._turns))

    def _roll_back(self, port: int) -> None:
        self._registry.rollback(reason="complaints")
        _wait_for(port, next(self._turns))

    def _promote_corrupt(self, port: int) -> None:
        """The registry refuses it; a person who moves the alias past it is refused by the service.

        Raises:
            SoakFailed: the registry took it.
        """
        version = self._corrupt
        directory = self._registry.fetch(version).directory
        weights = next(directory.glob("model/*.safetensors"))
        weights.write_bytes(weights.read_bytes()[:-8])
        try:
            self._registry.promote(version, day=DAY, reason="by mistake")
        except BundleError:
            self._client.set_registered_model_alias(
                self._registry.name, CHAMPION, str(version.number)
            )
        else:
            raise SoakFailed(f"the registry promoted version {version.number}, which is corrupt")
        _wait("a refusal", lambda: value(page(port, "metrics"), _REFUSED) == 1)


def _wait_for(port: int, number: int) -> None:
    def is_there() -> bool:
        return bool(json.loads(page(port, "ready"))["model_version"] == number)

    _wait(f"version {number}", is_there)


def _wait(what: str, is_so: Callable[[], bool]) -> None:
    ends = time.perf_counter() + MOST_WAIT_SECONDS
    while not is_so():
        if time.perf_counter() > ends:
            raise SoakFailed(f"{what} did not come within {MOST_WAIT_SECONDS:.0f} s")
        time.sleep(0.5)


@contextmanager
def _load(port: int, seconds: float) -> Iterator["subprocess.Popen[str]"]:
    order = {
        "port": port,
        "num_items": NUM_ITEMS,
        "clients": CLIENTS,
        "per_second": PER_SECOND,
        "histories": int(PER_SECOND * seconds),
    }
    command = [sys.executable, "-P", "-m", "benchmarks.steady_load", json.dumps(order)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _require_sound(seen: dict[str, Any], expected: list[int]) -> None:
    """Refuse failed requests, and versions in another order than they came into service.

    Raises:
        SoakFailed: says which.
    """
    if seen["failed"]:
        raise SoakFailed(f"of {seen['requests']:,} requests failed, by answer: {seen['failed']}")
    for client, turns in enumerate(seen["versions"]):
        versions = [version for _, version in turns]
        if versions != expected:
            raise SoakFailed(f"client {client} was answered by {versions}, expected {expected}")


if __name__ == "__main__":
    found = measure(Settings(), seconds=float(sys.argv[1]))
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
