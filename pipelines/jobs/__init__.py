"""Every Spark job there is."""

from importlib import import_module

from feature_store.steps import steps
from pipelines.jobs.interface import Job

JOBS: dict[str, Job] = {
    name: import_module(f"pipelines.jobs.{name}").JOB
    for name, step in steps().items()
    if step.kind == "spark"
}
"""By the name of the step, which is the module's, too."""
