"""Every Spark job there is: ours, and those that steps of installed packages name."""

from feature_store.installed import PluginError, imported
from feature_store.step import Step
from feature_store.steps import steps
from pipelines.jobs.interface import Job


def _job(step: Step) -> Job:
    job = imported(step.runs or f"pipelines.jobs.{step.name}:JOB")
    if not isinstance(job, Job) or job.name != step.name:
        raise PluginError(
            f"{step.name} runs {step.runs}, which is {job!r}; expected a {Job.__module__}.Job of "
            "the step's name; mend or uninstall its package"
        )
    return job


JOBS: dict[str, Job] = {step.name: _job(step) for step in steps().values() if step.kind == "spark"}
"""By the name of the step."""
