"""Some of the small inputs as a person runs them: a process of its own, with a JVM of its own."""

import os
import subprocess
import sys

import pytest

from tests.deliveries.corpus import CORPUS
from tests.deliveries.night import Home, problems

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("deliveries"), pytest.mark.timeout(300)]

BY_EXIT_CODE = {
    0: "CSV plain and packed in each way",
    1: "an archive cut short",
    2: "a misspelt key",
    3: "too many rows refused",
}


@pytest.mark.parametrize("code", BY_EXIT_CODE)
def test_a_process_ends_and_speaks_as_the_corpus_says(code, tmp_path):
    inputs = {each.name: each for inputs in CORPUS.values() for each in inputs}
    case = inputs[BY_EXIT_CODE[code]]
    night = case.nights[0]
    home = Home(tmp_path, case.preset)
    home.deliver(night.files)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sidereal.cli", "job", *night.steps),
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
