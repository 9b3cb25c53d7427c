"""gpu.json: the figures of each part as soon as they are there; a rerun goes on from it.

All parts share one process: where a machine is lent by the minute, each import of torch, each start
of CUDA would be paid for again. So an error that breaks CUDA itself fails the parts after it, too,
and a rerun measures them.
"""

import json
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.machine import Machine
from benchmarks.gpu.parts import Part

LIMIT_SECONDS = 480
"""A part that is expected to end later than that is left to the next run."""


class OtherFigures(Exception):
    """The folder's figures are of another card, code or torch, and must not be mixed with these."""


def measure_all(
    parts: Mapping[str, Part], machine: Machine, folder: Path, tell: Callable[[str], None]
) -> bool:
    """Measure what is missing; a part that fails doesn't keep the others from being measured.

    Args:
        parts: by name.
        machine: where they run.
        folder: of gpu.json; made if need be.
        tell: is given a line for each part.
    Returns:
        Whether every part has its figures.
    Raises:
        OtherFigures: gpu.json is of another card, code or torch.
    """
    path, started = folder / "gpu.json", time.monotonic()
    record = _begin(path, machine)
    kept = record["parts"]
    for name, part in parts.items():
        if "figures" in kept.get(name, {}):
            tell(f"{name}: measured before")
        elif time.monotonic() - started + part.seconds > LIMIT_SECONDS:
            tell(f"{name}: left out, as it takes about {part.seconds} s; run again to measure it")
        else:
            kept[name] = _measured(part, machine)
            _write(path, record)
            tell(f"{name}: {kept[name].get('error', 'measured')}, {kept[name]['seconds']} s")
    return all("figures" in kept.get(name, {}) for name in parts)


def _measured(part: Part, machine: Machine) -> dict[str, Any]:
    started = time.monotonic()
    try:
        outcome: dict[str, Any] = {"figures": part.measure(machine)}
    except Exception as error:  # whatever it was, the other parts are worth their figures
        outcome = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
    return {"seconds": round(time.monotonic() - started, 1), **outcome}


def _begin(path: Path, machine: Machine) -> dict[str, Any]:
    """What is there, or an empty record."""
    identity = machine.identity()
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        return {"machine": identity, "parts": {}}
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    different = [
        f"{name} is {value!r} here and was {record['machine'].get(name)!r}"
        for name, value in identity.items()
        if record["machine"].get(name) != value
    ]
    if different:
        raise OtherFigures(
            f"{path} has other figures: {'; '.join(different)}; give another --output, or remove it"
        )
    return record


def _write(path: Path, record: Mapping[str, Any]) -> None:
    beside = path.with_suffix(".json.tmp")
    beside.write_text(json.dumps(record, indent=1), encoding="utf-8")
    beside.replace(path)
