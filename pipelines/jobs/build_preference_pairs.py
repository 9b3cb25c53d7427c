"""build_preference_pairs: slates × item_embeddings → preference pairs of the day's slates.

Days before that have slates and no pairs yet are built with the day. What is read are the slates
of these days and of `preferences.window_days` before, never the events.
"""

from datetime import timedelta
from typing import Any

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from feature_store.steps import run_first
from pipelines.errors import DataRefused
from pipelines.jobs.interface import Counts, Job, JobOutput, JobRun
from pipelines.jobs.missing_days import missing_days, spread_over_files
from pipelines.transforms.embeddings import encoder_for
from pipelines.transforms.listed_items import TableFiles
from pipelines.transforms.preference_audit import audit, refusal
from pipelines.transforms.preferences import (
    REASONS,
    alike,
    anchors,
    counts,
    made,
    rearranged,
)
from pipelines.transforms.shown_slates import KINDS
from pipelines.transforms.similar_items import SimilarItems


def build(run: JobRun) -> JobOutput:
    """Pairs of the day, and of days before that were never built.

    Raises:
        DataRefused: no slates were ever published, or no embeddings though `preferences` asks
            for pairs of the kind `diversity`.
    """
    config = run.config.preferences
    days = missing_days(run, of="slates", built="preference_pairs")
    back = range(1, config.window_days)
    slates = run.table("slates", partitions=[*(days[0] - timedelta(n) for n in back), *days])
    attempts = rearranged(slates, config, days=(days[0], days[-1]))
    if config.diversity:
        of_the_days = slates.where(F.col("day").between(days[0], days[-1]))
        attempts = attempts.unionByName(_diversity(run, of_the_days, len(days)))
    counted = Observation()
    pairs = made(attempts.observe(counted, *counts()))

    def account(rows: Counts) -> dict[str, Any]:
        return _facts({name: int(count or 0) for name, count in counted.get.items()})

    return JobOutput(
        frames={"preference_pairs": spread_over_files(run, pairs, of="slates")},
        replace={"preference_pairs": days},
        audits={
            "preference_pairs": lambda staged: refusal(
                audit(staged, slates, run.table("items"), day=run.day)
            )
        },
        known_items=run.table("items"),
        facts={"days_built": len(days)},
        account=account,
    )


def _diversity(run: JobRun, slates: DataFrame, num_days: int) -> DataFrame:
    config, encoder = run.config.preferences, encoder_for(run.config.embedding).identity
    at = run.snapshot("item_embeddings")
    files = [] if at is None else run.store.files("item_embeddings", at=at, partitions=[encoder])
    if not files:
        raise DataRefused(
            f"no item has an embedding under {encoder}; {run_first('item_embeddings')}, or set "
            "preferences.diversity=0 to do without pairs of that kind"
        )
    embedded = run.table("item_embeddings", partitions=[encoder]).select("item_index")
    attempts = anchors(slates, embedded, config)
    items = run.store.files("items", at=run.snapshot("items"))
    shown = run.config.slates.maximum_items
    search = SimilarItems(
        embeddings=TableFiles(run.store.folder("item_embeddings"), tuple(files)),
        items=TableFiles(run.store.folder("items"), tuple(items)),
        # As many as a slate can need, and as many as it can hold already; the anchor is in both.
        count=2 * (shown - 1),
        minimum_similarity=config.minimum_similarity,
    )
    asked = attempts.where("anchor IS NOT NULL").select("anchor", "day").distinct()
    most = min(
        num_days * run.store.row_count("items", at=run.snapshot("items")),
        config.pairs_per_context * run.store.row_count("slates", at=run.snapshot("slates")),
    )
    return alike(attempts, search.find(asked, most_anchors=most))


def _facts(counted: dict[str, int]) -> dict[str, Any]:
    """For the run record: pairs made by kind, and those not made by kind and reason."""
    return {
        "pairs_made": {kind: counted[kind] for kind in KINDS},
        "pairs_not_made": {
            kind: {reason: counted[f"{kind}: {reason}"] for reason in REASONS[kind]}
            for kind in KINDS
        },
        "anchors_stood_in_for": counted["stood_in"],
    }


JOB = Job(name="build_preference_pairs", build=build)
