"""Following a day through the DAGs: each is started by what the one before it publishes."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date

from sidereal.airflow_api import ACTIVE, FAILED, AirflowApi, Run, Task
from sidereal.airflow_processes import AirflowError

CHAIN = ("interactions_daily", "features_daily", "semantic_ids_weekly", "recommender_daily")

POLL_SECONDS = 1.5

IDLE_SECONDS = 60.0
"""The scheduler hands over within seconds; after so long without a run the chain is cut."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a day stands.

    Args:
        day: the partition key.
        tasks: of all DAGs of the chain, upstream first; those still to come have no state.
        done: every DAG has succeeded and nothing runs.
        failed: something failed and nothing runs any more.
    """

    day: date
    tasks: tuple[Task, ...]
    done: bool
    failed: bool

    @property
    def failures(self) -> list[Task]:
        """Tasks that failed by themselves, not because another did."""
        return [task for task in self.tasks if task.state == "failed"]


@dataclass
class DayChain:
    """A day's runs, from the first trigger to the last task.

    Args:
        api: of the running Airflow.
        day: the partition key.
        first_day: of the days that are brought in before it; the day itself where there are none.
        check: called at each poll; raises when Airflow itself has died.
    """

    api: AirflowApi
    day: date
    first_day: date
    check: Callable[[], None]
    _ended: dict[str, list[Task]] = field(default_factory=dict)

    def follow(self) -> Iterator[Progress]:
        """Start the first DAG and yield where the day stands until it is done or has failed.

        Raises:
            AirflowError: a component died, or a DAG that was waited for never started.
        """
        order = {dag_id: self.api.task_ids(dag_id) for dag_id in CHAIN}
        filled = {"first_day": self.first_day.isoformat()} if self.first_day < self.day else {}
        since = self.api.trigger(CHAIN[0], self.day, filled)
        idle_since = time.monotonic()
        while True:
            self.check()
            runs = {run.dag_id: run for run in self.api.runs(self.day, since)}  # the latest of each
            if any(run.state in ACTIVE for run in runs.values()):
                idle_since = time.monotonic()
            progress = self._progress(order, runs)
            yield progress
            if progress.done or progress.failed:
                return
            if time.monotonic() - idle_since > IDLE_SECONDS:
                missing = [dag_id for dag_id in CHAIN if dag_id not in runs]
                raise AirflowError(
                    f"{self.day}: nothing has run for {IDLE_SECONDS:.0f} s and {missing} never "
                    "started; look at the asset events in the Airflow UI (sidereal ui)"
                )
            time.sleep(POLL_SECONDS)

    def _progress(self, order: dict[str, list[str]], runs: dict[str, Run]) -> Progress:
        states = [runs[dag_id].state if dag_id in runs else None for dag_id in CHAIN]
        runs_now = any(state in ACTIVE for state in states)
        return Progress(
            day=self.day,
            tasks=tuple(
                task for dag_id in CHAIN for task in self._tasks(order[dag_id], dag_id, runs)
            ),
            done=all(state == "success" for state in states),
            failed=not runs_now and any(state in FAILED for state in states),
        )

    def _tasks(self, task_ids: list[str], dag_id: str, runs: dict[str, Run]) -> list[Task]:
        run = runs.get(dag_id)
        if run is None:
            return [
                Task(dag_id, "", task_id, None, None, None, 0, (task_id,)) for task_id in task_ids
            ]
        if run.run_id not in self._ended:
            found = {task.task_id: task for task in self.api.tasks(run)}
            tasks = [found[task_id] for task_id in task_ids if task_id in found]
            if run.state in ACTIVE:
                return tasks
            self._ended[run.run_id] = tasks
        return self._ended[run.run_id]
