"""Some of the small inputs as a person runs them: a process of its own, with a JVM of its own."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.deliveries.corpus import CORPUS
from tests.deliveries.inputs.reading import TWO
from tests.deliveries.night import NOT_OURS, Home, problems
from tests.deliveries.presets import own

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("deliveries"), pytest.mark.timeout(300)]

D = "2024-03-10"
BY_EXIT_CODE = {
    0: "CSV plain and packed in each way",
    1: "an archive cut short",
    2: "a misspelt key",
    3: "too many rows refused",
}


def without_roots_rights():
    """What a command begins with, so that a file's mode holds for it; nothing for most people."""
    if os.geteuid():
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root may read everything, and setpriv, which takes that right, isn't here")
    rights = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]


@pytest.mark.parametrize(
    "place",
    [
        *(pytest.param(p, marks=pytest.mark.exhaustive) for p in ("events", f"events/{D}")),
        f"events/{D}/p0.csv",
    ],
)
def test_what_may_not_be_read_is_said_in_a_line(place, tmp_path):
    home = Home(tmp_path, own())
    home.deliver({f"events/{D}/p0.csv": TWO})
    (home.data / place).chmod(0)
    command = [*without_roots_rights(), sys.executable, "-m", "sidereal.cli"]
    job = ["step", "ingest_interactions", "--day", "2024-03-10", "--preset", str(home.preset)]
    done = subprocess.run(
        [*command, *job],
        env={**os.environ, **home.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    (home.data / place).chmod(0o700)
    assert done.returncode == 1, done.stdout
    assert f"{home.data / place} can't be read: whoever runs this may not" in done.stdout
    assert not NOT_OURS.search(done.stdout), done.stdout


@pytest.mark.parametrize("code", BY_EXIT_CODE)
def test_a_process_ends_and_speaks_as_the_corpus_says(code, tmp_path):
    inputs = {each.name: each for inputs in CORPUS.values() for each in inputs}
    case = inputs[BY_EXIT_CODE[code]]
    night = case.nights[0]
    home = Home(tmp_path, case.preset)
    home.deliver(night.files)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sidereal.cli", "step", *night.steps),
            *("--preset", str(home.preset), "--day", str(night.day)),
        ],
        env={**os.environ, **home.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == night.exit_code == code, done.stdout
    outcome = home.outcome(night.day, done.returncode, done.stdout)
    assert problems(night, outcome, []) == [], done.stdout
