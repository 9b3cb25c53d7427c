"""Beam search over the levels of a semantic ID, constrained to IDs that exist.

A model plugs in with one function, called once per level:

    def step(prefix_BWl, parent_BW):
        '''Logits of the next code for every beam.'''
        return logits_BWK

* `prefix_BWl` holds the codes chosen so far, int64 in [0, K) of each level; l = 0 at the first
  call, where W = 1. W may grow or shrink from call to call, up to the beam width.
* `parent_BW` says which beam of the previous call each prefix continues (zeros at the first
  call). A model with a cache per beam reorders it by this; a model that caches only the history
  (shared by all beams of a row) and runs the few codes again can leave it unread.
* `logits_BWK` has K = `trie.num_codes[l]` columns, raw.

Nothing in the loop leaves the device: legal children are gathered from the tree's tensors, and
sizes are known beforehand.

Normalisation. `legal` (default): log-softmax over the codes that exist below the prefix, so the
scores of all IDs sum to one. `all`: log-softmax over the whole level, as a model trained with plain
cross-entropy assigned it; mass on IDs that do not exist is lost, and IDs in well-filled branches
gain against lonely ones. Which is better is an empirical question, so both are here.

Legend: B rows, W beams, K codes of a level, C candidate children per beam, l codes so far, E seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from training.decoding.trie import Branches, CodeTrie, Exhausted

StepFunction = Callable[[Tensor, Tensor], Tensor]
Normalisation = Literal["legal", "all"]
IMPOSSIBLE = float("-inf")


@dataclass(frozen=True)
class Beams:
    """Semantic IDs found for each row, best first.

    Args:
        codes_BWQ: codes; -1 where a row has fewer IDs than the width.
        leaf_BW: leaf of the tree, -1 where there is no ID; after an unconstrained search -1
            throughout, until `located`.
        score_BW: log-probability in nats, -inf where there is no ID.
    """

    codes_BWQ: Tensor
    leaf_BW: Tensor
    score_BW: Tensor

    def located(self, trie: CodeTrie) -> "Beams":
        """The same with each ID's leaf looked up, -1 for an ID that no item has."""
        return replace(self, leaf_BW=trie.lookup(self.codes_BWQ))

    def illegal_share(self, trie: CodeTrie) -> float:
        """Share of the produced IDs that no item has; 0 under the constraint."""
        produced_BW = self.score_BW > IMPOSSIBLE
        illegal_BW = produced_BW & (trie.lookup(self.codes_BWQ) < 0)
        return float(illegal_BW.sum() / produced_BW.sum().clamp(min=1))


@torch.inference_mode()
def beam_search(
    step: StepFunction,
    trie: CodeTrie,
    *,
    num_rows: int,
    beam_width: int,
    seen_BE: Tensor | None = None,
    gone: Sequence[Exhausted | None] | None = None,
    normalisation: Normalisation = "legal",
    constrained: bool = True,
) -> Beams:
    """The best semantic IDs of each row under the model.

    A beam as wide as there are prefixes is exact. With `seen_BE` a row gets min(beam_width,
    unseen IDs) IDs, each with at least one unseen item.

    Args:
        step: the model, as the module's docstring says.
        trie: IDs that exist, on the device of the logits.
        num_rows: B.
        beam_width: W, at least 1.
        seen_BE: items that must not come, padded with -1; what is taken away doesn't change the
            probabilities of the rest.
        gone: the same as nodes, from `trie.exhausted`, where the caller has them already.
        normalisation: over the `legal` children or over `all` codes of the level.
        constrained: False lets the model produce any codes, to measure what the constraint costs
            and how often the model would leave the tree; implies `all` and takes no `seen_BE`.
    Returns:
        W' = min(beam_width, what the tree can hold) IDs per row.
    Raises:
        ValueError: the width is below 1, the logits' last axis is not the level's vocabulary, or
            `seen_BE` or `gone` is given without the constraint.
    """
    if beam_width < 1:
        raise ValueError(f"beam_width is {beam_width}, expected at least 1")
    if not constrained and not (seen_BE is None and gone is None):
        raise ValueError("seen_BE needs the constraint: without it, filter what comes out")
    if gone is None:
        gone = trie.exhausted(seen_BE) if seen_BE is not None else [None] * trie.num_levels
    zeros_B1 = torch.zeros((num_rows, 1), dtype=torch.int64, device=trie.device)
    node_BW = parent_BW = zeros_B1
    prefix_BWl = zeros_B1.new_zeros((num_rows, 1, 0))
    score_BW = torch.zeros((num_rows, 1), device=trie.device)
    for branches, lost in zip(trie.branches, gone, strict=True):
        logits_BWK = step(prefix_BWl, parent_BW).float()
        if logits_BWK.shape[-1] != branches.num_codes:
            raise ValueError(
                f"level {prefix_BWl.shape[-1]}: the model gives {logits_BWK.shape[-1]} logits, the "
                f"tree has {branches.num_codes} codes; they come from different generations"
            )
        if constrained:
            candidates_BWC = _legal_scores(logits_BWK, branches, node_BW, normalisation)
        else:
            candidates_BWC = logits_BWK.log_softmax(-1)
        candidates_BWC = candidates_BWC + score_BW.unsqueeze(-1)
        if lost is not None:
            _take_away(candidates_BWC, lost, branches, node_BW, score_BW)
        num_columns = candidates_BWC.shape[-1]
        candidates = candidates_BWC.flatten(1)
        score_BW, best_BW = candidates.topk(min(beam_width, candidates.shape[1]))
        parent_BW, column_BW = best_BW // num_columns, best_BW % num_columns
        if constrained:
            # A beam that died (-inf) parks at the node and code of a real one; it stays -inf.
            column_BW = column_BW.masked_fill(score_BW == IMPOSSIBLE, 0)
            node_BW, code_BW = _follow(branches, node_BW.gather(1, parent_BW), column_BW)
        else:
            code_BW = column_BW
        kept_BWl = prefix_BWl.gather(
            1, parent_BW.unsqueeze(-1).expand(-1, -1, prefix_BWl.shape[-1])
        )
        prefix_BWl = torch.cat([kept_BWl, code_BW.unsqueeze(-1)], dim=-1)
    dead_BW = score_BW == IMPOSSIBLE
    leaf_BW = node_BW if constrained else torch.full_like(parent_BW, -1)
    return Beams(
        prefix_BWl.masked_fill(dead_BW.unsqueeze(-1), -1),
        leaf_BW.masked_fill(dead_BW, -1),
        score_BW,
    )


@torch.inference_mode()
def top_items(
    beams: Beams, trie: CodeTrie, k: int, *, seen_BE: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The first k items behind the beams: an ID's items in ascending order, all at its score.

    Args:
        beams: from `beam_search` with the same tree and the same `seen_BE`.
        trie: the tree.
        k: items per row.
        seen_BE: items to leave out, padded with -1; an ID of several items can be half seen.
    Returns:
        Items [B,k], -1 where a row has fewer, and scores [B,k] in nats, -inf there.
    """
    item = trie.items_of(beams.leaf_BW).flatten(1)
    score = beams.score_BW.repeat_interleave(trie.largest_bucket, dim=1)
    keep = item >= 0
    if seen_BE is not None and trie.largest_bucket > 1:
        keep &= ~(item.unsqueeze(-1) == seen_BE.unsqueeze(1)).any(-1)
    if trie.largest_bucket > 1:
        order = (~keep).int().argsort(dim=1, stable=True)
        item, score, keep = item.gather(1, order), score.gather(1, order), keep.gather(1, order)
    item, score = item.masked_fill(~keep, -1)[:, :k], score.masked_fill(~keep, IMPOSSIBLE)[:, :k]
    short = k - item.shape[1]
    if short > 0:
        item = torch.nn.functional.pad(item, (0, short), value=-1)
        score = torch.nn.functional.pad(score, (0, short), value=IMPOSSIBLE)
    return item, score


def _legal_scores(
    logits_BWK: Tensor, branches: Branches, node_BW: Tensor, normalisation: Normalisation
) -> Tensor:
    """Log-probability of every child of every beam, -inf in the columns without a child."""
    scores = logits_BWK if normalisation == "legal" else logits_BWK.log_softmax(-1)
    if branches.illegal is not None:
        # Whole rows are copied, which embedding does faster than indexing.
        beyond_BWC = torch.embedding(branches.illegal, node_BW)
        scores_BWC = scores.masked_fill(beyond_BWC, IMPOSSIBLE)
    else:
        child_BWC = branches.first[node_BW].unsqueeze(-1) + branches.ranks
        beyond_BWC = child_BWC >= branches.first[node_BW + 1].unsqueeze(-1)
        code_BWC = branches.code[child_BWC.masked_fill_(beyond_BWC, 0)]
        scores_BWC = scores.gather(-1, code_BWC).masked_fill_(beyond_BWC, IMPOSSIBLE)
    # Every node has a child, so no row of the softmax is empty.
    return scores_BWC.log_softmax(-1) if normalisation == "legal" else scores_BWC


def _follow(branches: Branches, node_BW: Tensor, column_BW: Tensor) -> tuple[Tensor, Tensor]:
    """Child node and code behind a column of `_legal_scores`."""
    if branches.child is not None:
        return branches.child[node_BW, column_BW].long(), column_BW
    child_BW = branches.first[node_BW] + column_BW
    return child_BW, branches.code[child_BW]


def _take_away(
    candidates_BWC: Tensor, gone: Exhausted, branches: Branches, node_BW: Tensor, score_BW: Tensor
) -> None:
    """Set the candidates that lead to exhausted nodes to -inf, in place.

    Each exhausted node looks its parent up among the row's W live beams, which hold distinct
    nodes; that is far less than a look-up for each of the W × C candidates.
    """
    held_BW, beam_BW = node_BW.masked_fill(score_BW == IMPOSSIBLE, -1).sort(-1)
    place_BE = torch.searchsorted(held_BW, gone.parent_BE).clamp_(max=held_BW.shape[1] - 1)
    hit_BE = (held_BW.gather(1, place_BE) == gone.parent_BE) & gone.is_gone_BE
    node_BE = gone.node_BE.masked_fill(~hit_BE, 0)
    if branches.child is not None:
        column_BE = branches.code[node_BE]
    else:
        column_BE = node_BE - branches.first[gone.parent_BE.masked_fill(~hit_BE, 0)]
    target_BE = beam_BW.gather(1, place_BE) * candidates_BWC.shape[-1] + column_BE
    penalty_BE = torch.zeros_like(target_BE, dtype=candidates_BWC.dtype)
    penalty_BE.masked_fill_(hit_BE, IMPOSSIBLE)
    flat = candidates_BWC.view(len(target_BE), -1)
    flat.scatter_add_(1, target_BE.masked_fill(~hit_BE, 0), penalty_BE)
