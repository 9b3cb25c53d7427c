"""How a fitted model is kept: its tensors as safetensors, its shape as JSON, nothing pickled.

    <family>.safetensors   the model's `state_dict`
    <family>.json          its `sizes`, and its config under `config`

A family says what its model is made of (`Kept`); nobody else knows of files.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, Self

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.models.interface import Family, Model


class WeightsError(Exception):
    """A folder that holds no weights of this family as this code writes them."""


class Kept(Model, Protocol):
    """What is asked of a model that is to be kept; an `nn.Module` has half of it."""

    @property
    def sizes(self) -> Mapping[str, Any]:
        """What its tensors' shapes depend on beside the config; JSON-serialisable."""
        ...

    def state_dict(self) -> Mapping[str, Tensor]:
        """Every tensor by name."""
        ...

    @classmethod
    def from_weights(
        cls, config: Any, sizes: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Self:
        """The model that had this config, these sizes and these tensors."""
        ...


def save(model: Kept, directory: Path) -> None:
    """Write what `load` needs into a folder, which is made if need be."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, tensors_path(directory, model.family))
    shape = {**model.sizes, "config": asdict(model.config)}
    _shape_path(directory, model.family).write_text(json.dumps(shape), encoding="utf-8")


def load(directory: Path, family: Family, device: str = "cpu") -> Any:
    """A model that answers as the saved one did, on a device if it is a neural one.

    Raises:
        WeightsError: files are missing or unreadable, or of another form or shape than this code's
            family has.
    """
    try:
        shape = json.loads(_shape_path(directory, family.name).read_text(encoding="utf-8"))
        config = family.config_class(**shape.pop("config"))
        tensors = load_file(tensors_path(directory, family.name))
        model = family.model_class.from_weights(config, shape, tensors)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise WeightsError(
            f"{directory} holds no weights that this code's {family.name} can use ({error!r});"
            f" train {family.name} again, or open it with the revision that wrote it"
        ) from error
    return model.to(device).eval() if isinstance(model, nn.Module) else model


def tensors_path(directory: Path, family: str) -> Path:
    """The file of a folder that holds a family's tensors."""
    return directory / f"{family}.safetensors"


def _shape_path(directory: Path, family: str) -> Path:
    return directory / f"{family}.json"
