"""`sidereal step`: every step of the chain."""

from feature_store.step_command import step_command

step = step_command({"spark": "pipelines.cli:RUNNER", "training": "training.cli:RUNNER"})
