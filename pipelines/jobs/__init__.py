"""Every Spark job there is."""

from pipelines.jobs import (
    build_item_cooccurrence,
    build_items,
    build_preference_pairs,
    build_slates,
    build_user_sequences,
    embed_items,
    ingest_interactions,
)
from pipelines.jobs.interface import Job

JOBS: dict[str, Job] = {
    job.name: job
    for job in (
        build_items.JOB,
        ingest_interactions.JOB,
        embed_items.JOB,
        build_user_sequences.JOB,
        build_slates.JOB,
        build_preference_pairs.JOB,
        build_item_cooccurrence.JOB,
    )
}
