"""Text → codes of one vocabulary: what Spark's workers and a serving model do alike, on Arrow."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.features import NUMBER, Feature

Codes = np.ndarray[Any, np.dtype[np.int32]]
Days = np.ndarray[Any, np.dtype[np.int32]]
Places = np.ndarray[Any, np.dtype[np.int64]]
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Vocabulary:
    """The codes of one field.

    Args:
        values: text of each value, or the lower bound of each bin, ascending; by code where values
            are no bins.
        codes: of each, from 1.
        since: the first day whose rows have the code, days since 1970.
        is_binned: whether values are bounds.
    """

    values: pa.Array
    codes: Codes
    since: Days
    is_binned: bool = False

    @classmethod
    def of(cls, field: Feature, rows: pa.Table) -> "Vocabulary":
        """A field's part of the table `feature_vocabularies`.

        Args:
            field: one whose `kind` is `value` or `bin`.
            rows: the columns field, value, code and first_day.
        """
        own = rows.filter(pc.equal(rows["field"], field.name)).combine_chunks()
        own = own.sort_by("code")
        values, is_binned = own["value"].combine_chunks(), field.kind == "bin"
        return cls(
            values.cast(pa.float64() if is_binned else pa.string()),
            own["code"].to_numpy().astype(np.int32),
            own["first_day"].cast(pa.int32()).to_numpy().astype(np.int32),
            is_binned,
        )

    @property
    def size(self) -> int:
        """Codes, 0 included."""
        return int(self.codes.max(initial=0)) + 1

    def until(self, day: date) -> "Vocabulary":
        """What counts on a day."""
        kept = self.since <= (day - _EPOCH).days
        return Vocabulary(
            self.values.filter(pa.array(kept)), self.codes[kept], self.since[kept], self.is_binned
        )

    def codes_of(self, texts: pa.Array) -> Codes:
        """The code of each text, int32; 0 where it has none."""
        return self.codes_and_since(texts)[0]

    def codes_and_since(self, texts: pa.Array) -> tuple[Codes, Days]:
        """The code of each text, and the first day whose rows have it; both 0 where it has none."""
        places = self._places(texts)
        codes: Codes = np.append(self.codes, np.int32(0))[places].astype(np.int32)
        return codes, np.append(self.since, np.int32(0))[places]

    def _places(self, texts: pa.Array) -> Places:
        """Where each text is among the values; behind them where it is not."""
        unknown = len(self.values)
        if not self.is_binned:
            places = pc.index_in(texts, value_set=self.values)
            found: Places = places.fill_null(unknown).to_numpy(zero_copy_only=False)
            return found.astype(np.int64)
        numbers = numbers_of(texts)
        place = np.searchsorted(self.values.to_numpy(), numbers, side="right") - 1
        return np.where(np.isnan(numbers) | (place < 0), unknown, place)


def numbers_of(texts: pa.Array) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The number that each text is, float64; NaN where it is none.

    Example:
        >>> numbers_of(pa.array(["12", " 1e3 ", "many", None, "nan"])).tolist()
        [12.0, 1000.0, nan, nan, nan]
    """
    trimmed = pc.utf8_trim_whitespace(texts.cast(pa.string()))
    is_number = pc.match_substring_regex(trimmed, NUMBER)
    numbers = pc.if_else(is_number, trimmed, pa.scalar(None, pa.string())).cast(pa.float64())
    found = numbers.fill_null(float("nan")).to_numpy(zero_copy_only=False)
    return np.asarray(found, dtype=np.float64)


def attribute_of(attributes: pa.Array, name: str) -> pa.Array:
    """The text of one attribute in each map; null where it isn't there."""
    return pc.map_lookup(attributes, pa.scalar(name), "first")
