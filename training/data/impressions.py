"""What users were shown, one at a time, with what came of it and the codes of its features.

N impressions; F_u, F_i, F_c fields of users, items and contexts (`training.data.features`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.data.arrow_columns import columns_of
from training.data.features import Features, Group
from training.data.histories import Histories
from training.data.slates import numbers_of

COLUMNS = {
    "user_id": pa.string(),
    "item_index": pa.int32(),
    "event_time": pa.timestamp("us", tz="UTC"),
    "strength": pa.int8(),
    "user_codes": pa.list_(pa.int32()),
    "item_codes": pa.list_(pa.int32()),
    "context_codes": pa.list_(pa.int32()),
}
"""What `from_arrow` reads, and the types it reads them as."""


@dataclass(frozen=True)
class Impressions:
    """N impressions by user and time.

    Attributes:
        features: what the codes are of, and how they are made of a query.
        user: number of the user in the histories, int64, [N].
        item: item index, int32, [N].
        strength: what came of it, -1 to 3, int8, [N].
        time: when, microseconds since 1970 (UTC), int64, [N].
        user_NF: codes of the user then, int32, [N, F_u].
        item_NF: codes of the item, int32, [N, F_i].
        context_NF: codes of the moment, and of the user with the item, int32, [N, F_c].
    """

    features: Features
    user: np.ndarray
    item: np.ndarray
    strength: np.ndarray
    time: np.ndarray
    user_NF: np.ndarray
    item_NF: np.ndarray
    context_NF: np.ndarray

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def from_arrow(
        cls, rows: pa.Table | Iterable[pa.RecordBatch], histories: Histories, features: Features
    ) -> "Impressions":
        """Impressions from rows of the table `impressions`.

        Args:
            rows: a table, or batches, with at least the columns of `COLUMNS`.
            histories: of all users of the rows.
            features: what the codes are of; codes that they don't have yet are 0.
        Raises:
            ValueError: a column is missing, a user has no history, or a row has not one code for
                each field.
        """
        table = columns_of(rows, COLUMNS, "impressions").combine_chunks()
        columns = {name: table.column(name).combine_chunks() for name in COLUMNS}
        impressions = cls(
            features=features,
            user=numbers_of(columns["user_id"], histories, "impressions"),
            item=columns["item_index"].to_numpy(),
            strength=columns["strength"].to_numpy(),
            time=columns["event_time"].cast(pa.int64()).to_numpy(),
            user_NF=_codes(columns["user_codes"], features, "user"),
            item_NF=_codes(columns["item_codes"], features, "item"),
            context_NF=_codes(columns["context_codes"], features, "context"),
        )
        return impressions.where(np.lexsort((impressions.time, impressions.user)))

    def where(self, rows: np.ndarray) -> "Impressions":
        """The impressions of a mask or of numbers, in the given order."""
        arrays = (field.name for field in fields(self) if field.name != "features")
        return Impressions(self.features, **{name: getattr(self, name)[rows] for name in arrays})

    def until(self, time: int) -> "Impressions":
        """The impressions before `time` (microseconds, exclusive)."""
        return self.where(self.time < time)

    def keeping(self, choose: Callable[[Histories], np.ndarray]) -> "Impressions":
        """The same: what is read of a history changes no impression."""
        return self


def _codes(lists: pa.ListArray, features: Features, group: Group) -> np.ndarray:
    width = len(features.of_group(group))
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    if not np.all(lengths == width):
        found = int(lengths[lengths != width][0])
        raise ValueError(
            f"{(lengths != width).sum()} impressions have {found} codes of the {group}, and the "
            f"preset's fields ask for {width}; run build_impressions for their days again"
        )
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    codes_NF = flat.reshape(len(lists), width)
    sizes_F = np.array([field.size for field in features.of_group(group)], dtype=np.int32)
    # Codes are appended: those of later days than the features' are the largest.
    known: np.ndarray = np.where(codes_NF < sizes_F, codes_NF, 0)
    return known
