"""What we ask of Airflow's REST API, as plain values."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import takewhile
from typing import Any

import httpx

ACTIVE = ("queued", "running")
FAILED = ("failed", "upstream_failed")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a DAG for a day."""

    dag_id: str
    run_id: str
    state: str


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a run, in its latest try."""

    dag_id: str
    run_id: str
    task_id: str
    state: str | None
    """Airflow's word; None before it is scheduled."""
    seconds: float | None
    """Of the latest try; while it runs, None."""
    started: datetime | None
    try_number: int
    steps: tuple[str, ...]
    """What it runs, in this order; each keeps a run record of that name."""


class AirflowApi:
    """A client of one Airflow on loopback, where every caller is an admin.

    SQLite lets one writer at a time through, so an answer may take seconds on a busy machine: the
    client waits long and tries again.
    """

    def __init__(self, address: str) -> None:
        self._http = httpx.Client(base_url=f"{address}/api/v2", timeout=60.0)

    def parsed_dags(self, dag_ids: Iterable[str], since: datetime) -> bool:
        """Whether the API answers and all DAG files have been parsed since then."""
        try:
            answer = self._http.get("/dags", params={"limit": 100}, timeout=10.0)
            answer.raise_for_status()
        except httpx.HTTPError:
            return False
        parsed = {
            dag["dag_id"]: datetime.fromisoformat(dag["last_parsed_time"])
            for dag in answer.json()["dags"]
            if dag["last_parsed_time"]
        }
        return all(dag_id in parsed and parsed[dag_id] >= since for dag_id in dag_ids)

    def import_errors(self) -> list[str]:
        """Why DAG files could not be parsed; empty while all is well or nothing answers."""
        try:
            answer = self._http.get("/importErrors", timeout=10.0)
            answer.raise_for_status()
        except httpx.HTTPError:
            return []
        return [
            f"{error['filename']}: {error['stack_trace']}"
            for error in answer.json()["import_errors"]
        ]

    def switch(self, dag_id: str, *, on: bool) -> None:
        """Let a DAG's runs start, or not."""
        self._ask("PATCH", f"/dags/{dag_id}", json={"is_paused": not on})

    def trigger(self, dag_id: str, day: date, conf: Mapping[str, str] | None = None) -> str:
        """Start a run for a day; returns the time from which its chain's runs are counted."""
        body = {"logical_date": None, "partition_key": day.isoformat(), "conf": dict(conf or {})}
        answer = self._ask("POST", f"/dags/{dag_id}/dagRuns", json=body)
        return str(answer["run_after"])

    def runs(self, day: date, since: str) -> list[Run]:
        """Runs for a day that were created since then, oldest first."""
        query = {"partition_key_pattern": day.isoformat(), "run_after_gte": since}
        return self._runs({**query, "order_by": "id", "limit": 100})

    def abandon(self, dag_ids: Iterable[str]) -> list[Run]:
        """Mark runs as failed that an earlier, interrupted Airflow left unfinished."""
        left = [
            run
            for run in self._runs({"state": list(ACTIVE), "limit": 100})
            if run.dag_id in set(dag_ids)
        ]
        for run in left:
            self._ask("PATCH", f"/dags/{run.dag_id}/dagRuns/{run.run_id}", json={"state": "failed"})
        return left

    def tasks(self, run: Run) -> list[Task]:
        """Tasks of a run, in no particular order."""
        path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances"
        return [_task(each) for each in self._ask("GET", path)["task_instances"]]

    def task_ids(self, dag_id: str) -> list[str]:
        """Tasks of a DAG, upstream before downstream."""
        tasks = {
            task["task_id"]: task["downstream_task_ids"]
            for task in self._ask("GET", f"/dags/{dag_id}/tasks")["tasks"]
        }
        return _upstream_first(tasks)

    def runbook(self, dag_id: str) -> str:
        """The DAG's docstring."""
        return str(self._ask("GET", f"/dags/{dag_id}/details").get("doc_md") or "")

    def log(self, task: Task) -> list[str]:
        """What the latest try of a task wrote, without Airflow's own bookkeeping lines."""
        path = (
            f"/dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances/{task.task_id}"
            f"/logs/{max(task.try_number, 1)}"
        )
        events = [line for line in self._ask("GET", path)["content"] if isinstance(line, dict)]
        return [line["event"] for line in events if not line["event"].startswith("::")]

    def _runs(self, query: dict[str, Any]) -> list[Run]:
        answer = self._ask("GET", "/dags/~/dagRuns", params=query)
        return [
            Run(each["dag_id"], each["dag_run_id"], each["state"]) for each in answer["dag_runs"]
        ]

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        # A POST isn't repeated: it may have started a run although its answer never came.
        for pause_seconds in () if method == "POST" else (0.5, 2.0, 5.0):
            try:
                return self._answer(method, path, **request)
            except httpx.TransportError:
                time.sleep(pause_seconds)
            except httpx.HTTPStatusError as error:
                if not error.response.is_server_error:
                    raise
                time.sleep(pause_seconds)
        return self._answer(method, path, **request)

    def _answer(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        answer = self._http.request(method, path, headers={"Accept": "application/json"}, **request)
        answer.raise_for_status()
        return dict(answer.json())


def _task(found: dict[str, Any]) -> Task:
    return Task(
        dag_id=found["dag_id"],
        run_id=found["dag_run_id"],
        task_id=found["task_id"],
        state=found["state"],
        seconds=found["duration"],
        started=datetime.fromisoformat(found["start_date"]) if found["start_date"] else None,
        try_number=found["try_number"],
        steps=_steps(found),
    )


def _steps(found: dict[str, Any]) -> tuple[str, ...]:
    """What a task runs: `STEP... --preset` of Spark, `... step STEP... --preset` of training.

    A task that runs no steps by name, or was never begun, is one step.
    """
    rendered = found.get("rendered_fields") or {}
    arguments = rendered.get("application_args") or rendered.get("argv") or []
    if "step" in arguments:
        arguments = arguments[arguments.index("step") + 1 :]
    elif "application_args" not in rendered:
        arguments = []
    steps = tuple(takewhile(lambda argument: not argument.startswith("--"), arguments))
    return steps or (found["task_id"],)


def _upstream_first(downstream: dict[str, list[str]]) -> list[str]:
    """Topological order; tasks that could swap places keep the order in which they are given."""
    waits_for = {
        task: {up for up, down in downstream.items() if task in down} for task in downstream
    }
    ordered: list[str] = []
    while len(ordered) < len(downstream):
        ordered += [
            task for task in downstream if task not in ordered and waits_for[task] <= set(ordered)
        ]
    return ordered
