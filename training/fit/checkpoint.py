"""A fit on disk: weights, optimizer and place in the data, in one safetensors file.

The JSON part lies in the file's own header, so that one rename replaces everything at once: after
a crash there is the old checkpoint or the new one, never half of each. Randomness needs no place
in it: each step's generator is seeded from (seed, epoch, step, rank).
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from training.fit.fitting import Fitting

FILE_NAME = "checkpoint.safetensors"


class CheckpointError(Exception):
    """A checkpoint file that can't be read."""


@dataclass(frozen=True)
class Checkpoint:
    """What a fit needs to go on.

    Attributes:
        tensors: by name; `model.`, `average.`, `clip.`, `best.` and `optimizer.` tell
            whose they are.
        state: JSON-serialisable rest: the fingerprint of the fit, epoch, step, curves, …
    """

    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one owner, without its prefix."""
        start = f"{name}."
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}


def write_checkpoint(directory: Path, checkpoint: Checkpoint) -> Path:
    """Replace the directory's checkpoint at once; returns its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / FILE_NAME
    beside = path.with_suffix(".partial")
    # A copy of each: parameters may share storage, which safetensors refuses.
    tensors = {name: value.detach().cpu().clone() for name, value in checkpoint.tensors.items()}
    save_file(tensors, beside, metadata={"state": json.dumps(checkpoint.state)})
    with beside.open("rb") as written:
        os.fsync(written.fileno())
    beside.replace(path)
    return path


def read_checkpoint(directory: Path) -> Checkpoint | None:
    """The directory's checkpoint, on the CPU; None where there is none.

    Raises:
        CheckpointError: the file is cut short or is not a checkpoint.
    """
    path = directory / FILE_NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a whole checkpoint ({error}); delete it to train from the start"
        ) from error
    return Checkpoint(tensors, state)


def checkpoint_of(directory: Path, fingerprint: str) -> tuple[Checkpoint | None, str]:
    """The directory's checkpoint if it can be read and is of this fit; else None and why not.

    The reason is empty where there is no checkpoint at all.
    """
    try:
        checkpoint = read_checkpoint(directory)
    except CheckpointError as error:
        return None, str(error)
    if checkpoint is not None and checkpoint.state.get("fingerprint") != fingerprint:
        return None, f"the checkpoint in {directory} is of another fit"
    return checkpoint, ""


def fingerprint(
    model: nn.Module, content: Iterable[np.ndarray], fitting: Fitting, world_size: int
) -> str:
    """SHA-256 of all that determines the losses: a checkpoint of another fit is not continued."""
    digest = hashlib.sha256()
    shape = {
        "family": model.family,
        "config": asdict(model.config),
        "settings": fitting.settings.determining(),
        "exclude_seen": fitting.exclude_seen,
        "positive_strength": fitting.positive_strength,
        "world_size": world_size,
        "tensors": {name: list(value.shape) for name, value in model.state_dict().items()},
    }
    digest.update(json.dumps(shape, sort_keys=True).encode())
    for array in content:
        digest.update(np.ascontiguousarray(array).data)
    for buffer in model.buffers():
        digest.update(buffer.detach().cpu().contiguous().numpy())
    return digest.hexdigest()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as `<parameter number>.<name>`."""
    return {
        f"{number}.{name}": value
        for number, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave; learning rates stay the schedule's business."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value.clone()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of a model's state, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
