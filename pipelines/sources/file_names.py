"""What a file's name says of it: its format, and whether it is data at all."""

from typing import Literal

Format = Literal["parquet", "csv", "json"]
_PACKED = ("", ".gz", ".bz2", ".zst")
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "parquet": (".parquet", ".parq", ".pq"),
    "csv": tuple(f".csv{packed}" for packed in _PACKED),
    "json": tuple(f"{end}{packed}" for end in (".json", ".jsonl", ".ndjson") for packed in _PACKED),
}
"""What the names of a format's files end in, in any case."""
_TEMPORARY = (
    ".tmp",
    ".temp",
    ".part",
    ".partial",
    ".crc",
    ".inprogress",
    ".swp",
    "~",
    "._copying_",
)


def suffix_of(name: str, kind: Format) -> str:
    """The suffix by which a name is a format's, as it is written; empty where it isn't.

    Example:
        >>> suffix_of("2024-03-10.CSV.gz", "csv"), suffix_of("2024-03-10.csv.tmp", "csv")
        ('.CSV.gz', '')
    """
    ends = [end for end in SUFFIXES[kind] if name.lower().endswith(end)]
    return name[-max(map(len, ends)) :] if ends else ""


def is_never_data(name: str) -> bool:
    """Whether a file or folder is hidden or temporary."""
    return name.startswith((".", "_")) or name.lower().endswith(_TEMPORARY)


def stem(name: str, kind: Format) -> str:
    """The name without its format's suffix."""
    return name.removesuffix(suffix_of(name, kind))
