"""Lists by codes and by cosines together: log P(codes of v | y) + η log P(v | y), up to a constant.

Exactly, over the whole catalogue, where its semantic IDs have few prefixes. Beyond that candidates
are scored: the best items of a constrained beam, and those with the largest cosines.

B rows, W beams or candidates, V items, Q levels, K codes of a level, D width, P prefixes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.data.queries import Queries, TopK
from training.decoding.beam import beam_search, top_items
from training.decoding.trie import CodeTrie
from training.models.coded.decoder import CodeDecoder
from training.models.coded.items import ItemVectors
from training.models.ranking import exclude

MOST_PREFIXES = 4096
"""Prefixes of all levels up to which every item is scored."""
IMPOSSIBLE = float("-inf")


@dataclass(frozen=True)
class Prefixes:
    """The distinct prefixes of one length.

    Attributes:
        codes_Pl: their codes, int64.
        of_item_V: the prefix of each item, int64.
    """

    codes_Pl: Tensor
    of_item_V: Tensor


def prefixes_of(codes_VQ: Tensor) -> tuple[Prefixes, ...]:
    """The prefixes that the codes of a catalogue have, of every length from 0 to Q - 1."""
    everywhere_V = torch.zeros(len(codes_VQ), dtype=torch.int64, device=codes_VQ.device)
    levels = [Prefixes(codes_VQ.new_zeros((1, 0)).long(), everywhere_V)]
    for length in range(1, codes_VQ.shape[1]):
        codes_Pl, of_item_V = codes_VQ[:, :length].unique(dim=0, return_inverse=True)
        levels.append(Prefixes(codes_Pl.long(), of_item_V))
    return tuple(levels)


def log_probs_of_all(
    decoder: CodeDecoder, items: ItemVectors, y_BD: Tensor, prefixes: tuple[Prefixes, ...]
) -> Tensor:
    """Log-probability of every item's codes, nats, [B, V]; -inf for an item without codes."""
    total_BV = torch.zeros((), device=y_BD.device)
    for level, of_length in enumerate(prefixes):
        logits_BPK = decoder.logits(y_BD[:, None], of_length.codes_Pl.clamp(min=0)[None], items)
        log_probs_BPK = logits_BPK.float().log_softmax(-1)
        code_V = items.codes_VQ[:, level].long().clamp(min=0)
        total_BV = total_BV + log_probs_BPK[:, of_length.of_item_V, code_V]
    return total_BV.masked_fill(items.codes_VQ[:, 0] < 0, IMPOSSIBLE)


def by_candidates(
    decoder: CodeDecoder,
    items: ItemVectors,
    trie: CodeTrie,
    y_BD: Tensor,
    by_item_BV: Tensor | None,
    queries: Queries,
    k: int,
    *,
    beam_width: int,
) -> TopK:
    """The k best of a beam's items and of those with the largest cosines.

    Args:
        decoder: of codes.
        items: the catalogue.
        trie: the semantic IDs of the items that are listed.
        y_BD: what is expected.
        by_item_BV: what is added to the codes' log-probability, -inf for items that can't be
            answered; overwritten; None: codes alone decide.
        queries: the B questions.
        k: places.
        beam_width: semantic IDs kept per step; at least k.
    """
    width = max(k, beam_width)
    seen_BE = torch.from_numpy(queries.excluded_BE).to(y_BD.device)
    beams = beam_search(
        decoder.step(y_BD, items),
        trie,
        num_rows=len(queries),
        beam_width=width,
        seen_BE=seen_BE,
        normalisation="all",
    )
    item_BW, score_BW = top_items(beams, trie, width, seen_BE=seen_BE)
    if by_item_BV is not None:
        exclude(by_item_BV, queries)
        near = by_item_BV.topk(min(width, by_item_BV.shape[1]))
        log_probs_BWQ = decoder.log_probs(
            y_BD.repeat_interleave(near.indices.shape[1], 0),
            items.codes(near.indices).flatten(0, 1),
            items,
        )
        near_BW = near.values + log_probs_BWQ.sum(-1).view_as(near.values)
        is_twice_BW = (near.indices[:, :, None] == item_BW[:, None]).any(-1)
        score_BW = score_BW + by_item_BV.gather(1, item_BW.clamp(min=0))
        item_BW = torch.cat([item_BW, near.indices], 1)
        score_BW = torch.cat([score_BW, near_BW.masked_fill(is_twice_BW, IMPOSSIBLE)], 1)
    return _best(item_BW, score_BW, k)


def _best(item_BW: Tensor, score_BW: Tensor, k: int) -> TopK:
    """The k best candidates; `PAD` beyond those there are."""
    best = score_BW.topk(min(k, score_BW.shape[1]))
    items_Bk = item_BW.gather(1, best.indices).masked_fill(best.values == IMPOSSIBLE, -1)
    short = (0, k - items_Bk.shape[1])
    items_Bk = torch.nn.functional.pad(items_Bk, short, value=-1)
    scores_Bk = torch.nn.functional.pad(best.values, short, value=IMPOSSIBLE)
    return TopK(items_Bk.cpu().numpy().astype(np.int32), scores_Bk.float().cpu().numpy())
