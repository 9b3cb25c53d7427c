"""Impressions as batches: which train, which stop the fit, and which come together.

N impressions, B of a batch, F fields, L events of a history, Q levels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from training.data.features import Features, Group
from training.data.histories import DAY, SECOND, Histories
from training.data.impressions import Impressions
from training.data.queries import PAD
from training.data.splits import Split, Targets


@dataclass(frozen=True)
class ImpressionBatch:
    """B impressions.

    Attributes:
        user_BF: codes of users, int32.
        item_BF: codes of items, int32.
        context_BF: codes of moments, int32.
        labels_B: whether feedback was positive, bool.
        user_B: number of the user among all, int64.
        place_B: the same among the users of the batch, int64.
        is_first_B: whether no row before it is of the same user.
        num_users: of the batch.
        history_BLF: codes of the items of the user's events before, -1 where there is none; None:
            not wanted.
        items_BL: the item, [B, 1].
        num_targets: rows of the batch over all processes.
    """

    user_BF: Tensor
    item_BF: Tensor
    context_BF: Tensor
    labels_B: Tensor
    user_B: Tensor
    place_B: Tensor
    is_first_B: Tensor
    num_users: int
    history_BLF: Tensor | None
    items_BL: Tensor
    num_targets: int

    def __len__(self) -> int:
        return len(self.labels_B)

    @property
    def num_own_targets(self) -> int:
        """Rows of this process."""
        return len(self)

    @property
    def num_positions(self) -> int:
        """Rows; none is padding."""
        return len(self)

    @property
    def num_cells(self) -> int:
        """Rows."""
        return len(self)

    def to(self, device: Any) -> Self:
        """The same on another device."""
        moved = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class Rows:
    """Impressions with their labels, and the histories before them.

    Attributes:
        impressions: by user and time.
        label_N: whether feedback was positive, bool.
        histories: where events before an impression are read; None: nobody reads them.
        end_N: where they end there, int64.
        max_history: events of a history.
    """

    impressions: Impressions
    label_N: np.ndarray
    histories: Histories | None
    end_N: np.ndarray
    max_history: int

    @classmethod
    def of(
        cls,
        impressions: Impressions,
        positive_strength: int,
        histories: Histories | None,
        max_history: int,
    ) -> Self:
        """Rows of impressions.

        Args:
            impressions: by user and time.
            positive_strength: feedback is positive from this strength on.
            histories: of the same users; None: nobody reads them.
            max_history: events of a history.
        """
        label_N = impressions.strength >= positive_strength
        end_N = np.zeros(len(impressions), dtype=np.int64)
        if histories is not None:
            end_N = ends_before(histories, impressions.user, impressions.time)
        return cls(impressions, label_N, histories, end_N, max_history)

    def __len__(self) -> int:
        return len(self.label_N)

    def where(self, keep: np.ndarray) -> Self:
        """The rows of a mask."""
        return replace(
            self,
            impressions=self.impressions.where(keep),
            label_N=self.label_N[keep],
            end_N=self.end_N[keep],
        )

    def batch(self, rows: np.ndarray, num_targets: int) -> ImpressionBatch:
        """Some rows as a batch."""
        of = self.impressions
        user_B = of.user[rows]
        _, first, place_B = np.unique(user_B, return_index=True, return_inverse=True)
        is_first_B = np.zeros(len(rows), dtype=bool)
        is_first_B[first] = True
        history_BLF = None
        if self.histories is not None:
            items_BL = last_items(self.histories, user_B, self.end_N[rows], self.max_history)
            history_BLF = torch.from_numpy(history_codes(of.features, items_BL))
        return ImpressionBatch(
            user_BF=torch.from_numpy(of.user_NF[rows]),
            item_BF=torch.from_numpy(of.item_NF[rows]),
            context_BF=torch.from_numpy(of.context_NF[rows]),
            labels_B=torch.from_numpy(self.label_N[rows]),
            user_B=torch.from_numpy(user_B),
            place_B=torch.from_numpy(place_B.astype(np.int64)),
            is_first_B=torch.from_numpy(is_first_B),
            num_users=len(first),
            history_BLF=history_BLF,
            items_BL=torch.from_numpy(of.item[rows].astype(np.int64))[:, None],
            num_targets=num_targets,
        )

    def in_order(self, rows: int, num_processes: int, rank: int) -> Iterator[ImpressionBatch]:
        """This process's share, from first to last, so many rows at a time."""
        own = np.array_split(np.arange(len(self)), num_processes)[rank]
        for start in range(0, len(own), rows):
            yield self.batch(own[start : start + rows], rows)


def history_codes(features: Features, items_BL: np.ndarray) -> np.ndarray:
    """Codes of a history's items, -1 where there is none, int32, [B, L, F]."""
    codes_BLF = features.item_codes(items_BL)
    codes_BLF[items_BL == PAD] = -1
    return codes_BLF


def ends_before(histories: Histories, user_N: np.ndarray, time_N: np.ndarray) -> np.ndarray:
    """Where a user's events strictly before a moment's second end in the histories, int64, [N].

    What happened in the same second is not known yet.

    Args:
        histories: of the users.
        user_N: whose.
        time_N: microseconds.
    """
    # A user's events are ascending: all users' are once each has a stretch of time to itself.
    span = int(max(histories.times.max(initial=0), time_N.max(initial=0))) // SECOND + 2
    key_M = histories.users * span + histories.times // SECOND
    end_N: np.ndarray = np.searchsorted(key_M, user_N * span + time_N // SECOND, "left")
    return end_N


def last_items(
    histories: Histories, user_B: np.ndarray, end_B: np.ndarray, count: int
) -> np.ndarray:
    """Items of the last events before an end, oldest first, int32, [B, L]; right-padded."""
    length_B = np.minimum(end_B - histories.offsets[user_B], count)
    columns = np.arange(int(length_B.max(initial=0)))
    inside_BL = columns < length_B[:, None]
    items_BL = np.full(inside_BL.shape, PAD, dtype=np.int32)
    items_BL[inside_BL] = histories.items[((end_B - length_B)[:, None] + columns)[inside_BL]]
    return items_BL


def split_impressions(impressions: Impressions, split: Split) -> tuple[Impressions, Impressions]:
    """Impressions that train, and those that stop the fit, by the borders of a split.

    Of a rolling split: those before its validation days, and those of these days. Of a random one:
    those that are no held-out event, and those that validate. Else each user's before the event
    that validates, and from it on until the one that tests.
    """
    if split.facts["protocol"] == "random":
        validates_N, tests_N = (
            _are_events(impressions, targets) for targets in (split.validation, split.test)
        )
        return impressions.where(~validates_N & ~tests_N), impressions.where(validates_N & ~tests_N)
    if "train_until" in split.facts:
        until, end = (_midnight(split.facts[f"{name}_until"]) for name in ("train", "validation"))
        return impressions.until(until), impressions.where(
            (impressions.time >= until) & (impressions.time < end)
        )
    num_users = split.test.histories.num_users
    test_U, validation_U = np.full((2, num_users), np.iinfo(np.int64).max)
    test_U[split.test.user] = split.test.times
    validation_U[split.validation.user] = split.validation.times
    until_N = np.minimum(validation_U, test_U)[impressions.user]
    time_N = impressions.time
    return impressions.where(time_N < until_N), impressions.where(
        (time_N >= until_N) & (time_N < test_U[impressions.user])
    )


def of_known_values(impressions: Impressions) -> Impressions:
    """The same with code 0 for values that the features don't know: they were met too late."""

    def known(codes_NF: np.ndarray, group: Group) -> np.ndarray:
        size_F = np.array([field.size for field in impressions.features.of_group(group)])
        return np.where(codes_NF < size_F, codes_NF, 0).astype(np.int32)

    return replace(
        impressions,
        user_NF=known(impressions.user_NF, "user"),
        item_NF=known(impressions.item_NF, "item"),
        context_NF=known(impressions.context_NF, "context"),
    )


def order_of(seed: int, epoch: int, num_rows: int, groups_N: np.ndarray | None) -> np.ndarray:
    """All rows in the order of an epoch: drawn, or group by group in a drawn order of groups.

    Args:
        seed: with the epoch it decides.
        epoch: from 0.
        num_rows: N.
        groups_N: numbers of groups whose rows come together; None: every row is its own.
    """
    draw = np.random.default_rng((seed, epoch))
    order_N = draw.permutation(num_rows)
    if groups_N is None:
        return order_N
    groups, group_N = np.unique(groups_N, return_inverse=True)
    place_N = draw.permutation(len(groups))[group_N]
    return order_N[np.argsort(place_N[order_N], kind="stable")]


def _are_events(impressions: Impressions, targets: Targets) -> np.ndarray:
    """Which impressions are target events, by user, time and item; bool, [N]."""
    events = (targets.user, targets.times, targets.items)
    rows = (impressions.user, impressions.time, impressions.item)
    user_M, time_M, item_M = (np.concatenate(pair) for pair in zip(events, rows, strict=True))
    key_M = user_M
    for part_M in (time_M, item_M):  # numbers of what there is, or a product would overflow
        values, place_M = np.unique(part_M, return_inverse=True)
        key_M = np.unique(key_M * len(values) + place_M, return_inverse=True)[1]
    is_event_N: np.ndarray = np.isin(key_M[len(targets) :], key_M[: len(targets)])
    return is_event_N


def _midnight(day: str) -> int:
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * DAY
