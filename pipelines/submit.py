"""What spark-submit runs: `submit.py STEP… --preset P --day D`, `sidereal step` of Spark alone."""

from feature_store.step_command import step_command

step = step_command({"spark": "pipelines.cli:RUNNER"})

if __name__ == "__main__":
    step()
