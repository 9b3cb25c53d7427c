"""An operator that runs one command of ours in its own process group and shows its output."""

import os
import signal
import subprocess
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

LINES_KEPT = 15


class CommandOperator(BaseOperator):
    """Runs an argument list without a shell; each line of its output becomes a line of the log.

    Airflow's BashOperator would put our arguments through a shell, and reports a failure without
    the exit code's own words; this one raises with the last lines of the output.

    Args:
        argv: the command; templated.
        environment: variables added to those of the Airflow process.
        directory: where the command runs.
    """

    template_fields: Sequence[str] = ("argv",)
    ui_color = "#e4e8f4"

    def __init__(
        self,
        *,
        argv: list[str],
        environment: dict[str, str] | None = None,
        directory: Path,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.argv = argv
        self.environment = environment or {}
        self.directory = directory
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Any) -> None:
        """Run the command to its end.

        Raises:
            AirflowException: the command ended with another exit code than 0.
        """
        self.log.info("$ %s", " ".join(self.argv))
        last: deque[str] = deque(maxlen=LINES_KEPT)
        self._process = subprocess.Popen(
            self.argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="backslashreplace",
            cwd=self.directory,
            env={**os.environ, **self.environment},
            start_new_session=True,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.log.info("%s", line.rstrip())
            last.append(line.rstrip())
        exit_code = self._process.wait()
        if exit_code:
            shown = "\n".join(last)
            raise AirflowException(f"{self.task_id} ended with exit code {exit_code}\n{shown}")

    def on_kill(self) -> None:
        """End the command and whatever it started, such as the workers of torchrun."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
