"""The audit of preference lists: each tier holds what it says, and nothing of later.

It looks at the rows that would be published, beside the tables they were made from, and uses
nothing of how they were made. In Spark's Python workers, on Arrow batches: in Spark's own functions
over lists it took three times as long as the lists.

Arrays: S lists, V their items, E exposures of their slates, N items of the catalogue.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.config import PreferenceLists
from pipelines.transforms.listed_items import TableFiles, columns_of
from pipelines.transforms.ragged import Flags, Layout, Longs, longs

RULES = (
    "the slate isn't published",
    "the slate ends before it starts, or after the run's day",
    "the context goes on after the slate's start",
    "the list doesn't end with its slate",
    "the slate's beam is of weights that may know of it",
    "an item of tiers 1 to 3 isn't in the slate",
    "an item's strength is of another tier",
    "a pseudo-exposure is in the slate",
    "a pseudo-exposure came into the catalogue later, or never",
    "a pseudo-exposure had been withdrawn",
)
_BITS = 32


def audit(
    lists: DataFrame,
    slates: DataFrame,
    items: TableFiles,
    config: PreferenceLists,
    *,
    day: date,
    beams: DataFrame | None = None,
) -> dict[str, int]:
    """Lists that break a rule, by rule.

    Args:
        lists: rows of `preference_lists`; one whose two lists differ in length is left to the
            rules of the table.
        slates: rows of `slates`, those of the lists among them.
        items: files of `items`.
        config: strengths of tiers.
        day: the run's; nothing may be of later.
        beams: rows of `sampled_beams` that pseudo-exposures may be of; None: they are of none.
    Returns:
        Rule in plain words → number of lists; every rule is there, also those that hold.
    """
    beside = lists.where("size(item_indices) = size(tiers)").join(
        slates.select(
            *("day", "slate_id", "user_id", "started_at", "strengths"),
            F.col("ended_at").alias("slate_ended_at"),
            F.col("item_indices").alias("shown"),
        ),
        ["day", "slate_id", "user_id"],
        "left",
    )
    if beams is None:
        beside = beside.withColumn("weights_until", F.lit(None).cast("timestamp"))
    else:
        told = beams.select("day", "slate_id", "weights_until")
        beside = beside.join(told, ["day", "slate_id"], "left")
    counted = (
        beside.mapInArrow(_Audit(items, config, day).run, "rule int, lists bigint")
        .groupBy("rule")
        .agg(F.sum("lists").alias("lists"))
    )
    found = {row["rule"]: int(row["lists"]) for row in counted.collect()}
    return {rule: found.get(number, 0) for number, rule in enumerate(RULES)}


def refusal(found: dict[str, int]) -> str | None:
    """What the audit has against the lists; None: nothing."""
    broken = [f"  {lists:,} lists: {rule}" for rule, lists in found.items() if lists]
    if not broken:
        return None
    return "\n".join(
        [
            "the audit refused the preference lists; what was published before stays:",
            *broken,
            "A model would learn from what it can't know when it recommends, or what nobody "
            "preferred. Look at `slates` of the day, run build_slates again, then "
            "build_preference_lists",
        ]
    )


@dataclass(frozen=True)
class _Audit:
    """Counts lists that break rules, for `mapInArrow`."""

    items: TableFiles
    config: PreferenceLists
    day: date

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Lists beside their slates → rule, lists."""
        catalogue = _Catalogue.read(self.items)
        for batch in batches:
            broken = [self._of_slates(batch), self._of_tiers(_Entries(batch), catalogue)]
            counts = [int(flags_S.sum()) for flags in broken for flags_S in flags]
            rules = pa.array(range(len(counts)), pa.int32())
            yield pa.record_batch({"rule": rules, "lists": pa.array(counts, pa.int64())})

    def _of_slates(self, batch: pa.RecordBatch) -> tuple[Flags, ...]:
        started, ended = batch["started_at"], batch["slate_ended_at"]
        end = datetime.combine(self.day + timedelta(days=1), time(), UTC)
        late = pc.greater_equal(ended, pa.scalar(end, ended.type))
        return (
            _flags(pc.is_null(started)),
            _flags(pc.or_(pc.less(ended, started), late)),
            _flags(pc.greater(batch["context_until"], started)),
            _flags(pc.not_equal(batch["ended_at"], ended)),
            _flags(pc.greater(batch["weights_until"], started)),
        )

    def _of_tiers(self, entries: "_Entries", catalogue: "_Catalogue") -> tuple[Flags, ...]:
        strength_V, in_slate_V = entries.strength_V, entries.in_slate_V
        tier_V = np.select(
            [strength_V >= self.config.first_strength, strength_V >= self.config.second_strength],
            [1, 2],
            3,
        )
        shown_V = (entries.tiers_V < 4) & entries.published_V
        pseudo_V = entries.tiers_V >= 4
        since_V, until_V = catalogue.since_and_until(entries.items_V)
        return tuple(
            ~entries.layout.all(~broken_V)
            for broken_V in (
                shown_V & ~in_slate_V,
                shown_V & in_slate_V & (entries.tiers_V != tier_V),
                pseudo_V & in_slate_V,
                pseudo_V & (since_V > entries.day_V),
                pseudo_V & (until_V < entries.day_V),
            )
        )


@dataclass(frozen=True)
class _Entries:
    """Items of a batch's lists, each with what its slate says of it."""

    batch: pa.RecordBatch

    @cached_property
    def layout(self) -> Layout:
        return Layout(longs(pc.list_value_length(self.batch["item_indices"])))

    @cached_property
    def items_V(self) -> Longs:
        return longs(self.batch["item_indices"].flatten().fill_null(-1))

    @cached_property
    def tiers_V(self) -> Longs:
        return longs(self.batch["tiers"].flatten().fill_null(0))

    @cached_property
    def day_V(self) -> Longs:
        return longs(self.batch["day"].cast(pa.int32()))[self.layout.rows_V]

    @cached_property
    def published_V(self) -> Flags:
        return _flags(pc.is_valid(self.batch["shown"]))[self.layout.rows_V]

    @property
    def in_slate_V(self) -> Flags:
        return self._found[0]

    @property
    def strength_V(self) -> Longs:
        """Of what is in the slate; of the rest nothing is meant."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[Flags, Longs]:
        shown = Layout(longs(pc.list_value_length(self.batch["shown"]).fill_null(0)))
        key_E = shown.rows_V << _BITS | longs(self.batch["shown"].flatten())
        order = np.argsort(key_E)
        # Behind all others, so that every search ends at an exposure.
        key_E = np.append(key_E[order], np.iinfo(np.int64).max)
        strengths_E = np.append(longs(self.batch["strengths"].flatten())[order], 0)
        key_V = self.layout.rows_V << _BITS | self.items_V
        place_V = np.searchsorted(key_E, key_V)
        return key_E[place_V] == key_V, strengths_E[place_V]


@dataclass(frozen=True)
class _Catalogue:
    """The first and the last day of each item, by item_index."""

    since_N: Longs
    until_N: Longs

    @classmethod
    def read(cls, items: TableFiles) -> "_Catalogue":
        """The first delivery says nothing about since when its items had been there."""
        items_N, first_N, last_N = columns_of(items, "item_index", "first_day", "last_listed_day")
        order = np.argsort(items_N)
        since_N = np.where(
            first_N == first_N.min(initial=np.iinfo(np.int64).max), np.iinfo(np.int64).min, first_N
        )
        return cls(since_N[order], last_N[order])

    def since_and_until(self, items_V: Longs) -> tuple[Longs, Longs]:
        """The days of some items; of what never came a day that never comes."""
        known_V = (items_V >= 0) & (items_V < len(self.since_N))
        place_V = np.where(known_V, items_V, len(self.since_N))
        never = np.iinfo(np.int64).max
        return np.append(self.since_N, never)[place_V], np.append(self.until_N, never)[place_V]


def _flags(column: pa.Array) -> Flags:
    flags: Flags = column.fill_null(False).to_numpy(zero_copy_only=False)
    return flags
