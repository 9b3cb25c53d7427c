"""`python -m benchmarks.gpu`: measures every part that has no figures yet; writes gpu.json.

Exit codes: 0 all parts have figures, 1 a part failed or was left out (run again), 2 nothing to
measure on, or figures that can't be mixed.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.gpu.machine import REPOSITORY, Machine
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.record import OtherFigures, measure_all

NO_GPU = (
    "gpu: torch {version} finds no CUDA device; expected a GPU with its driver, and a torch that is"
    " built for CUDA: use the Python that has one (make gpu GPU_PYTHON=/path/to/python), or see"
    " that it runs with --device cpu --small"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    options = _options(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        _tell(NO_GPU.format(version=torch.__version__))
        return 2
    machine = Machine(options.device, options.small)
    try:
        is_complete = measure_all(PARTS, machine, options.output, _tell)
    except OtherFigures as refused:
        _tell(f"gpu: {refused}")
        return 2
    _tell(f"{'all' if is_complete else 'not all'} parts are in {options.output / 'gpu.json'}")
    return 0 if is_complete else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="a tiny size, to see that it runs")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(os.environ.get("OUT") or REPOSITORY / "var" / "gpu"),
        help="folder of gpu.json; default: $OUT, else var/gpu",
    )
    return parser.parse_args(arguments)


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
