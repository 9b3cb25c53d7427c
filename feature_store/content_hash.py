"""A digest of rows that doesn't depend on their order, their files or their partitioning.

Every row is hashed to 64 bits; a table's digest is the sum of its rows' hashes modulo 2^64, in
two lanes, and the number of rows. Sums can be added and subtracted, so a table's digest follows
from those of its files, and a commit updates it from the files it adds and removes.

A row's hash is the mix (splitmix64's finalizer, Steele et al. 2014) of the sum over columns of
`mix(value XOR seed(column name))`; a null adds nothing. Equal rows have equal hashes whatever
the order of columns, the dictionary encoding or the map's order; 0.0 equals -0.0, NaN equals NaN.
It detects change, it is no defence against someone who forges collisions.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

_MASK = (1 << 64) - 1
_SECOND_LANE = np.uint64(0x9E3779B97F4A7C15)
_LONG_STRING_BYTES = 256
"""Longer strings are hashed one by one; shorter ones eight bytes at a time, all together."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The digest of a multiset of rows; digests of disjoint parts add up."""

    rows: int = 0
    low: int = 0
    high: int = 0

    def __add__(self, other: "Digest") -> "Digest":
        return Digest(
            self.rows + other.rows,
            (self.low + other.low) & _MASK,
            (self.high + other.high) & _MASK,
        )

    def __sub__(self, other: "Digest") -> "Digest":
        return Digest(
            self.rows - other.rows,
            (self.low - other.low) & _MASK,
            (self.high - other.high) & _MASK,
        )

    def __str__(self) -> str:
        return f"{self.high:016x}{self.low:016x}"

    @classmethod
    def parse(cls, text: str, rows: int) -> "Digest":
        """The digest whose `str` is `text` (32 hex digits), of that many rows."""
        return cls(rows, int(text[16:], 16), int(text[:16], 16))


def digest(batches: Iterable[pa.RecordBatch]) -> Digest:
    """Digest of all rows of the batches.

    Example:
        >>> rows = pa.table({"user": ["a", "b"], "codes": [[1, 2], []]})
        >>> digest(rows.to_batches()) == digest(rows.take([1, 0]).to_batches())
        True
    """
    total = Digest()
    for batch in batches:
        hashes = row_hashes(batch)
        high = int(_mix(hashes ^ _SECOND_LANE).sum(dtype=np.uint64))
        total += Digest(batch.num_rows, int(hashes.sum(dtype=np.uint64)), high)
    return total


def row_hashes(batch: pa.RecordBatch) -> Hashes:
    """One 64-bit hash per row, shape [num_rows]."""
    total = np.zeros(batch.num_rows, np.uint64)
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        total += _seeded(values, name)
    return _mix(total)


def _seeded(values: pa.Array, seed: str) -> Hashes:
    """A fresh array of one hash per value; a null's is 0, which the seed keeps values from."""
    hashes = _hash_values(values)
    hashes ^= _seed(seed)
    _mix(hashes)
    if values.null_count:
        hashes[values.is_null().to_numpy(zero_copy_only=False)] = 0
    return hashes


@cache
def _seed(name: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()))


def _mix(hashes: Hashes) -> Hashes:
    """splitmix64's finalizer, in place: a bijection that lets every bit reach every other."""
    scratch = hashes >> np.uint64(30)
    hashes ^= scratch
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    np.right_shift(hashes, np.uint64(27), out=scratch)
    hashes ^= scratch
    hashes *= np.uint64(0x94D049BB133111EB)
    np.right_shift(hashes, np.uint64(31), out=scratch)
    hashes ^= scratch
    return hashes


def _hash_values(values: pa.Array) -> Hashes:
    """A fresh array of one hash per value; what stands at nulls is not defined."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        if len(values.dictionary) == 0:
            return np.zeros(len(values), np.uint64)
        indices = pc.fill_null(values.indices, 0).to_numpy(zero_copy_only=False)
        return np.asarray(_hash_values(values.dictionary)[indices])
    if pa.types.is_map(kind):
        return _hash_nested(values, _hash_entries(values), ordered=False)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        first, last = _span(values)
        elements = _seeded(values.values.slice(first, last - first), "element")
        return _hash_nested(values, elements, ordered=True)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _hash_strings(values)
    return _hash_scalars(values)


def _hash_scalars(values: pa.Array) -> Hashes:
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.uint8())
    elif pa.types.is_date32(values.type):
        values = values.view(pa.int32())
    elif pa.types.is_timestamp(values.type):
        values = values.view(pa.int64())
    numbers = pc.fill_null(values, 0).to_numpy(zero_copy_only=False)
    if numbers.dtype.kind == "f":
        # +0.0 turns -0.0 into 0.0; every NaN becomes the same NaN.
        wide = numbers.astype(np.float64) + 0.0
        wide[np.isnan(wide)] = np.nan
        return np.asarray(wide.view(np.uint64))
    return np.asarray(numbers.astype(np.int64).view(np.uint64))


def _span(values: pa.Array) -> tuple[int, int]:
    """First and one-past-last position of the children that belong to the values."""
    offsets = values.offsets
    return offsets[0].as_py(), offsets[-1].as_py()


def _hash_entries(values: pa.Array) -> Hashes:
    first, last = _span(values)
    keys = _seeded(values.keys.slice(first, last - first), "key")
    return _mix(keys + _seeded(values.items.slice(first, last - first), "value"))


def _hash_nested(values: pa.Array, children: Hashes, *, ordered: bool) -> Hashes:
    """Hash of each list from those of its elements: by place where `ordered`, else as a set."""
    offsets = np.asarray(values.offsets).astype(np.int64)
    starts, lengths = offsets[:-1] - offsets[0], np.diff(offsets)
    if ordered:
        places = np.arange(len(children), dtype=np.int64) - np.repeat(starts, lengths)
        children = _mix(children ^ (places.astype(np.uint64) * _SECOND_LANE))
    # Sums over runs by differences of the running sum: exact, as both wrap modulo 2^64.
    running = np.zeros(len(children) + 1, np.uint64)
    np.cumsum(children, out=running[1:])
    ends = starts + lengths
    return np.asarray(running[ends] - running[starts] + _mix(lengths.astype(np.uint64)))


def _hash_strings(values: pa.Array) -> Hashes:
    """Hash of each string's UTF-8 bytes."""
    values = values.cast(pa.large_string()) if pa.types.is_string(values.type) else values
    _, offset_buffer, data = values.buffers()
    size = len(values)
    if size == 0:
        return np.zeros(0, np.uint64)
    offsets = np.frombuffer(offset_buffer, np.int64)[values.offset : values.offset + size + 1]
    first, last = int(offsets[0]), int(offsets[-1])
    text = data.slice(first, last - first) if data is not None else pa.py_buffer(b"")
    starts, lengths = offsets[:-1] - first, np.diff(offsets)
    hashes = _hash_words(text, starts, lengths)
    for place in np.flatnonzero(lengths > _LONG_STRING_BYTES):
        start = int(starts[place])
        whole = hashlib.blake2b(text[start : start + int(lengths[place])], digest_size=8)
        hashes[place] = int.from_bytes(whole.digest())
    return hashes


def _hash_words(text: pa.Buffer, starts: Places, lengths: Places) -> Hashes:
    """Hash of strings read as little-endian words of eight bytes, the last one zero-padded."""
    padded = np.zeros(len(text) + 8, np.uint8)
    padded[: len(text)] = np.frombuffer(text, np.uint8)
    # One word at every byte position: an unaligned view, nothing is copied.
    words = np.ndarray((len(text) + 1,), "<u8", buffer=padded, strides=(1,))
    hashes = _mix(lengths.astype(np.uint64))
    active = np.flatnonzero((lengths > 0) & (lengths <= _LONG_STRING_BYTES))
    done = 0
    while len(active):
        left = np.minimum(lengths[active] - done, 8).astype(np.uint64)
        word = words[starts[active] + done] & (
            np.uint64(_MASK) >> (np.uint64(8) * (np.uint64(8) - left))
        )
        hashes[active] = _mix(hashes[active] * _SECOND_LANE + word)
        done += 8
        active = active[lengths[active] > done]
    return hashes
