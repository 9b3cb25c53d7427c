"""Which failures are worth a second try.

Our commands say by their exit code what went wrong: 2 is a mistake in the preset or the arguments,
3 is data that are refused. Neither gets better by itself, so the task fails at once with
the message in its log; everything else (a lost worker, a locked catalog, a full disk) is retried.
"""

import re
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy

HOPELESS = {
    2: "a usage or preset error (exit code 2): correct the preset, then clear the task",
    3: "the data were refused (exit code 3): yesterday's table stays in place; why is in this log, "
    "and of a rule the number of rows and examples are in the Data Docs, too",
}

# spark-submit's hook says "Error code is: 3", our own operator "exit code 3", a pod "exit_code: 3".
_EXIT_CODE = re.compile(r"(?:Error code is: |exit code |['\"]?exit_code['\"]?\s*[:=]\s*)(\d+)")


class UnlessHopeless(RetryPolicy):
    """Airflow's own retries, but for exit codes that a retry can't change."""

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Any = None,
    ) -> RetryDecision:
        """Fail at once on exit codes 2 and 3; the task's own retries otherwise."""
        found = _EXIT_CODE.search(str(exception))
        reason = HOPELESS.get(int(found.group(1))) if found else None
        return RetryDecision.fail(reason) if reason else RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """The policy has no parameters."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> "UnlessHopeless":
        """The policy has no parameters."""
        return cls()
