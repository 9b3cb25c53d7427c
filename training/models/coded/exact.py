"""The best items of a whole catalogue by codes and cosines, exactly, at the price of a few.

    score(v) = b(v) + log P( last code of v | its prefix, y )        b(v): all the rest
    b(v) >= score(v)

Codes of all levels but the last have few prefixes, so b is known of every item. Last codes are
looked at from the largest b on, until no item that is left can be among the best.

B rows, R of them, W items looked at, V items, Q levels, K codes of a level, D width, P prefixes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.data.queries import Queries, TopK
from training.models.coded.decoder import CodeDecoder
from training.models.coded.items import ItemVectors
from training.models.interface import PAD
from training.models.ranking import best_of, exclude

MOST_PREFIXES = 4096
"""Prefixes of a length up to which all are scored."""
LOOKED_AT = 64
"""Items of a row in the first turn; each further turn looks at four times as many."""
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
    """The prefixes that the codes of a catalogue have, of every length from 0 to Q - 2."""
    everywhere_V = torch.zeros(len(codes_VQ), dtype=torch.int64, device=codes_VQ.device)
    levels = [Prefixes(codes_VQ.new_zeros((1, 0)).long(), everywhere_V)]
    for length in range(1, codes_VQ.shape[1] - 1):
        codes_Pl, of_item_V = codes_VQ[:, :length].unique(dim=0, return_inverse=True)
        levels.append(Prefixes(codes_Pl.long(), of_item_V))
    return tuple(levels[: codes_VQ.shape[1] - 1])


def most_prefixes(prefixes: tuple[Prefixes, ...]) -> int:
    """How many prefixes the length with the most has."""
    return max((len(of_length.codes_Pl) for of_length in prefixes), default=0)


def best_of_all(
    decoder: CodeDecoder,
    items: ItemVectors,
    prefixes: tuple[Prefixes, ...],
    y_BD: Tensor,
    by_item_BV: Tensor | None,
    queries: Queries,
    k: int,
) -> TopK:
    """The k best items by log P(codes) and what is added to it.

    Args:
        decoder: of codes.
        items: the catalogue.
        prefixes: of its codes.
        y_BD: what is expected.
        by_item_BV: what is added, -inf for items that can't be answered; None: codes alone decide.
        queries: the B questions.
        k: places; beyond the items on offer they hold `PAD`.
    """
    bound_BV = _bounds(decoder, items, prefixes, y_BD)
    if by_item_BV is not None:
        bound_BV = bound_BV + by_item_BV
    exclude(bound_BV, queries)
    num_items = bound_BV.shape[1]
    items_Bk = np.full((len(queries), k), PAD, dtype=np.int32)
    scores_Bk = np.full((len(queries), k), -np.inf, dtype=np.float32)
    row_R, num_looked_at = torch.arange(len(queries), device=y_BD.device), max(LOOKED_AT, k)
    while len(row_R):
        near = bound_BV[row_R].topk(min(num_looked_at, num_items))
        score_RW = near.values + _last_codes(decoder, items, y_BD[row_R], near.indices)
        top = best_of(score_RW, k, near.indices)
        # Of an item that was not looked at the bound is no larger than the last that was.
        is_final_R = top.scores_Bk[:, -1] >= near.values[:, -1].float().cpu().numpy()
        is_final_R |= near.values.shape[1] == num_items
        final = row_R.cpu().numpy()[is_final_R]
        items_Bk[final] = top.items_Bk[is_final_R]
        scores_Bk[final] = top.scores_Bk[is_final_R]
        row_R = row_R[torch.from_numpy(~is_final_R).to(row_R.device)]
        num_looked_at *= 4
    return TopK(items_Bk, scores_Bk)


def _bounds(
    decoder: CodeDecoder, items: ItemVectors, prefixes: tuple[Prefixes, ...], y_BD: Tensor
) -> Tensor:
    """Log-probability of every item's codes but the last, nats, [B, V]; -inf where it has none."""
    codes_VQ = items.codes_VQ
    total_BV = torch.zeros(len(y_BD), len(codes_VQ), device=y_BD.device)
    for level, of_length in enumerate(prefixes):
        logits_BPK = decoder.logits(y_BD[:, None], of_length.codes_Pl.clamp(min=0)[None], items)
        log_probs_BPK = logits_BPK.float().log_softmax(-1)
        code_V = codes_VQ[:, level].long().clamp(min=0)
        # One index into rows of P K numbers takes a tenth of what two into P and K take.
        cell_V = of_length.of_item_V * log_probs_BPK.shape[-1] + code_V
        total_BV += log_probs_BPK.flatten(1).index_select(1, cell_V)
    return total_BV.masked_fill(codes_VQ[:, 0] < 0, IMPOSSIBLE)


def _last_codes(decoder: CodeDecoder, items: ItemVectors, y_RD: Tensor, item_RW: Tensor) -> Tensor:
    """Log-probability of items' last codes after those before them, nats, float32, [R, W]."""
    codes_RWQ = items.codes(item_RW)
    y_RWD = y_RD[:, None].expand(-1, item_RW.shape[1], -1)
    logits_RWK = decoder.logits(y_RWD, codes_RWQ[..., :-1], items).float()
    last_RW1 = codes_RWQ[..., -1:]
    return logits_RWK.gather(-1, last_RW1).squeeze(-1) - logits_RWK.logsumexp(-1)
