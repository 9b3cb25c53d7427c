"""An embedded Airflow: the processes of `airflow standalone`, which end whenever we do.

`airflow standalone` leaves children behind when only the parent is ended. So the same components
are started here, each in a session of its own, and every process that descends from them carries a
mark in its environment by which it is found.
"""

import fcntl
import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import psutil

from sidereal.environment import OWNER

COMPONENTS = {
    "api-server": ["api-server"],
    "dag-processor": ["dag-processor"],
    # Logs are on this machine's disk: the API server reads them there.
    "scheduler": ["scheduler", "--skip-serve-logs"],
    # No DAG of ours defers a task; but without one Airflow's home shows a failed triggerer.
    "triggerer": ["triggerer", "--skip-serve-logs", "--capacity", "1"],
}
NEEDED_BY_NOBODY = "triggerer"
"""Its end ends no run."""

GRACE_SECONDS = 8.0
"""Between asking a process to end and ending it."""


class AirflowError(RuntimeError):
    """The embedded Airflow could not be started, or one of its processes died."""


class Airflow:
    """The running components.

    Args:
        home: AIRFLOW_HOME; holds the database and the logs.
        processes: by component.
    """

    def __init__(self, home: Path, processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
        self.home = home
        self.processes = processes

    def check(self) -> None:
        """Return if all components that runs need are alive.

        Raises:
            AirflowError: one has ended; with the last lines of its log.
        """
        for name, process in self.processes.items():
            if process.poll() is not None and name != NEEDED_BY_NOBODY:
                log = component_log(self.home, name)
                raise AirflowError(
                    f"airflow {name} ended with exit code {process.returncode}; from {log}:\n"
                    + "\n".join(tail(log, 15))
                )


@contextmanager
def running_airflow(
    home: Path, environment: Mapping[str, str], components: Iterable[str] = tuple(COMPONENTS)
) -> Iterator[Airflow]:
    """Components of Airflow for the time of the block; no process of theirs outlives it.

    Args:
        home: AIRFLOW_HOME, created where it isn't there.
        environment: of all processes; must carry the `OWNER` mark with `home` as its value.
        components: keys of `COMPONENTS`.
    Raises:
        AirflowError: another run uses `home`, or the database could not be set up.
    """
    home.mkdir(parents=True, exist_ok=True)
    with _sole_user(home):
        end_descendants(home)  # of a run that was killed
        try:
            _migrate(home, environment)
            yield Airflow(home, {name: _start(home, name, environment) for name in components})
        finally:
            with _undisturbed():
                end_descendants(home)


def component_log(home: Path, name: str) -> Path:
    """What a component wrote to its output."""
    return home / "logs" / f"{name}.log"


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a text file; empty where there is none."""
    if not path.is_file():
        return []
    return path.read_text(encoding="utf-8", errors="backslashreplace").splitlines()[-lines:]


def descendants(home: Path) -> list[psutil.Process]:
    """Processes, other than this one, that carry the mark of this AIRFLOW_HOME."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(OWNER) == str(home):
                found.append(process)
        except psutil.Error:
            continue  # it has ended, or it is somebody else's
    return found


def end_descendants(home: Path) -> None:
    """End all processes that carry the mark; those that don't end by themselves are killed.

    The first signal goes to all at once, so that a supervisor doesn't start anew what was ended.
    """
    for how in (signal.SIGTERM, signal.SIGKILL):
        alive = descendants(home)
        for process in alive:
            try:
                process.send_signal(how)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(alive, timeout=GRACE_SECONDS)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let a second Ctrl-C not cut short what ends the children."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(each, signal.SIG_IGN) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


@contextmanager
def _sole_user(home: Path) -> Iterator[None]:
    with (home / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AirflowError(
                f"another `sidereal run` or `sidereal ui` uses {home}; end it, or set SIDEREAL_HOME"
            ) from error
        yield


def _migrate(home: Path, environment: Mapping[str, str]) -> None:
    """Set up the database, once per Airflow version: the command takes seconds to find that out."""
    done = home / f".migrated-{version('apache-airflow-core')}"
    if done.is_file() and (home / "airflow.db").is_file():
        return
    log = component_log(home, "migrate")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        finished = subprocess.run(
            ["airflow", "db", "migrate"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if finished.returncode:
        shown = "\n".join(tail(log, 15))
        raise AirflowError(f"airflow db migrate failed; from {log}:\n{shown}")
    done.touch()


def _start(home: Path, name: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    log = component_log(home, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(
            ["airflow", *COMPONENTS[name]],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal must reach us alone: we end them in order.
            start_new_session=True,
        )
