"""user_sequences → the events that weights may see, by the rule that training splits by."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from feature_store.held_out import LAST_EVENTS, HeldOut, trained_until
from pipelines.transforms.ragged import Flags, Layout, Longs


@dataclass(frozen=True)
class TrainingSpan:
    """Up to where a day's histories may be learnt from.

    Args:
        until: the first day whose events are held out or validate; None: each person's last two
            events are, of those who have more.
    """

    until: date | None

    @classmethod
    def of(cls, sequences: DataFrame, how: HeldOut, day: date) -> "TrainingSpan":
        """The span of a day.

        Args:
            sequences: the day's rows of `user_sequences`.
            how: what the preset holds out.
            day: the run's.
        """
        first = sequences.agg(F.min(F.element_at("event_times", 1)).alias("first"))
        row = first.select(F.unix_micros("first").alias("first")).first()
        return cls(trained_until(None if row is None else row["first"], day, how))

    @property
    def facts(self) -> dict[str, Any]:
        """For the run record."""
        return {
            "trained_until": "each person's last two events"
            if self.until is None
            else self.until.isoformat()
        }

    def flags(self, layout: Layout, times_V: Longs) -> Flags:
        """Which events of some histories may be learnt from: the oldest ones of each.

        Args:
            layout: which of the events are of which history, oldest first.
            times_V: of each event, microseconds since 1970 (UTC).
        """
        if self.until is not None:
            return np.asarray(
                times_V < (self.until - date(1970, 1, 1)) // timedelta(microseconds=1)
            )
        learnt_R = np.where(
            layout.lengths_R > LAST_EVENTS, layout.lengths_R - LAST_EVENTS, LAST_EVENTS
        )
        return np.asarray(layout.places_V < learnt_R[layout.rows_V])

    def of_slates(self, slates: DataFrame, sequences: DataFrame) -> DataFrame:
        """Slates as they were within the span: whole, without what is held out of them, or gone.

        Args:
            slates: rows of `slates`.
            sequences: the day's rows of `user_sequences`.
        """
        if self.until is not None:
            return slates.where(F.col("ended_at") < _start_of(self.until))
        held_out = sequences.where(F.size("event_times") > LAST_EVENTS).select(
            "user_id",
            F.slice("item_indices", -LAST_EVENTS, LAST_EVENTS).alias("held_items"),
            F.element_at("event_times", -LAST_EVENTS).alias("held_from"),
        )
        beside = slates.join(held_out, "user_id", "left")
        is_before = F.col("held_from").isNull() | (F.col("ended_at") < F.col("held_from"))
        is_touched = ~is_before
        kept = F.filter(
            F.arrays_zip("item_indices", "strengths"),
            lambda shown: ~F.array_contains("held_items", shown["item_indices"]),
        )
        return (
            beside.where(is_before | (F.col("started_at") <= F.col("held_from")))
            .withColumn("kept", kept)
            .withColumns(
                {
                    name: F.when(is_touched, F.col("kept")[name]).otherwise(F.col(name))
                    for name in ("item_indices", "strengths")
                }
            )
            .drop("kept", "held_items", "held_from")
        )


def _start_of(day: date) -> Column:
    return F.lit(f"{day}T00:00:00Z").cast("timestamp")
