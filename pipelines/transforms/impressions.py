"""user_sequences × users × items × feature_vocabularies → impressions.

A user's history lies in one row, so that codes are made where it is read, in Spark's Python workers
on Arrow batches: nothing is exploded, and nothing but the users is joined.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from feature_store.features import GROUPS, Feature, features, vocabularies
from pipelines.config import Impressions
from pipelines.transforms.impression_features import (
    ATTRIBUTES,
    USER_CODE,
    USER_SINCE,
    Known,
    computed,
)
from pipelines.transforms.impression_moments import DAY, Moments, parts
from pipelines.transforms.listed_items import TableFiles
from pipelines.transforms.ragged import Layout, Longs

_EPOCH = date(1970, 1, 1)
_USER_ID = "user_id"
_TYPES = (
    "day date, impression_id string, user_id string, item_index int, event_time timestamp, "
    "strength int, user_codes array<int>, item_codes array<int>, context_codes array<int>"
)


def shift_seconds(utc_offset_hours: float) -> int:
    """What to add to a UTC time so that its date is the day whose run sees all of the local date.

    Example:
        >>> shift_seconds(8), shift_seconds(-5)
        (28800, 68400)
    """
    return round(utc_offset_hours * 3600) % DAY


@dataclass(frozen=True, kw_only=True)
class Coding:
    """Impressions of days, for `mapInArrow`.

    Args:
        config: fields, how much of a history counts and what an engagement is.
        utc_offset_hours: local time less UTC.
        days: the first and the last day.
        vocabularies: files of `feature_vocabularies`.
        items: files of `items`.
    """

    config: Impressions
    utc_offset_hours: float
    days: tuple[date, date]
    vocabularies: TableFiles
    items: TableFiles

    @property
    def fields(self) -> tuple[Feature, ...]:
        """By group."""
        return features(self.config.fields)

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Histories, with what features read of users → rows of `impressions`."""
        needed = [each for each in vocabularies(self.fields) if each.name != _USER_ID]
        known = Known(self.vocabularies, self.items, needed)
        for batch in batches:
            for part in parts(batch):
                yield self._coded(part, known)

    def _coded(self, batch: pa.RecordBatch, known: Known) -> pa.RecordBatch:
        moments = Moments(
            batch=batch,
            days=((self.days[0] - _EPOCH).days, (self.days[1] - _EPOCH).days),
            shift_seconds=shift_seconds(self.utc_offset_hours),
            local_seconds=round(self.utc_offset_hours * 3600),
            history_events=self.config.history_events,
            engaged_strength=self.config.engaged_strength,
        )
        codes = {
            f"{group}_codes": _lists(
                [
                    each.codes(moments, known)
                    for each in computed([f for f in self.fields if f.group == group])
                ],
                len(moments.asked_A),
            )
            for group in GROUPS
        }
        micros = pa.array(moments.micros_E[moments.asked_A])
        user_ids = batch["user_id"].take(pa.array(moments.rows_A))
        places = pa.array(moments.places_in_moment_A)
        texts = (micros.cast(pa.string()), places.cast(pa.string()))
        return pa.record_batch(
            {
                "day": pa.array(moments.day_A, pa.int32()).cast(pa.date32()),
                "impression_id": pc.binary_join_element_wise(user_ids, *texts, ":"),
                "user_id": user_ids,
                "item_index": pa.array(moments.items_A, pa.int32()),
                "event_time": micros.cast(pa.timestamp("us", "UTC")),
                "strength": pa.array(moments.strengths_E[moments.asked_A], pa.int32()),
                **codes,
            }
        )


def coded(sequences: DataFrame, users: DataFrame, user_ids: DataFrame, coding: Coding) -> DataFrame:
    """Rows of `impressions`.

    Args:
        sequences: rows of `user_sequences` of the run's day.
        users: rows of `users`.
        user_ids: rows of `feature_vocabularies` of the field `user_id`.
        coding: of which days, and how.
    """
    last = F.unix_seconds(F.get("event_times", F.size("event_times") - 1))
    begins = (coding.days[0] - _EPOCH).days * DAY - shift_seconds(coding.utc_offset_hours)
    asked = sequences.where(last >= F.lit(begins)).select(
        "user_id", "item_indices", "strengths", "event_times"
    )
    attributes = _attributes(coding.fields)
    if attributes:
        told = F.struct(*(F.col("attributes")[name].alias(name) for name in attributes))
        told = users.select("user_id", told.alias(ATTRIBUTES))
        asked = asked.join(told, "user_id", "left")
    if any(each.name == _USER_ID for each in coding.fields):
        ids = user_ids.select(
            F.col("value").alias("user_id"),
            F.col("code").alias(USER_CODE),
            F.unix_date("first_day").alias(USER_SINCE),
        )
        asked = asked.join(ids, "user_id", "left")
    return asked.mapInArrow(coding.run, _TYPES)


def _attributes(fields: Sequence[Feature]) -> list[str]:
    """Attributes of users that the fields read, each once."""
    columns = (each.user_column for each in computed(fields))
    return list(dict.fromkeys(name for name in columns if name is not None))


def _lists(codes: list[Longs], num_rows: int) -> pa.ListArray:
    """A list of codes a row, of a column a field."""
    stacked_AF = np.stack(codes, axis=1) if codes else np.zeros((num_rows, 0), np.int64)
    return Layout(np.full(num_rows, len(codes))).lists(stacked_AF.ravel())
