"""The weights that a fit begins with, where they are another model's."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn


def begin_with(model: nn.Module, path: Path) -> None:
    """Give a model the parameters of another; its buffers (codes of items, counts) stay its own.

    Parameters with a row per item (`…_VD`) may have more rows here: items never change their
    index, and those that came since keep what a new model gives them.

    Raises:
        ValueError: a parameter is missing in the file, or has another shape there.
    """
    found = load_file(path)
    own = dict(model.named_parameters())
    wrong = [
        f"{name} is {list(value.shape)} here and "
        + (f"{list(found[name].shape)} there" if name in found else "not there")
        for name, value in own.items()
        if name not in found or not _fits(name, value, found[name])
    ]
    if wrong:
        raise ValueError(f"{path} is of another model: " + "; ".join(wrong))
    with torch.no_grad():
        for name, value in own.items():
            rows = value[: len(found[name])] if value.dim() else value
            rows.copy_(found[name])


def _fits(name: str, value: Tensor, found: Tensor) -> bool:
    if name.endswith("_VD"):
        return list(value.shape[1:]) == list(found.shape[1:]) and len(value) >= len(found)
    return list(value.shape) == list(found.shape)


def bytes_of(path: Path | None) -> Iterator[np.ndarray]:
    """The content of a file, uint8; nothing where there is none."""
    if path is not None:
        yield np.frombuffer(path.read_bytes(), np.uint8)
