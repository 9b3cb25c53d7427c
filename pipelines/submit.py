"""What spark-submit runs: `submit.py NAME… --preset P --day D`, the same as `sidereal job`."""

from pipelines.cli import job

if __name__ == "__main__":
    job()
