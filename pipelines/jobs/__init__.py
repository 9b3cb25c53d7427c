"""Every Spark job there is."""

from pipelines.jobs.interface import Job

_ALL: tuple[Job, ...] = ()
JOBS: dict[str, Job] = {job.name: job for job in _ALL}
