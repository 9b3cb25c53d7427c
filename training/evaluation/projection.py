"""Item vectors in the plane, for a picture of what prefixes hold together."""

import numpy as np
import torch
from torch import Tensor


def principal_plane(embeddings_ND: Tensor, *, most_points: int, seed: int) -> tuple[Tensor, Tensor]:
    """Coordinates of (a sample of) the items on the two directions of largest variance.

    Each axis is turned so that its direction's largest component is positive: the same items give
    the same picture.

    Args:
        embeddings_ND: the catalogue, N of 1 or more.
        most_points: size of the sample where there are more items.
        seed: of the sample.
    Returns:
        Rows that were drawn, ascending [P], and their coordinates [P,2].
    """
    rows = torch.arange(len(embeddings_ND))
    if len(rows) > most_points:
        chosen = np.random.default_rng(seed).choice(len(rows), most_points, replace=False)
        rows = torch.from_numpy(np.sort(chosen))
    points_PD = embeddings_ND[rows].double()
    centred_PD = points_PD - points_PD.mean(0)
    _, directions_DD = torch.linalg.eigh(centred_PD.T @ centred_PD)
    plane_D2 = directions_DD[:, -2:].flip(1)
    largest_12 = plane_D2.abs().argmax(0, keepdim=True)
    plane_D2 = plane_D2 * plane_D2.gather(0, largest_12).sign()
    return rows, (centred_PD @ plane_D2).float()


def points_by_prefix(
    embeddings_ND: Tensor, codes_NQ: Tensor, *, most_points: int = 3_000, seed: int = 0
) -> list[tuple[float, float, int]]:
    """(x, y, first code) of (a sample of) the items, ready for JSON."""
    rows, plane_P2 = principal_plane(embeddings_ND, most_points=most_points, seed=seed)
    first_codes = codes_NQ[rows, 0].tolist()
    return [
        (round(x, 4), round(y, 4), code)
        for (x, y), code in zip(plane_P2.tolist(), first_codes, strict=True)
    ]
