"""Rows of recommendations as JSON, made column by column."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

_ESCAPES = {
    "\\": "\\\\",
    '"': '\\"',
    **{chr(code): f"\\u{code:04x}" for code in range(0x20)},
}
_NEEDS_ESCAPE = '[\\x00-\\x1f"\\\\]'


def json_lines(batch: pa.RecordBatch) -> pa.StringArray:
    """An object per user: `day`, `user_id`, `item_ids`, `scores`, and which model said it.

    Args:
        batch: rows of the table `recommendations`.
    Returns:
        JSON texts without line breaks, as many as there are rows.
    """
    return _object(
        {
            "day": _text(batch["day"].cast(pa.string())),
            "user_id": _text(batch["user_id"]),
            "item_ids": _list(batch["item_ids"], _text),
            "scores": _list(batch["scores"], _number),
            "model_family": _text(batch["model_family"]),
            "model_version": _text(batch["model_version"]),
            "bundle_digest": _text(batch["bundle_digest"]),
        }
    )


def json_lists(batch: pa.RecordBatch) -> pa.StringArray:
    """Per user only what is shown: `item_ids` and `scores`."""
    return _object(
        {
            "item_ids": _list(batch["item_ids"], _text),
            "scores": _list(batch["scores"], _number),
        }
    )


def _object(values: dict[str, pa.Array]) -> pa.StringArray:
    parts: list[object] = []
    for number, (name, value) in enumerate(values.items()):
        parts += [f'{", " if number else "{"}"{name}": ', value]
    return pc.binary_join_element_wise(*parts, "}", "")


def _text(values: pa.Array) -> pa.Array:
    if pc.any(pc.match_substring_regex(values, _NEEDS_ESCAPE)).as_py():
        for character, escape in _ESCAPES.items():
            values = pc.replace_substring(values, character, escape)
    return pc.binary_join_element_wise('"', values, '"', "")


def _number(values: pa.Array) -> pa.Array:
    return values.cast(pa.string())


def _list(values: pa.ListArray, written: Callable[[pa.Array], pa.Array]) -> pa.Array:
    offsets = pc.subtract(values.offsets, values.offsets[0])
    texts = pa.ListArray.from_arrays(offsets, written(values.flatten()))
    return pc.binary_join_element_wise("[", pc.binary_join(texts, ", "), "]", "")
