"""From scores over the catalogue to lists: exclusion and the k best. B queries, V items."""

import numpy as np
import torch

from training.models.interface import PAD, Queries, TopK

_LEAST = 1e-7
"""Probabilities are read no closer to 0 and 1."""


def best_items(scores_BV: torch.Tensor, queries: Queries, k: int) -> TopK:
    """The k best-scored items of each context, excluded and unlisted ones left out.

    Args:
        scores_BV: floats, overwritten where an item is excluded; -inf is never answered.
        queries: the B queries that were scored.
        k: places in a list; places beyond the items on offer hold `PAD`.
    """
    exclude(scores_BV, queries)
    return best_of(scores_BV, k)


def best_of(scores_BW: torch.Tensor, k: int, items_BW: torch.Tensor | None = None) -> TopK:
    """The k best-scored of some candidates.

    Args:
        scores_BW: floats; -inf is never answered.
        k: places in a list; places beyond the candidates hold `PAD`.
        items_BW: which items they are; None: every item of the catalogue in its order.
    """
    best = scores_BW.topk(min(k, scores_BW.shape[1]), dim=1)
    chosen = best.indices if items_BW is None else items_BW.gather(1, best.indices)
    scores_Bk = best.values.float().cpu().numpy()
    items_Bk = chosen.cpu().numpy().astype(np.int32)
    items_Bk[np.isneginf(scores_Bk)] = PAD
    short = k - items_Bk.shape[1]
    if short > 0:
        items_Bk = np.pad(items_Bk, ((0, 0), (0, short)), constant_values=PAD)
        scores_Bk = np.pad(scores_Bk, ((0, 0), (0, short)), constant_values=-np.inf)
    return TopK(items_Bk, scores_Bk)


def exclude(scores_BV: torch.Tensor, queries: Queries) -> None:
    """Put -inf where an item may not be answered: excluded for a context, or listed for none."""
    device = scores_BV.device
    rows = torch.from_numpy(queries.excluded_rows).to(device)
    scores_BV[rows, torch.from_numpy(queries.excluded).long().to(device)] = -torch.inf
    scores_BV[:, torch.from_numpy(queries.unlisted).long().to(device)] = -torch.inf


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Log p - log (1 - p), float64; certainties are read as all but certain.

    Example:
        >>> log_odds(np.array([0.5, 0.75])).round(3).tolist()
        [0.0, 1.099]
    """
    inside = np.clip(np.asarray(probability, np.float64), _LEAST, 1 - _LEAST)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def rows_within(budget: int, width: int) -> int:
    """How many rows of `width` floats fit into `budget` floats; at least 1."""
    return max(1, budget // max(1, width))
