"""GSBI, greedy slate, beam item: a whole slate, item after item (HiGR; docs/mechanics.md, Slates).

Places are filled greedily from the first to the last, with the best item that a beam search over
its semantic ID finds. Log-probabilities add up within an item only: what was said before a place
does not compete any more. Every item exists, none is excluded, none comes twice. A model that knows
more of items than their codes say chooses among those of a beam (`rescore`).

`one_by_one` waits for each item before it asks for the next; `all_at_once` searches the items of
all places in one batch, for a model that does not want to know what was chosen, and then takes the
same greedy choice from the lists of the places.

Nothing in the loops leaves the device; `all_at_once` asks once whether a list was too short.

B rows, M places of a slate, W beams, Q levels, E excluded items, l codes so far.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from training.decoding.beam import (
    IMPOSSIBLE,
    Normalisation,
    StepFunction,
    beam_search,
    top_items,
)
from training.decoding.trie import CodeTrie, Exhausted

NONE = -1
NextItem = Callable[[Tensor | None], StepFunction]
"""Told which item each row chose, [B], -1 for none (None before the first), gives the `step` of
`training.decoding.beam` for the next place."""


@torch.inference_mode()
def one_by_one(
    next_item: NextItem,
    trie: CodeTrie,
    *,
    num_rows: int,
    num_items: int,
    beam_width: int,
    seen_BE: Tensor | None = None,
    normalisation: Normalisation = "legal",
    distinct: bool = True,
    rescore: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Slates whose next item is asked for when the one before it is known.

    A beam never runs dry while a row has an item left: what must not come is taken from the tree
    and not from the beams.

    Args:
        next_item: the model.
        trie: semantic IDs that exist, on the device of the logits.
        num_rows: B.
        num_items: M; any number.
        beam_width: W, at least 1; 1 is greedy within an item, too.
        seen_BE: items that must not come, padded with -1.
        normalisation: as `beam_search`.
        distinct: False lets an item come again, to measure how often the model would say it.
        rescore: of the place that `next_item` was last asked for: what is added to the scores of
            its beam's items [B, W] (-1: none) before the best is chosen.
    Returns:
        Items [B, M], -1 behind the last that a row has to offer, and the log-probability of each
        one's codes in nats, given the items before it, -inf there.
    """
    excluded_BE = (
        torch.full((num_rows, 0), NONE, device=trie.device) if seen_BE is None else seen_BE
    )
    items_BM = torch.full((num_rows, num_items), NONE, device=trie.device)
    scores_BM = torch.full((num_rows, num_items), IMPOSSIBLE, device=trie.device)
    chosen_B = None
    for place in range(num_items):
        taken_BE = excluded_BE
        if distinct:
            taken_BE = torch.cat([excluded_BE, items_BM[:, :place]], 1)
        beams = beam_search(
            next_item(chosen_B),
            trie,
            num_rows=num_rows,
            beam_width=beam_width,
            gone=trie.exhausted(taken_BE, skip_empty=False) if taken_BE.shape[1] else None,
            normalisation=normalisation,
        )
        items_BW, scores_BW = top_items(beams, trie, beam_width if rescore else 1, seen_BE=taken_BE)
        if rescore is not None:
            items_BW, scores_BW = _in_order(items_BW, scores_BW, rescore(items_BW))
        items_BM[:, place], scores_BM[:, place] = items_BW[:, 0], scores_BW[:, 0]
        chosen_B = items_BW[:, 0]
    return items_BM, scores_BM


@torch.inference_mode()
def all_at_once(
    open_rows: Callable[[Tensor], StepFunction],
    trie: CodeTrie,
    *,
    num_rows: int,
    num_items: int,
    beam_width: int,
    seen_BE: Tensor | None = None,
    normalisation: Normalisation = "legal",
    distinct: bool = True,
    rescore: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Slates whose items are all searched in one batch of B x M rows, then told apart.

    Place after place takes the best of its list that no earlier place took. Where all of a list is
    taken, the row's lists are searched again, as long as the slate: the places before can't take
    all of those, so that there is always a legal item while a row has one left.

    Args:
        open_rows: the model; for N of the rows [N] it gives the step of a search over N x M rows,
            all places of a row beside each other.
        trie: as for `one_by_one`, and so are the others.
        num_rows: B.
        num_items: M.
        beam_width: W.
        seen_BE: items that must not come.
        normalisation: as `beam_search`.
        distinct: whether no item comes twice.
        rescore: as for `one_by_one`, of N of the rows [N] and the items of all their places
            [N, M, W].
    Returns:
        As `one_by_one`.
    """

    def said(rows_N: Tensor, width: int) -> tuple[Tensor, Tensor]:
        seen_NE = None if seen_BE is None or not seen_BE.shape[1] else seen_BE[rows_N]
        gone = None
        if seen_NE is not None:
            depths = trie.exhausted(seen_NE, skip_empty=False)
            gone = [_for_each(depth, num_items) for depth in depths]
            seen_NE = seen_NE.repeat_interleave(num_items, 0)
        beams = beam_search(
            open_rows(rows_N),
            trie,
            num_rows=len(rows_N) * num_items,
            beam_width=width,
            gone=gone,
            normalisation=normalisation,
        )
        items_RW, scores_RW = top_items(beams, trie, width, seen_BE=seen_NE)
        items_NMW = items_RW.view(len(rows_N), num_items, width)
        scores_NMW = scores_RW.view(len(rows_N), num_items, width)
        if rescore is not None:
            items_NMW, scores_NMW = _in_order(items_NMW, scores_NMW, rescore(rows_N, items_NMW))
        if not distinct:
            return items_NMW[..., 0], scores_NMW[..., 0]
        return _told_apart(items_NMW, scores_NMW)

    items_BM, scores_BM = said(torch.arange(num_rows, device=trie.device), beam_width)
    if distinct and beam_width < num_items:
        short_N = (items_BM == NONE).any(1).nonzero()[:, 0]
        if len(short_N):
            items_BM[short_N], scores_BM[short_N] = said(short_N, num_items)
    return items_BM, scores_BM


def _in_order(items: Tensor, scores: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
    """Lists of items with the scores that they had, by these and what is added to them."""
    order = (scores + added).argsort(dim=-1, descending=True, stable=True)
    return items.gather(-1, order), scores.gather(-1, order)


def _told_apart(items_BMW: Tensor, scores_BMW: Tensor) -> tuple[Tensor, Tensor]:
    """The first of each place's list that no earlier place took, [B, M]; lists are best first."""
    items_BM = torch.full(items_BMW.shape[:2], NONE, device=items_BMW.device)
    scores_BM = torch.full(items_BM.shape, IMPOSSIBLE, device=items_BMW.device)
    for place in range(items_BM.shape[1]):
        list_BW = items_BMW[:, place]
        taken_BW = (list_BW[:, :, None] == items_BM[:, None, :place]).any(-1)
        is_free_BW = ~taken_BW & (list_BW != NONE)
        best_B1 = is_free_BW.int().argmax(1, keepdim=True)
        is_any_B1 = is_free_BW.gather(1, best_B1)
        items_B1 = list_BW.gather(1, best_B1).masked_fill(~is_any_B1, NONE)
        scores_B1 = scores_BMW[:, place].gather(1, best_B1).masked_fill(~is_any_B1, IMPOSSIBLE)
        items_BM[:, place], scores_BM[:, place] = items_B1[:, 0], scores_B1[:, 0]
    return items_BM, scores_BM


def _for_each(depth: Exhausted | None, count: int) -> Exhausted | None:
    """What a row has lost, for each of `count` rows in its place."""
    if depth is None:
        return None
    fields = {name: value.repeat_interleave(count, 0) for name, value in vars(depth).items()}
    return replace(depth, **fields)
