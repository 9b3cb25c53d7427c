"""build_collaborative_vectors: the day's user_sequences → a vector per item, by who took to it.

Made from the events that weights may see, and from no other: an audit counts again.
"""

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from feature_store.steps import run_first
from pipelines.errors import DataRefused
from pipelines.jobs.interface import Job, JobOutput, JobRun
from pipelines.transforms.collaborative_audit import audit, refusal
from pipelines.transforms.collaborative_vectors import WIDTH, item_vectors
from pipelines.transforms.engagements import engagements, sources
from pipelines.transforms.training_span import TrainingSpan


def build(run: JobRun) -> JobOutput:
    """Vectors of all items that somebody took to before the border; no row where nobody did.

    Raises:
        DataRefused: the day has no histories.
    """
    sequences = run.table("user_sequences", partitions=[run.day])
    at = run.snapshot("user_sequences")
    if at is None or not run.store.row_count("user_sequences", at=at, partition=run.day):
        raise DataRefused(f"there are no histories of {run.day}; {run_first('user_sequences')}")
    span = TrainingSpan.of(sequences, run.config.evaluation, run.day)
    taken = engagements(sequences, span).persist()
    known = sources(taken).toArrow().sort_by("item_index")
    index_N = known["item_index"].to_numpy()
    num_items = run.store.row_count("items", at=run.snapshot("items"))
    num_users_I = np.zeros(num_items)
    num_users_I[index_N] = known["num_users"].to_numpy()
    vectors_NK = item_vectors(taken, num_users_I)[index_N] if len(index_N) else np.zeros((0, WIDTH))
    rows = known.append_column("embedding", _lists(vectors_NK))
    frame = run.spark.createDataFrame(rows).withColumn("day", F.lit(run.day))
    return JobOutput(
        frames={"collaborative_vectors": frame},
        replace={"collaborative_vectors": [run.day]},
        audits={
            "collaborative_vectors": lambda staged: refusal(
                audit(staged, sequences, until=span.until)
            )
        },
        known_items=run.table("items"),
        facts={
            **span.facts,
            "events": int(num_users_I.sum()),
            "items_with_vector": len(index_N),
            "alarms": [] if len(index_N) else [_nobody(span)],
        },
        release=taken.unpersist,
    )


def _nobody(span: TrainingSpan) -> str:
    return (
        f"no item has a vector: nobody took to anything before {span.facts['trained_until']}; "
        "semantic IDs are made of content alone until somebody has"
    )


def _lists(rows_NK: np.ndarray) -> pa.Array:
    offsets = np.arange(0, rows_NK.size + 1, WIDTH, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows_NK.astype(np.float32).ravel()))


JOB = Job(name="build_collaborative_vectors", build=build)
