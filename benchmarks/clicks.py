"""Synthetic impressions whose clicks can be learnt: what benchmarks of rankers have for data.

People are of tribes, items of kinds, and a tribe likes its own kinds.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.data.features import Counting, Features, Field, Group
from training.data.histories import SECOND, Histories
from training.data.impressions import Impressions
from training.data.queries import Queries

NAMES = ("user_id", "user.tribe", "user_events", "item_id", "item.kind", "hour", "met.item.kind")


def features_of(
    tribe_U: np.ndarray, kind_V: np.ndarray, user_ids: np.ndarray, *, history_events: int = 20
) -> Features:
    """Features of people and items; a code is the number and one more.

    Args:
        tribe_U: of each person, int.
        kind_V: of each item, int.
        user_ids: text, ascending.
        history_events: that are counted.
    """
    num_users, num_items = len(tribe_U), len(kind_V)
    counts = 3 + (history_events - 1).bit_length()
    sizes = {
        "user_id": num_users + 1,
        "user.tribe": int(tribe_U.max(initial=0)) + 2,
        "item_id": num_items + 1,
        "item.kind": int(kind_V.max(initial=0)) + 2,
        "hour": 25,
    }
    places = [np.arange(num_users) + 1, tribe_U + 1, np.zeros(num_users, int)]
    return Features(
        fields=tuple(Field(name, _group(name), sizes.get(name, counts)) for name in NAMES),
        counting=Counting(history_events=history_events, engaged_strength=1, utc_offset_hours=0.0),
        item_VF=np.stack([np.arange(num_items) + 1, kind_V + 1], 1).astype(np.int32),
        alike_VF=(kind_V + 1)[:, None].astype(np.int32),
        user_ids=user_ids,
        user_UF=np.stack(places, 1).astype(np.int32),
    )


def impressions_of(histories: Histories, features: Features) -> Impressions:
    """Every event as an impression, with the codes that a question at its moment gets."""
    queries = Queries.at(
        histories,
        histories.users,
        histories.positions,
        max_history=features.counting.history_events,
        exclude_seen=False,
    )
    queries = replace(queries, asked_at_B=histories.times // SECOND)
    item_N1 = histories.items[:, None]
    return Impressions(
        features=features,
        user=histories.users,
        item=histories.items,
        strength=histories.strengths,
        time=histories.times,
        user_NF=features.user_codes(queries),
        item_NF=features.item_codes(item_N1)[:, 0],
        context_NF=features.context_codes(queries, item_N1)[:, 0],
    )


def drawn(num_rows: int, sizes: Sequence[tuple[Group, int]], *, num_users: int) -> Impressions:
    """Impressions of drawn codes by user, of any fields; the second of users and items decide.

    Args:
        num_rows: N.
        sizes: group and codes of each field; the first of users is the user.
        num_users: U.
    """
    draw = np.random.default_rng(0)
    fields = tuple(
        Field(f"{group}_{place}", group, size) for place, (group, size) in enumerate(sizes)
    )
    user_N = np.sort(draw.integers(0, num_users, num_rows))
    codes = {
        group: np.stack(
            [draw.integers(0, size, num_rows) for own, size in sizes if own == group], 1
        ).astype(np.int32)
        for group in ("user", "item", "context")
    }
    # Attributes stay with a person.
    of_users_UF = codes["user"][:num_users] if num_rows >= num_users else codes["user"]
    codes["user"] = of_users_UF[user_N % len(of_users_UF)]
    codes["user"][:, 0] = user_N + 1
    liked = (codes["user"][:, 1] + codes["item"][:, 1]) % 3 == 0
    likely_N = np.where(liked, 0.6, 0.2)
    nothing, nobody = np.zeros((0, 1), dtype=np.int32), np.array([], dtype=object)
    features = Features(fields, Counting(20, 1, 0.0), nothing, nothing, nobody, nothing)
    return Impressions(
        features=features,
        user=user_N,
        item=codes["item"][:, 0],
        strength=np.where(draw.random(num_rows) < likely_N, 2, 0).astype(np.int8),
        time=np.arange(num_rows) * SECOND,
        user_NF=codes["user"],
        item_NF=codes["item"],
        context_NF=codes["context"],
    )


def _group(name: str) -> Group:
    if name.startswith("user"):
        return "user"
    return "item" if name.startswith("item") else "context"
