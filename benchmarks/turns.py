"""Contenders that take turns: each in a process of its own, on the same cores, warm.

Whatever else the machine does falls on all of them. A benchmark is a module with `CONTENDERS`, by
name: what prepares the contender in a folder and returns what is timed.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter

CORES = 2
WARM_UP = 2
"""Rounds that don't count."""


def contend(module: str, name: str, folder: Path) -> None:
    """Run once for every line that arrives, and answer with the seconds that it took."""
    run = import_module(module).CONTENDERS[name](folder)
    for _ in sys.stdin:
        started = perf_counter()
        run()
        sys.stdout.write(json.dumps(perf_counter() - started) + "\n")
        sys.stdout.flush()


def take_turns(
    module: str, names: Iterable[str], folder: Path, *, rounds: int, warm_up: int = WARM_UP
) -> dict[str, float]:
    """Median seconds by contender, after the rounds that only warm up.

    Raises:
        RuntimeError: a contender ended early.
    """
    started = {name: start(module, name, folder) for name in names}
    try:
        taken = [
            {name: once(name, process) for name, process in started.items()}
            for _ in range(warm_up + rounds)
        ]
    finally:
        for process in started.values():
            process.communicate()
    return {name: median(turn[name] for turn in taken[warm_up:]) for name in started}


def start(module: str, name: str, folder: Path) -> "subprocess.Popen[str]":
    """A contender's process, waiting for its first turn."""
    code = "import sys, pathlib; from benchmarks.turns import contend; "
    code += "contend(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]))"
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    return subprocess.Popen(
        [sys.executable, "-c", code, module, name, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"POLARS_MAX_THREADS": str(CORES), "OMP_NUM_THREADS": str(CORES)},
        # Everything that it starts, the JVM and its Python workers, has the same cores.
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )


def once(name: str, process: "subprocess.Popen[str]") -> float:
    """Seconds of one turn.

    Raises:
        RuntimeError: the contender ended early.
    """
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("run\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"contender {name} ended early; its messages are above")
    return float(json.loads(answer))
