"""Commands that only look: quick, creating nothing, and saying when nothing is there."""

import os
import resource
import subprocess
import sys

import pytest

CPU_SECONDS = 3.0
"""Their aim is 2. Time of the processor: the wall's depends on what else the machine does."""

LOOKS = {
    "models list --preset movielens-100k": (0, "no version is registered yet"),
    "models history --preset movielens-100k": (0, "the champion has never moved"),
    "models verify --preset movielens-100k": (0, "no version is registered yet"),
    "tables list --preset movielens-100k": (0, "no table was published yet: there is no catalog"),
    "tables show items --preset movielens-100k": (2, "no table was published yet: there is no"),
    "tables history items --preset movielens-100k": (2, "`sidereal run --preset movielens-100k`"),
    "tables diff items 1 2 --preset movielens-100k": (2, "no table was published yet"),
    "tables lineage items --preset movielens-100k": (2, "no table was published yet"),
    "report": (1, "no report below"),
    "report --preset movielens-100k --day 1998-04-20": (1, "no report below"),
    "ui": (1, "nothing to show below"),
    "presets list": (0, "movielens-100k"),
    "presets show movielens-100k": (0, "gate.primary_metric"),
}


def look(command, home):
    """Run a command; its exit code, its output and the seconds of CPU that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "sidereal.cli", *command.split()],
        env={**os.environ, "SIDEREAL_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return done.returncode, done.stdout, seconds


@pytest.mark.parametrize("command", LOOKS)
def test_a_look_at_nothing_is_quick_says_so_and_creates_nothing(command, tmp_path):
    exit_code, message = LOOKS[command]
    found, output, seconds = look(command, tmp_path / "home")
    assert (found, message in output) == (exit_code, True), output
    assert "Traceback" not in output
    assert list(tmp_path.iterdir()) == []
    assert seconds < CPU_SECONDS


def test_nothing_as_json_is_an_empty_list(tmp_path):
    for command in ("models list", "models history", "models verify", "tables list"):
        _, output, _ = look(f"{command} --preset movielens-100k --json", tmp_path / "home")
        assert output.strip() == "[]"
