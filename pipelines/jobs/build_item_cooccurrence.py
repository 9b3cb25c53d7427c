"""build_item_cooccurrence: slates of the last days → item_cooccurrence as of the day."""

from datetime import timedelta

from feature_store.steps import run_first
from pipelines.errors import DataRefused
from pipelines.jobs.interface import Job, JobOutput, JobRun
from pipelines.jobs.missing_days import ROWS_PER_FILE
from pipelines.transforms.cooccurrence import count_cooccurrence


def build(run: JobRun) -> JobOutput:
    """Items engaged with together in the `cooccurrence.days` days up to the run's.

    Raises:
        DataRefused: nothing was ever published to `slates`.
    """
    config = run.config.cooccurrence
    if run.snapshot("slates") is None:
        raise DataRefused(f"there are no slates; {run_first('slates')}")
    counted = [run.day - timedelta(days=number) for number in range(config.days)]
    slates = run.table("slates", partitions=counted)
    rows = count_cooccurrence(slates, config, day=run.day)
    most = config.neighbours * run.store.row_count("items", at=run.snapshot("items"))
    files = 1 + most // ROWS_PER_FILE
    return JobOutput(
        frames={"item_cooccurrence": rows.repartition(files, "item_index")},
        replace={"item_cooccurrence": [run.day]},
        known_items=run.table("items"),
        facts={"days_counted": config.days},
    )


JOB = Job(name="build_item_cooccurrence", build=build)
