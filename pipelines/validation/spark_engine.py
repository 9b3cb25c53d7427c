"""Spark as the engine of a check: of what its own jobs staged."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from feature_store.checks.interface import STAGED
from feature_store.rules import KNOWN_INDEX, Trailing
from pipelines.schema import contract_types


class SparkEngine:
    """Reads a staged frame; nothing is cached.

    Two scans of a few columns each cost less than writing all of them down.

    Args:
        spark: the session `staged` belongs to.
        staged: what was written and would be committed.
        known_items: item_id and item_index of the catalogue; None: no rule looks at it.
        conditions: columns that the preset's rules need beside the table's, by name.
    """

    def __init__(
        self,
        spark: SparkSession,
        staged: DataFrame,
        *,
        known_items: DataFrame | None = None,
        conditions: Mapping[str, Column] | None = None,
    ) -> None:
        self._spark = spark
        self._staged = staged
        self._known_items = known_items
        self._conditions = dict(conditions or {})

    def columns(self) -> dict[str, str]:
        """Type by name of the staged columns."""
        return contract_types(self._staged.schema)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a query."""
        self._rows().createOrReplaceTempView(STAGED)
        return [row.asDict() for row in self._spark.sql(sql).collect()]

    def repeated(self, columns: Sequence[str]) -> int:
        """Rows beyond the first of each key.

        Equal keys have equal hashes, so hashes that are all different prove the keys different at 8
        bytes a row; only where two are equal are the keys themselves compared.
        """
        frame = self._staged
        hashes = frame.select(F.xxhash64(*columns).alias("hash")).groupBy("hash").count()
        if hashes.where("count > 1").agg(F.count(F.lit(1))).collect()[0][0] == 0:
            return 0
        surplus = F.coalesce(F.sum(F.col("count") - 1), F.lit(0))
        return int(frame.groupBy(*columns).count().where("count > 1").agg(surplus).collect()[0][0])

    def _rows(self) -> DataFrame:
        """The staged rows, the catalogue's item_index (null: unknown) and conditions beside them.

        The catalogue is grouped, so that Spark knows that the join adds no rows and leaves it out
        of a query that doesn't look at the index.
        """
        frame, catalogue = self._staged, self._known_items
        if catalogue is not None and "item_id" in frame.columns:
            known = catalogue.groupBy("item_id").agg(F.max("item_index").alias(KNOWN_INDEX))
            frame = frame.join(known, "item_id", "left").select(*frame.columns, KNOWN_INDEX)
        # A schema that doesn't fit is judged alone: its rules are not asked.
        return frame.withColumns(self._conditions) if self._conditions else frame


def trailing_days(published: DataFrame | None, *, before: date, limit: int) -> Trailing:
    """Rows and strength mix of the last `limit` published days before the run's.

    Args:
        published: one row per (day, strength) with the columns day, strength, n; None: no history.
        before: the run's day.
        limit: days that count.
    """
    if published is None:
        return Trailing()
    counts: dict[date, Counter[int]] = defaultdict(Counter)
    for row in published.select("day", "strength", "n").collect():
        if row["day"] < before:
            counts[row["day"]][row["strength"]] += row["n"]
    days = sorted(counts)[-limit:]
    mix = sum((counts[day] for day in days), Counter[int]())
    return Trailing(
        rows={day: counts[day].total() for day in days},
        mix={strength: n / mix.total() for strength, n in sorted(mix.items())},
    )


def catalogue_size(known_items: DataFrame | None) -> int | None:
    """Items of the catalogue, whose indices are dense from 0; None where there is none."""
    if known_items is None:
        return None
    highest = known_items.agg(F.max("item_index")).collect()[0][0]
    return 0 if highest is None else int(highest) + 1
