"""user_sequences → who took to what, packed: rows of a sparse 0/1 matrix, to be read often.

Histories pass through the JVM once, as Arrow; expressions on lists (`filter`, `array_distinct`) are
interpreted there element by element and took ten times as long. What is cached is bytes, which
the JVM copies and doesn't look into.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.transforms.ragged import Layout
from pipelines.transforms.training_span import TrainingSpan

Ints = np.ndarray[Any, np.dtype[np.int32]]
_BLOCK = pa.schema(
    {
        "lengths": pa.binary(),
        "places": pa.binary(),
        "item_indices": pa.list_(pa.int32()),
        "num_users": pa.list_(pa.int64()),
        "newest_event_times": pa.list_(pa.timestamp("us", tz="UTC")),
    }
)
_DDL = (
    "lengths binary, places binary, item_indices array<int>, num_users array<long>, "
    "newest_event_times array<timestamp>"
)


def engagements(sequences: DataFrame, span: TrainingSpan) -> DataFrame:
    """What each user took to within the span: every event but a mere exposure, an item once.

    Args:
        sequences: the day's rows of `user_sequences`.
        span: up to where.
    Returns:
        Blocks of some thousand users: the items of the block, ascending (`item_indices`), by how
        many of its users each was taken to (`num_users`) and when last (`newest_event_times`); how
        many items each user took to, at least one (`lengths`, int32), and which, as places among
        the block's, user after user, ascending (`places`, int32). As many partitions as can be
        worked on at a time.
    """
    columns = sequences.select("item_indices", "strengths", "event_times")
    tasks = sequences.sparkSession.sparkContext.defaultParallelism
    return columns.coalesce(tasks).mapInArrow(_Pack(span), _DDL)


def sources(engagements: DataFrame) -> DataFrame:
    """Of each item how many users took to it, and when one last did.

    Args:
        engagements: of `engagements`.
    Returns:
        item_index, num_users, newest_event_time.
    """
    of_blocks = F.arrays_zip("item_indices", "num_users", "newest_event_times")
    return (
        engagements.select(F.inline(of_blocks))
        .groupBy(F.col("item_indices").alias("item_index"))
        .agg(
            F.sum("num_users").alias("num_users"),
            F.max("newest_event_times").alias("newest_event_time"),
        )
    )


def matrices(blocks: pa.RecordBatch) -> Iterator[tuple[Ints, Any]]:
    """Of each block its items and the 0/1 matrix of its users and those, float64, as `csr_array`.

    Args:
        blocks: of `engagements`.
    """
    # The Spark image's; a driver that decomposes nothing does without.
    from scipy.sparse import csr_array

    for row in range(blocks.num_rows):
        lengths, places = (
            np.frombuffer(blocks[name][row].as_buffer(), np.int32) for name in ("lengths", "places")
        )
        items = blocks["item_indices"][row].values.to_numpy()
        starts = np.concatenate([[0], np.cumsum(lengths)])
        yield (
            items,
            csr_array((np.ones(len(places)), places, starts), shape=(len(lengths), len(items))),
        )


@dataclass(frozen=True)
class _Pack:
    """Histories → a block for each batch of them, for `mapInArrow`."""

    span: TrainingSpan

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            layout = Layout(batch["item_indices"].value_lengths().to_numpy().astype(np.int64))
            items, strengths, times = (
                batch[name].flatten() for name in ("item_indices", "strengths", "event_times")
            )
            times = times.cast(pa.int64()).to_numpy()
            taken = (strengths.to_numpy() != 0) & self.span.flags(layout, times)
            if taken.any():
                yield _block(layout.kept(taken), items.to_numpy()[taken], times[taken])


def _block(layout: Layout, items_V: np.ndarray, times_V: np.ndarray) -> pa.RecordBatch:
    seen, place_V = np.unique(items_V, return_inverse=True)
    newest = np.full(len(seen), np.iinfo(np.int64).min)
    np.maximum.at(newest, place_V, times_V)
    # A user and an item in one number: sorted, and every pair once.
    pairs = np.unique(layout.rows_V * len(seen) + place_V)
    lengths = np.bincount(pairs // len(seen))
    places = pairs % len(seen)
    num_users = np.bincount(places)
    return pa.RecordBatch.from_arrays(
        [
            pa.array([lengths[lengths > 0].astype(np.int32).tobytes()]),
            pa.array([places.astype(np.int32).tobytes()]),
            _list(pa.array(seen, pa.int32())),
            _list(pa.array(num_users, pa.int64())),
            _list(pa.array(newest).cast(pa.timestamp("us", tz="UTC"))),
        ],
        schema=_BLOCK,
    )


def _list(values: pa.Array) -> pa.Array:
    """A column of one row."""
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
