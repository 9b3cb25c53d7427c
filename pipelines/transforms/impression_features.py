"""One class per feature: what it reads, and its code at each moment.

Codes are those that `training.data.features` makes of a query: a test holds them to each other.

Arrays: A moments, V items.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_store.feature_codes import Vocabulary, attribute_of
from feature_store.features import Feature, Kind, count_code, feature
from pipelines.transforms.impression_moments import DAY, Moments
from pipelines.transforms.listed_items import TableFiles
from pipelines.transforms.ragged import Flags, Longs, longs

_HOUR = 3_600
_THURSDAY = 3
"""1 January 1970 was one; Monday is 0."""
USER_CODE, USER_SINCE = "user_code", "user_since"
"""Columns of the code of each user's id, and of the first day whose rows have it."""
ATTRIBUTES = "user_attributes"
"""Column of the attributes of each user, a struct; null for who is in no table of users."""


@dataclass(frozen=True)
class Coded:
    """The codes of all items for one field, and the first day whose rows have each."""

    codes_V: Longs
    since_V: Longs


class Known:
    """What vocabularies and the catalogue say; read once by each of Spark's tasks.

    Args:
        vocabularies: files of `feature_vocabularies`.
        items: files of `items`.
        fields: whose vocabularies are read; the ids of users are joined instead.
    """

    def __init__(
        self, vocabularies: TableFiles, items: TableFiles, fields: Sequence[Feature]
    ) -> None:
        rows = _rows_of(vocabularies, [each.name for each in fields])
        self._vocabularies = {each.name: Vocabulary.of(each, rows) for each in fields}
        self._items: dict[str, Coded] = {}
        self._ids, self._attributes = _catalogue(items)

    def of_users(self, field: Feature, texts: pa.Array) -> tuple[Longs, Longs]:
        """The code of each text, and since when."""
        codes, since = self._vocabularies[field.name].codes_and_since(texts)
        return codes.astype(np.int64), since.astype(np.int64)

    def of_items(self, field: Feature) -> Coded:
        """The code of each item, by item_index, and since when."""
        if field.name not in self._items:
            texts = self._ids
            if field.attribute:
                texts = attribute_of(self._attributes, field.attribute)
            codes, since = self._vocabularies[field.name].codes_and_since(texts)
            self._items[field.name] = Coded(codes.astype(np.int64), since.astype(np.int64))
        return self._items[field.name]


class ImpressionFeature(Protocol):
    """A feature of impressions."""

    kinds: ClassVar[tuple[Kind, ...]]
    """Kinds of features that it computes."""

    @property
    def user_column(self) -> str | None:
        """The attribute of users that it reads; None: none."""
        ...

    def codes(self, moments: Moments, known: Known) -> Longs:
        """The code at each moment, [A]."""
        ...


@dataclass(frozen=True)
class OfUser:
    """The id or an attribute of the user, as known on the day."""

    field: Feature
    kinds: ClassVar[tuple[Kind, ...]] = ("value", "bin")

    @property
    def user_column(self) -> str | None:
        """The attribute."""
        return self.field.attribute

    def codes(self, moments: Moments, known: Known) -> Longs:
        """0 where the value was first met on the day, or never."""
        batch = moments.batch
        if self.field.attribute:
            texts = pc.struct_field(batch[ATTRIBUTES], [self.field.attribute])
            codes_R, since_R = known.of_users(self.field, texts)
        else:
            codes_R, since_R = (longs(batch[name].fill_null(0)) for name in (USER_CODE, USER_SINCE))
        return _as_of(codes_R[moments.rows_A], since_R[moments.rows_A], moments.day_A)


@dataclass(frozen=True)
class OfItem:
    """The id or an attribute of the item, as known on the day."""

    field: Feature
    kinds: ClassVar[tuple[Kind, ...]] = ("value", "bin")
    user_column: ClassVar[None] = None

    def codes(self, moments: Moments, known: Known) -> Longs:
        """0 where the value was first met on the day, or never."""
        coded = known.of_items(self.field)
        return _as_of(coded.codes_V[moments.items_A], coded.since_V[moments.items_A], moments.day_A)


@dataclass(frozen=True)
class EventsBefore:
    """How many events, or engagements, the user had."""

    field: Feature
    kinds: ClassVar[tuple[Kind, ...]] = ("events", "engagements")
    user_column: ClassVar[None] = None

    def codes(self, moments: Moments, known: Known) -> Longs:
        """By powers of two."""
        return count_codes(moments.events(engaged=self.field.kind == "engagements"))


@dataclass(frozen=True)
class Clock:
    """The hour or the weekday, local."""

    field: Feature
    kinds: ClassVar[tuple[Kind, ...]] = ("hour", "weekday")
    user_column: ClassVar[None] = None

    def codes(self, moments: Moments, known: Known) -> Longs:
        """From 1 on; Monday is 1."""
        local_A = moments.seconds_A + moments.local_seconds
        if self.field.kind == "hour":
            return local_A % DAY // _HOUR + 1
        return (local_A // DAY + _THURSDAY) % 7 + 1


@dataclass(frozen=True)
class MetBefore:
    """How often the user met, or engaged with, the item or what is like it."""

    field: Feature
    kinds: ClassVar[tuple[Kind, ...]] = ("met", "engaged")
    user_column: ClassVar[None] = None

    def codes(self, moments: Moments, known: Known) -> Longs:
        """By powers of two; never, where what items share was first met on the day."""
        engaged = self.field.kind == "engaged"
        if not self.field.attribute:
            return count_codes(moments.met(moments.items_E + 1, engaged=engaged))
        coded = known.of_items(feature(self.field.of))
        met_A = moments.met(coded.codes_V[moments.items_E], engaged=engaged)
        return count_codes(_as_of(met_A, coded.since_V[moments.items_A], moments.day_A))


_CLASSES: tuple[Any, ...] = (EventsBefore, Clock, MetBefore)


def computed(fields: Sequence[Feature]) -> tuple[ImpressionFeature, ...]:
    """What computes each of the fields, in their order."""
    return tuple(_class_of(each)(each) for each in fields)


def _class_of(field: Feature) -> Any:
    if field.kind in OfUser.kinds:
        return OfUser if field.group == "user" else OfItem
    return next(each for each in _CLASSES if field.kind in each.kinds)


def count_codes(counts: Longs) -> Longs:
    """`count_code` of each count."""
    codes = [count_code(count) for count in range(int(counts.max(initial=0)) + 1)]
    return np.array(codes, np.int64)[counts]


def _as_of(values_A: Longs, since_A: Longs, day_A: Longs) -> Longs:
    """What counts on the day; else 0."""
    is_known_A: Flags = since_A <= day_A
    return np.where(is_known_A, values_A, 0)


def _rows_of(vocabularies: TableFiles, fields: Sequence[str]) -> pa.Table:
    """Rows of some fields; files are sorted by field, so that most row groups aren't read."""
    columns = ["field", "value", "code", "first_day"]
    read = [
        pq.read_table(
            vocabularies.folder.path_of(uri),
            columns=columns,
            filters=[("field", "in", list(fields) or [""])],
            filesystem=vocabularies.folder.filesystem,
            use_threads=False,
        )
        for uri in vocabularies.uris
    ]
    return pa.concat_tables(read)


def _catalogue(items: TableFiles) -> tuple[pa.Array, pa.Array]:
    """item_id and attributes by item_index."""
    batches = list(items.batches(["item_index", "item_id", "attributes"], 65_536))
    rows = pa.Table.from_batches(batches).sort_by("item_index").combine_chunks()
    return tuple(rows[name].combine_chunks() for name in ("item_id", "attributes"))
