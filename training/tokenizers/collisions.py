"""What to do when several items get the same codes: three explicit policies, append-stable.

* `suffix`: a resolving level is added; the items of a bucket get 0, 1, 2, … there (TIGER).
* `reassign`: the first item keeps its codes, a later one moves to the nearest free last code, and
  to another branch, deepest level first, where none is free.
* `bucket`: items stay together; decoding returns all items of the ID.

Items with an ID already keep it; new ones, in the order given, take what is free. So an ID never
changes within a generation, and the same arrivals give the same IDs.

Under `suffix` the resolving level has K codes, too. A bucket that is full passes an item on to the
nearest codes with room, as `reassign` does.

Legend: N items, Q levels, K codes of a level, H latent width.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from training.tokenizers.quantize import squared_distances

Policy = Literal["suffix", "reassign", "bucket"]
Codes = tuple[int, ...]


class CodesExhaustedError(Exception):
    """More items than semantic IDs."""


@dataclass(frozen=True)
class Resolution:
    """Codes as served.

    Args:
        codes: one row per new item: [N,Q], or [N,Q+1] under `suffix`.
        collided: new items whose codes somebody had.
        moved: new items that got other quantized codes than the quantizer's.
    """

    codes: np.ndarray
    collided: int
    moved: int


def resolve(
    quantized_NQ: np.ndarray,
    policy: Policy,
    *,
    codebook_size: int,
    existing: np.ndarray,
    alternatives: Callable[[int], Iterator[Codes]],
) -> Resolution:
    """Served codes of new items.

    Args:
        quantized_NQ: the quantizer's codes of the new items, in the order in which they may choose.
        policy: as above.
        codebook_size: K, the room of a bucket under `suffix`.
        existing: served codes of the items that have some, [M,Q] or [M,Q+1]; [0,…] where none.
        alternatives: other quantized codes for a new item (by row), best first; called only for
            items that must move.
    Raises:
        CodesExhaustedError: an item finds no free codes among its alternatives.
    Example:
        >>> codes = np.array([[3, 1], [3, 1], [3, 1]])
        >>> found = resolve(codes, "suffix", codebook_size=8, existing=np.array([[3, 1, 0]]),
        ...                 alternatives=lambda row: iter(()))
        >>> found.codes.tolist(), found.collided
        ([[3, 1, 1], [3, 1, 2], [3, 1, 3]], 3)
    """
    num_levels = quantized_NQ.shape[1]
    holders = Counter(tuple(row) for row in existing[:, :num_levels].tolist())
    room = {"suffix": codebook_size, "reassign": 1, "bucket": len(existing) + len(quantized_NQ)}
    served: list[Codes] = []
    collided = moved = 0
    for row, wanted in enumerate(map(tuple, quantized_NQ.tolist())):
        collided += holders[wanted] > 0
        codes = wanted
        if holders[codes] >= room[policy]:
            codes = _with_room(row, holders, room[policy], alternatives)
            moved += 1
        served.append((*codes, holders[codes]) if policy == "suffix" else codes)
        holders[codes] += 1
    width = num_levels + (policy == "suffix")
    return Resolution(np.array(served, dtype=np.int64).reshape(-1, width), collided, moved)


def _with_room(
    row: int, holders: Counter[Codes], room: int, alternatives: Callable[[int], Iterator[Codes]]
) -> Codes:
    for codes in alternatives(row):
        if holders[codes] < room:
            return codes
    raise CodesExhaustedError(
        f"new item {row} finds no free semantic ID: {sum(holders.values())} items have one; train "
        "a generation with more levels or a larger codebook, or let items share IDs "
        "(tokenizer.collisions: bucket)"
    )


def nearest_tuples(latent_H: Tensor, codebooks_QKH: Tensor, is_used_QK: Tensor) -> Iterator[Codes]:
    """Tuples of codes by how near they are, the last level varied first, then the one before it.

    At every level the codes come in order of `‖r − C_k‖²` for the residual that the codes before
    them leave. Unused codes come last, so that they give room where nothing else does.

    Args:
        latent_H: the item's latent vector.
        codebooks_QKH: codewords.
        is_used_QK: which codes stand for anything.
    Yields:
        Every tuple once, the quantizer's own first.
    """
    codebook_KH, is_used_K = codebooks_QKH[0], is_used_QK[0]
    distance_K = squared_distances(latent_H.unsqueeze(0), codebook_KH, is_used_K)[0]
    for code in torch.sort(distance_K, stable=True).indices.tolist():
        if len(codebooks_QKH) == 1:
            yield (code,)
            continue
        for rest in nearest_tuples(latent_H - codebook_KH[code], codebooks_QKH[1:], is_used_QK[1:]):
            yield (code, *rest)


def spread(item_ids: Sequence[str], is_used_QK: Tensor) -> np.ndarray:
    """Codes for items without an embedding: read off a digest of the item's id.

    They say nothing about the item, but they are stable, and they spread such items over the tree
    instead of piling them up in the one bucket that a zero vector would give.

    Args:
        item_ids: the source's own ids.
        is_used_QK: only codes that stand for something are given.
    Returns:
        Shape [N,Q], int64.
    """
    num_levels = len(is_used_QK)
    digests = [hashlib.sha256(item_id.encode()).digest()[: 4 * num_levels] for item_id in item_ids]
    words_NQ = np.frombuffer(b"".join(digests), dtype=">u4").reshape(-1, num_levels)
    used = [np.flatnonzero(is_used_K.cpu().numpy()) for is_used_K in is_used_QK]
    return np.stack(
        [codes[words % len(codes)] for codes, words in zip(used, words_NQ.T, strict=True)], axis=1
    )
