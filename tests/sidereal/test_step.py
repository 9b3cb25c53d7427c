"""`sidereal step`: one command for every step, on machines that have all packages or some."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner

import pipelines.cli
import training.cli
from feature_store import step_command as module
from feature_store.step_command import Runner, step_command
from feature_store.steps import steps
from sidereal.step import step

REPOSITORY = Path(__file__).resolve().parents[2]
GIVEN = ("--preset", "movielens-100k", "--day", "1998-04-20")


def call(*arguments, command=step):
    return CliRunner().invoke(command, arguments)


@pytest.fixture
def ran(monkeypatch):
    """What was run, by kind and name; the runners of both kinds are replaced."""
    found = []

    def runner(kind):
        def run(request):
            found.append((kind, request.step.name, request.day.day, request.families))
            return {"step": request.step.name}

        return Runner(run=run, describe=lambda facts, given: facts["step"], exits=nullcontext)

    monkeypatch.setattr(pipelines.cli, "RUNNER", runner("spark"))
    monkeypatch.setattr(training.cli, "RUNNER", runner("training"))
    return found


def test_steps_of_both_kinds_run_in_the_order_given_each_by_what_runs_its_kind(ran):
    done = call("build_items", "recommend", "build_slates", *GIVEN)
    assert (done.exit_code, done.stdout.split()) == (
        0,
        ["build_items", "recommend", "build_slates"],
    )
    assert ran == [
        ("spark", "build_items", 20, ()),
        ("training", "recommend", 20, ()),
        ("spark", "build_slates", 20, ()),
    ]


def test_a_range_of_days_runs_each_day_whole_before_the_next(ran):
    call("build_items", "ingest_interactions", *GIVEN, "--from", "1998-04-19")
    assert [(name, day) for _, name, day, _ in ran] == [
        ("build_items", 19),
        ("ingest_interactions", 19),
        ("build_items", 20),
        ("ingest_interactions", 20),
    ]


def test_a_family_is_for_what_trains_recommenders_and_refused_before_anything_runs(ran):
    assert call("train_baselines", *GIVEN, "--family", "sasrec").exit_code == 0
    assert ran.pop() == ("training", "train_baselines", 20, ("sasrec",))
    refused = call("train_recommender", "build_items", *GIVEN, "--family", "sasrec")
    assert (refused.exit_code, ran) == (2, [])
    assert "--family says what is trained; build_items has no use for it" in refused.output


def test_without_a_day_nothing_runs(ran):
    missing = call("build_items")
    assert (missing.exit_code, ran) == (2, [])
    assert "Missing option '--day'" in missing.output


def test_the_list_has_a_line_for_each_step_with_what_it_reads_and_writes():
    lines = call("list").stdout.splitlines()
    assert len(lines) == 1 + len(steps())
    for line, (name, one) in zip(lines[1:], steps().items(), strict=True):
        assert line.split()[0] == name and one.flow in line and one.says in line


@pytest.mark.parametrize("words", [("list", "--json"), ("--json", "list")])
def test_the_list_is_json_where_json_is_asked_for(words):
    found = json.loads(call(*words).stdout)
    assert [each["step"] for each in found] == list(steps())
    assert found[5] == {
        "step": "build_slates",
        "kind": "spark",
        "dag": "features_daily",
        "reads": ["interactions", "items"],
        "looks_back": ["slates"],
        "writes": ["slates"],
        "says": "Find what was shown together.",
    }


def test_the_list_stands_alone(ran):
    both = call("list", "build_items", *GIVEN)
    assert (both.exit_code, ran) == (2, [])
    assert "`list` stands alone: it shows the steps and runs none" in both.output


def test_help_says_of_each_step_what_it_is_for_and_below_it_what_it_reads_and_writes():
    lines = [line.strip() for line in call("--help").stdout.splitlines()]
    for name, one in steps().items():
        place = next(n for n, line in enumerate(lines) if line.split()[:1] == [name])
        assert lines[place].endswith(one.says) and lines[place + 1] == one.flow


def test_a_machine_offers_the_kinds_that_it_runs():
    spark = step_command({"spark": "pipelines.cli:RUNNER"})
    unknown = call("recommend", *GIVEN, command=spark)
    assert unknown.exit_code == 2 and "'recommend' is not one of 'build_items'" in unknown.output
    assert "train_tokenizer" not in call("--help", command=spark).stdout


def test_a_kind_whose_package_is_not_there_is_refused_before_anything_runs(ran, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "training" else name)
    refused = call("build_items", "recommend", *GIVEN)
    assert (refused.exit_code, ran) == (2, [])
    assert (
        "this machine has no package 'training', which runs training steps; run them where the "
        "training image runs" in refused.output
    )


WITHOUT = """
import importlib.abc, runpy, sys

ABSENT = sys.argv[1].split(",")

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"{name} is not on this image", name=name)

sys.meta_path.insert(0, Blocker())
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("absent", "module", "name"),
    [
        ("pyspark,pipelines,airflow", "training.cli", ("step", "promote_recommender")),
        ("torch,training,sidereal,mlflow,airflow", "pipelines.submit", ("build_items",)),
    ],
)
def test_an_image_runs_its_steps_without_the_packages_of_the_other(tmp_path, absent, module, name):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, absent, module, *name, "--preset", "nowhere",
         "--day", "1998-04-20"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "SIDEREAL_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"{name[-1]}: no preset at "), done.stderr
