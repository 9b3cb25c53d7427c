"""The users of a fit and their codes, as they were at an epoch's end.

U users, F fields, D width of a user's vector, Q levels.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from training.models.groupce.user_codes import UserCodes, churn, occupancy

ROWS = 1 << 16
"""Users whose vectors are made at a time."""
NONE = -1
"""Stands for no code."""


class Roster:
    """Who trains, and what codes they had.

    Args:
        codes: the codebooks.
        user_UF: codes of all users' fields, int32.
        present_U: which of them train, bool.
    """

    def __init__(self, codes: UserCodes, user_UF: np.ndarray, present_U: np.ndarray) -> None:
        self._codes = codes
        self._user_UF = torch.from_numpy(user_UF)
        self._present_N = torch.from_numpy(np.flatnonzero(present_U))
        num_levels = codes.codebooks_QKD.shape[0]
        self._codes_UQ = torch.full((len(user_UF), num_levels), NONE)
        self._expired_Q = torch.zeros(num_levels, dtype=torch.int64)

    def codes_of(self, user_B: Tensor, now_BQ: Tensor) -> Tensor:
        """The codes that users had at the end of the last epoch; `now_BQ` of those without any."""
        self._codes_UQ = self._codes_UQ.to(user_B.device)
        kept_BQ = self._codes_UQ[user_B]
        return torch.where(kept_BQ == NONE, now_BQ, kept_BQ)

    def numbers(self) -> np.ndarray | None:
        """A number for the codes of each user, int64, [U]; None before the first epoch's end."""
        codes_UQ = self._codes_UQ.cpu().numpy()
        if (codes_UQ == NONE).all():
            return None
        numbers_U: np.ndarray = np.unique(codes_UQ, axis=0, return_inverse=True)[1].ravel()
        return numbers_U

    def note(self, expired_Q: Tensor) -> None:
        """Count codes that expired in a step."""
        self._expired_Q = self._expired_Q.to(expired_Q.device) + expired_Q

    def state(self) -> dict[str, Tensor]:
        """What later epochs depend on, and what is watched."""
        return {"codes": self._codes_UQ, "expired": self._expired_Q}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._codes_UQ, self._expired_Q = state["codes"].clone(), state["expired"].clone()

    @torch.no_grad()
    def end_epoch(self, vectors_of: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Give all users the codes that they have now; points of the curves.

        Args:
            vectors_of: e_u of users' codes.
        Returns:
            Those of `occupancy` and, from the second epoch on, of `churn`; `expired_codes_l`, over
            the steps; `quantisation_error`, sum ‖e_u - ê_u‖² / sum ‖e_u‖².
        """
        device = self._codes.codebooks_QKD.device
        coded, error, energy = [], 0.0, 0.0
        for part_N in self._present_N.split(ROWS):
            user_BD = vectors_of(self._user_UF[part_N].to(device)).float()
            found = self._codes.assign(user_BD)
            coded.append(found.codes_BQ)
            error += float((user_BD - found.quantised_BD).double().square().sum())
            energy += float(user_BD.double().square().sum())
        codes_NQ, present_N = torch.cat(coded), self._present_N.to(device)
        points = occupancy(codes_NQ, self._codes.num_codes)
        before_NQ = self._codes_UQ.to(device)[present_N]
        if not (before_NQ == NONE).any():
            points |= churn(before_NQ, codes_NQ)
        for level, expired in enumerate(self._expired_Q.tolist(), start=1):
            points[f"expired_codes_{level}"] = float(expired)
        points["quantisation_error"] = error / energy if energy else 0.0
        self._codes_UQ = self._codes_UQ.to(device)
        self._codes_UQ[present_N] = codes_NQ
        self._expired_Q = torch.zeros_like(self._expired_Q)
        return points
