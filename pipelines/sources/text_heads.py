"""The beginning of text files: headers, and what is no text or no JSON lines at all."""

import codecs
import json
import re
from collections.abc import Sequence
from typing import Any

from pipelines.errors import DataRefused
from pipelines.sources.csv_records import Shape, shape
from pipelines.sources.interface import Delimited
from pipelines.sources.raw_files import RawFiles

BOM = "\ufeff"
_HEAD_BYTES = 1 << 16
_LONGEST_HEADER = 1 << 22  # bytes
_LINE_END = re.compile(r"\r\n|\n|\r")
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
_ENDINGS = {"gzip": ".gz", "bzip2": ".bz2", "zstd": ".zst"}
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def header_of(raw_files: RawFiles, file: str, name: str, layout: Delimited) -> str:
    """The first record of a file that isn't blank; its lines are joined by line feeds.

    Args:
        raw_files: where the file is.
        file: its address.
        name: what messages call it.
        layout: how its fields are cut.

    Raises:
        DataRefused: there is none, or it isn't UTF-8 text.
        DeliveryUnreadable: the file can't be opened.
    """
    size = _HEAD_BYTES
    while True:
        lines, is_all = _first_lines(raw_files, file, name, size)
        header = _first_record(lines, layout)
        if header is not None:
            return header
        if is_all or size >= _LONGEST_HEADER:
            break
        size *= 16
    if any(line.strip() for line in lines):
        raise DataRefused(
            f"{name}: its header has a quote that is not closed. Nothing was published; correct "
            "the first line"
        )
    raise DataRefused(
        f"raw file {name} is empty: not even a header. Nothing was published; deliver it "
        "again. For a day without events, deliver the header alone"
    )


def json_keys(raw_files: RawFiles, file: str, name: str) -> frozenset[str]:
    """The keys of the objects that a file of JSON lines begins with.

    Raises:
        DataRefused: it is one JSON document instead, or not UTF-8 text.
        DeliveryUnreadable: it can't be opened.
    """
    lines, _ = _first_lines(raw_files, file, name, _HEAD_BYTES)
    given = [line for line in lines if line.strip()]
    objects = [_object(line) for line in given]
    if given and objects[0] is None and not any(objects[1:2]):
        begins = given[0].lstrip()[0]
        kind = {"[": "a JSON array", "{": "a JSON object over several lines"}.get(begins)
        if kind and (begins == "[" or len(given) > 1):
            way = ".[]" if begins == "[" else "."
            raise DataRefused(
                f"{name} is {kind}; expected JSON lines: one object a line. Nothing was published; "
                f"`jq -c '{way}' FILE` writes that"
            )
    return frozenset(key for each in objects if each for key in each)


def _first_lines(
    raw_files: RawFiles, file: str, name: str, num_bytes: int
) -> tuple[list[str], bool]:
    """The whole lines among a file's first bytes, and whether these are all."""
    head = raw_files.head(file, num_bytes)
    packed = next((kind for start, kind in _PACKED.items() if head.startswith(start)), None)
    if packed:
        way = f"end its name in {_ENDINGS[packed]}" if packed in _ENDINGS else "unpack it"
        raise DataRefused(
            f"{name} is packed with {packed}, and its name doesn't say so, or it is packed twice. "
            f"Nothing was published; {way}"
        )
    if head.startswith(_UTF_16) or head.count(b"\0") * 3 > len(head):
        raise DataRefused(
            f"{name} is UTF-16; expected UTF-8. Nothing was published; "
            "`iconv -f UTF-16 -t UTF-8 FILE` writes that"
        )
    is_all = len(head) < num_bytes
    lines = _LINE_END.split(head.decode(errors="replace").removeprefix(BOM))
    return (lines if is_all else lines[:-1]), is_all


def _first_record(lines: Sequence[str], layout: Delimited) -> str | None:
    taken: list[str] = []
    for line in lines:
        if not taken and not line.strip():
            continue
        taken.append(line)
        text = "\n".join(taken)
        if not layout.quoted or shape(text, layout.separator) is not Shape.OPEN:
            return text
    return None


def _object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
