"""build_item_cooccurrence: slates of the last days → item_cooccurrence as of the day."""

from datetime import timedelta

from feature_store.steps import run_first
from pipelines.errors import DataRefused
from pipelines.jobs.interface import Job, JobOutput, JobRun
from pipelines.jobs.missing_days import ROWS_PER_FILE
from pipelines.transforms.cooccurrence import count_cooccurrence
from pipelines.transforms.training_span import TrainingSpan


def build(run: JobRun) -> JobOutput:
    """Items engaged with together in the last `cooccurrence.days` days that weights may see.

    Raises:
        DataRefused: nothing was ever published to `slates`.
    """
    config = run.config.cooccurrence
    if run.snapshot("slates") is None:
        raise DataRefused(f"there are no slates; {run_first('slates')}")
    sequences = run.table("user_sequences", partitions=[run.day])
    span = TrainingSpan.of(sequences, run.config.evaluation, run.day)
    last = run.day if span.until is None else span.until - timedelta(days=1)
    counted = [last - timedelta(days=number) for number in range(config.days)]
    slates = span.of_slates(run.table("slates", partitions=counted), sequences)
    rows = count_cooccurrence(slates, config, day=run.day)
    most = config.neighbours * run.store.row_count("items", at=run.snapshot("items"))
    files = 1 + most // ROWS_PER_FILE
    return JobOutput(
        frames={"item_cooccurrence": rows.repartition(files, "item_index")},
        replace={"item_cooccurrence": [run.day]},
        known_items=run.table("items"),
        facts={"days_counted": config.days, **span.facts},
    )


JOB = Job(name="build_item_cooccurrence", build=build)
