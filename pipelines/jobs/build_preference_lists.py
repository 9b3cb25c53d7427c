"""build_preference_lists: slates × items → the day's slates in tiers, above items not shown.

Days before that have slates and no lists yet are built with the day. What is read are the slates
of these days and, where pseudo-exposures are asked for, of `preference_lists.window_days` before.

Where they come from beams, the day before is built once more: its beams were sampled after its
lists were built, by a model that nobody knew when the day began.
"""

from datetime import date, timedelta
from typing import Any

from pyspark.sql import Observation

from pipelines.jobs.interface import Counts, Job, JobOutput, JobRun
from pipelines.jobs.missing_days import missing_days, spread_over_files
from pipelines.transforms.listed_items import TableFiles
from pipelines.transforms.preference_list_audit import audit, refusal
from pipelines.transforms.preference_lists import REASONS, counts, made, tiered
from pipelines.transforms.tiers import PSEUDO


def build(run: JobRun) -> JobOutput:
    """Lists of the day, and of days before that were never built.

    Raises:
        DataRefused: no slates were ever published.
    """
    config = run.config.preference_lists
    days = missing_days(run, of="slates", built="preference_lists")
    beams = None
    if config.pseudo_exposures_from == "beams":
        days = with_the_day_before(run, days)
        beams = run.table("sampled_beams", partitions=days)
    back = range(1, config.window_days if config.pseudo_exposures else 1)
    slates = run.table("slates", partitions=[*(days[0] - timedelta(n) for n in back), *days])
    files = run.store.files("items", at=run.snapshot("items"))
    items = TableFiles(run.store.folder("items"), tuple(files))
    counted = Observation()
    attempts = tiered(slates, items, config, days=(days[0], days[-1]), beams=beams)
    lists = made(attempts.observe(counted, *counts()))

    def account(rows: Counts) -> dict[str, Any]:
        return _facts({name: int(count or 0) for name, count in counted.get.items()})

    return JobOutput(
        frames={"preference_lists": spread_over_files(run, lists, of="slates")},
        replace={"preference_lists": days},
        audits={
            "preference_lists": lambda staged: refusal(
                audit(staged, slates, items, config, day=run.day, beams=beams)
            )
        },
        known_items=run.table("items"),
        facts={"days_built": len(days)},
        account=account,
    )


def with_the_day_before(run: JobRun, days: list[date]) -> list[date]:
    """The days, and before them the last day that has lists."""
    built = run.store.partitions("preference_lists")
    before = [day for day in built if isinstance(day, date) and day < days[0]]
    return [*before[-1:], *days]


def _facts(counted: dict[str, int]) -> dict[str, Any]:
    """For the run record: lists made, those not made by reason, and what lists hold."""
    return {
        "lists_made": counted["made"],
        "lists_not_made": {reason: counted[reason] for reason in REASONS},
        "items_by_tier": {f"{tier}": counted[f"tier {tier}"] for tier in range(1, PSEUDO + 1)},
        "items_cut": counted["cut"],
        "pseudo_exposures_missing": counted["missing"],
        "lists_of_beams": counted["of beams"],
        "lists_of_drawn_items": counted["made"] - counted["of beams"],
    }


JOB = Job(name="build_preference_lists", build=build)
