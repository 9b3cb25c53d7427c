"""A vector for every value of every field, in one table.

Rows of a field stand together; they begin at its offset. B rows, F fields, N values of all fields,
E width of a field's vector.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from training.data.features import Features, Field, Group

BEGINS_WITH = 0.05
"""Standard deviation of first weights."""


class FieldTable(nn.Module):
    """The vectors of all fields' values.

    Args:
        fields: in the order of their rows.
        width: E.
    """

    def __init__(self, fields: Sequence[Field], width: int) -> None:
        super().__init__()
        self.fields, self.width = tuple(fields), width
        self.rows_NE = nn.Parameter(
            BEGINS_WITH * torch.randn(sum(field.size for field in fields), width)
        )
        sizes = torch.tensor([0, *(field.size for field in fields)])
        self.register_buffer("offsets_F", sizes.cumsum(0)[:-1].int(), persistent=False)
        self._places = {
            group: [place for place, field in enumerate(fields) if field.group == group]
            for group in ("user", "item", "context")
        }

    def width_of(self, *groups: Group) -> int:
        """Width of the vectors of the groups' fields beside each other."""
        return self.width * sum(len(self._places[group]) for group in groups)

    def forward(self, codes: Tensor, group: Group) -> Tensor:
        """The vectors of a group's fields beside each other.

        Args:
            codes: int32, the last axis being the group's fields.
            group: whose.
        Returns:
            The last axis is `width_of(group)`.
        """
        row = codes + self.offsets_F[self._places[group]]
        return F.embedding(row, self.rows_NE).flatten(-2)


def begin_with_values(model: nn.Module, table: FieldTable, path: Path) -> None:
    """Give a model the parameters of an earlier one, a value's vector by field and code.

    Codes never move, so that a field's first rows are those of the earlier model; values that came
    since keep what a new model gives them. Buffers stay the model's own.

    Raises:
        ValueError: a parameter is missing in the file, or has another shape there.
    """
    earlier = load_file(path)
    shape = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    name_of_table = next(name for name, value in model.named_parameters() if value is table.rows_NE)
    wrong = [
        f"{name} is {list(value.shape)} here and "
        + (f"{list(earlier[name].shape)} there" if name in earlier else "not there")
        for name, value in model.named_parameters()
        if name != name_of_table and (name not in earlier or earlier[name].shape != value.shape)
    ]
    if wrong:
        raise ValueError(f"{path} is of another model: " + "; ".join(wrong))
    begins, start = {}, 0
    for field in shape["features"]["fields"]:
        begins[field["name"]] = (start, field["size"])
        start += field["size"]
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name != name_of_table:
                value.copy_(earlier[name])
        for field, offset in zip(table.fields, table.offsets_F.tolist(), strict=True):
            first, size = begins.get(field.name, (0, 0))
            size = min(size, field.size)
            table.rows_NE[offset : offset + size] = earlier[name_of_table][first : first + size]


def require_codes(features: Features, **codes_of: Tensor) -> None:
    """Refuse codes that no field has.

    Args:
        features: whose fields.
        codes_of: by group, arrays or tensors whose last axis is the group's fields.
    Raises:
        ValueError: a code is below 0 or beyond its field; says which.
    """
    for group, codes in codes_of.items():
        fields = features.of_group(group)  # type: ignore[arg-type]
        if not codes.shape[0]:
            continue
        for field, least, most in zip(fields, codes.min(0), codes.max(0), strict=True):
            if least < 0 or most >= field.size:
                raise ValueError(
                    f"codes of {field.name} go from {least} to {most}, expected 0 to"
                    f" {field.size - 1}: impressions and vocabularies are of different days; run"
                    " build_impressions again"
                )
