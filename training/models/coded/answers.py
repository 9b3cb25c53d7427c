"""Lists by codes and by cosines, where a catalogue's semantic IDs have too many prefixes for all.

    score(v) = log P(codes of v | y) + η log P(v | y)

of candidates: the best items of a constrained beam, and those with the largest cosines.

B rows, W beams or candidates, V items, Q levels, D width.
"""

import torch
from torch import Tensor

from training.data.queries import Queries, TopK
from training.decoding.beam import beam_search, top_items
from training.decoding.trie import CodeTrie
from training.models.coded.decoder import CodeDecoder
from training.models.coded.items import ItemVectors
from training.models.ranking import best_of, exclude

IMPOSSIBLE = float("-inf")


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
    return best_of(score_BW, k, item_BW)
