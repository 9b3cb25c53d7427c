import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from feature_store.errors import TableRefused
from feature_store.installed import imported
from feature_store.run_record import read_steps
from feature_store.settings import Settings
from feature_store.steps import steps
from tests.recommender_world import DAY, trained_bundle
from training import cli
from training.programs import recommend, train_recommender
from training.programs.errors import TooLittleData
from training.registry.client import Registry

STEP = cli.main.commands["step"]
TRAINING = [name for name, step in steps().items() if step.kind == "training"]
REPOSITORY = Path(__file__).parents[2]
ISO = DAY.isoformat()


@pytest.fixture
def preset(tmp_path, mlflow_settings, monkeypatch, request):
    """A preset file of the test's own, and an environment that points the commands at it."""
    name = re.sub(r"[^a-z0-9_-]", "-", f"cli-{request.node.name}".lower())[:60]
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, "models": {"challenger": "item_knn"}}))
    monkeypatch.setenv("SIDEREAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SIDEREAL_MLFLOW_TRACKING_URI", mlflow_settings.resolved_mlflow_tracking_uri)
    monkeypatch.setenv("SIDEREAL_MLFLOW_ARTIFACTS", mlflow_settings.resolved_mlflow_artifacts)
    return path


def call(group, *arguments):
    return CliRunner().invoke(group, [str(argument) for argument in arguments])


@pytest.fixture
def two_versions(preset, tmp_path):
    """A registry with versions 1 (item_knn) and 2 (popularity), none of them champion."""
    registry = Registry.open(Settings(), preset.stem)
    for family in ("item_knn", "popularity"):
        bundle = trained_bundle(tmp_path / family, family)
        with registry.run(day=ISO, step="train_recommender", family=family) as run:
            run.log_candidate(bundle)
        registry.register(registry.find_candidate(ISO, family))
    return registry


def test_the_help_names_every_program():
    shown = call(STEP, "--help")
    assert shown.exit_code == 0
    for name in TRAINING:
        expected = [name, *steps()[name].says.split()]
        assert any(line.split() == expected for line in shown.output.splitlines())
    assert "build_items" not in shown.output


def test_several_programs_run_in_their_order_until_one_fails(preset, monkeypatch):
    import training.programs.evaluate_recommender as evaluate
    import training.programs.write_report as write_report

    ran = []
    monkeypatch.setattr(evaluate, "run", lambda task: ran.append(task.step) or {})
    monkeypatch.setattr(write_report, "run", lambda task: ran.append(task.step) or {})
    given = ("--preset", preset, "--day", ISO)
    done = call(STEP, "write_report", "evaluate_recommender", *given)
    assert done.exit_code == 0 and ran == ["write_report", "evaluate_recommender"]
    assert [line.split()[0] for line in done.output.splitlines()] == ran
    ran.clear()
    failed = call(STEP, "evaluate_recommender", "promote_recommender", "write_report", *given)
    assert failed.exit_code == 1 and ran == ["evaluate_recommender"]
    assert "promote_recommender: " in failed.output and "has no evaluation" in failed.output
    states = {
        name: facts["status"]
        for name, facts in read_steps(Settings().runs_of(preset.stem), DAY).items()
    }
    assert states == {
        "evaluate_recommender": "done",
        "promote_recommender": "failed",
        "write_report": "done",
    }


def test_a_family_for_a_program_that_trains_none_is_refused_before_any_runs(preset):
    given = ("--preset", preset, "--day", ISO, "--family", "sasrec")
    refused = call(STEP, "train_baselines", "recommend", *given)
    assert refused.exit_code == 2 and "recommend has no use for it" in refused.output
    assert read_steps(Settings().runs_of(preset.stem), DAY) == {}


def test_every_program_is_a_module_with_a_run_function():
    for name in TRAINING:
        assert callable(imported(steps()[name].runs or f"training.programs.{name}:run"))


def test_a_refused_table_ends_with_3_and_its_record_says_why(preset, monkeypatch):
    facts = {"table": "recommendations", "validation": {"seconds": 0.5, "rules": []}}

    def refuse(task):
        time.sleep(0.01)
        raise TableRefused("recommendations of 2024-03-31 refused by 1 rule(s)", facts)

    monkeypatch.setattr(recommend, "run", refuse)
    refused = call(STEP, "recommend", "write_report", "--preset", preset, "--day", ISO)
    assert refused.exit_code == 3
    assert "recommend: recommendations of 2024-03-31 refused by 1 rule(s)" in refused.output
    records = read_steps(Settings().runs_of(preset.stem), DAY)
    assert set(records) == {"recommend"}
    record = records["recommend"]
    assert (record["status"], record["table"]) == ("refused", "recommendations")
    assert record["reason"].startswith("recommendations of")
    assert record["validation"]["share"] == 0.5 / record["seconds"]


def test_data_that_can_teach_nothing_end_with_3_so_that_nobody_retries(preset, monkeypatch):
    def refuse(task):
        raise TooLittleData("no event up to 2024-03-31 may be trained on")

    monkeypatch.setattr(train_recommender, "run", refuse)
    refused = call(STEP, "train_recommender", "--preset", preset, "--day", ISO)
    assert refused.exit_code == 3
    assert refused.output.endswith("no event up to 2024-03-31 may be trained on\n")
    record = read_steps(Settings().runs_of(preset.stem), DAY)["train_recommender"]
    assert (record["status"], record["reason"][:8]) == ("refused", "no event")


def test_a_program_prints_and_records_its_facts(preset, monkeypatch):
    monkeypatch.setattr(recommend, "run", lambda task: {"rows": 3, "message": "3 users"})
    done = call(STEP, "recommend", "--preset", preset, "--day", ISO, "--json")
    facts = json.loads(done.output)
    assert done.exit_code == 0 and facts["rows"] == 3
    expected = {"step": "recommend", "day": ISO, "preset": preset.stem, "status": "done"}
    assert expected.items() <= facts.items() and facts["seconds"] >= 0
    assert read_steps(Settings().runs_of(preset.stem), DAY)["recommend"] == facts
    told = call(STEP, "recommend", "--preset", preset, "--day", ISO)
    assert told.output.startswith(f"recommend {ISO} done, ") and "3 users" in told.output


def test_overrides_reach_the_program(preset, monkeypatch):
    seen = []
    monkeypatch.setattr(recommend, "run", lambda task: seen.append(task) or {})
    arguments = ("--preset", preset, "--day", ISO, "--set", "recommendations.num_items=7")
    assert call(STEP, "recommend", *arguments).exit_code == 0
    assert seen[0].config.recommendations.num_items == 7
    assert seen[0].day == DAY and seen[0].step == "recommend"


@pytest.mark.parametrize(
    ("command", "options", "families"),
    [
        ("train_recommender", (), ("item_knn",)),
        ("train_baselines", (), ("sasrec", "item_knn", "popularity")),
        ("train_baselines", ("--family", "sasrec"), ("sasrec",)),
    ],
)
def test_what_is_trained_comes_from_the_preset_unless_named(
    preset, monkeypatch, command, options, families
):
    import training.programs.train_recommender as trainer

    seen = []
    monkeypatch.setattr(trainer, "run", lambda task: seen.append(task) or {})
    done = call(STEP, command, "--preset", preset, "--day", ISO, *options)
    assert done.exit_code == 0, done.output
    assert seen[0].families == families and seen[0].step == command


def test_only_the_first_process_of_several_prints_and_records(preset, monkeypatch):
    monkeypatch.setattr(recommend, "run", lambda task: {})
    monkeypatch.setenv("RANK", "1")
    done = call(STEP, "recommend", "--preset", preset, "--day", ISO)
    assert (done.exit_code, done.output) == (0, "")
    assert read_steps(Settings().runs_of(preset.stem), DAY) == {}


def test_a_program_that_fails_says_why_in_one_line_and_records_it(preset):
    done = call(STEP, "promote_recommender", "--preset", preset, "--day", ISO)
    assert done.exit_code == 1 and "has no evaluation" in done.output
    record = read_steps(Settings().runs_of(preset.stem), DAY)["promote_recommender"]
    assert record["status"] == "failed" and "has no evaluation" in record["error"]


def test_a_defect_is_not_turned_into_one_line(preset, monkeypatch):
    def broken(task):
        raise KeyError("a defect")

    monkeypatch.setattr(recommend, "run", broken)
    done = call(STEP, "recommend", "--preset", preset, "--day", ISO)
    assert isinstance(done.exception, KeyError)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--preset", "nowhere", "--day", ISO), "no preset at"),
        (("--set", "gate.flor=popularity"), "gate.flor: is no key; did you mean 'floor'"),
        (("--day", "yesterday"), "'yesterday' is no day; write it as in 1998-04-15"),
    ],
)
def test_mistakes_of_the_caller_exit_2(preset, arguments, problem):
    given = ("--preset", preset, "--day", ISO, *arguments)
    done = call(STEP, "recommend", *given)
    assert done.exit_code == 2 and problem in done.output


def test_versions_are_listed_promoted_rolled_back_and_remembered(preset, two_versions):
    for number in (1, 2):
        moved = call(cli.models, "promote", number, "--preset", preset, "--reason", f"try {number}")
        assert moved.output == f"version {number} is champion\n"
    again = call(cli.models, "promote", 2, "--preset", preset, "--reason", "twice")
    assert again.output == "version 2 is champion already\n"
    listed = json.loads(call(cli.models, "list", "--preset", preset, "--json").output)
    assert [(v["number"], v["family"], v["aliases"]) for v in listed] == [
        (1, "item_knn", ["previous"]),
        (2, "popularity", ["champion"]),
    ]
    back = call(cli.models, "rollback", "--preset", preset, "--reason", "complaints")
    assert back.output.startswith("version 1 is champion again, 2 is previous; recommendations ")
    assert f"`sidereal step recommend --preset {preset} --day DAY`" in back.output
    moves = json.loads(call(cli.models, "history", "--preset", preset, "--json").output)
    assert [(m["kind"], m["from_version"], m["to_version"]) for m in moves] == [
        ("promote", None, 1),
        ("promote", 1, 2),
        ("rollback", 2, 1),
    ]
    assert moves[-1]["reason"] == "complaints"
    told = call(cli.models, "history", "--preset", preset).output.splitlines()
    assert told[-1] == f"{ISO}  rollback 2 → 1  complaints"
    shown = call(cli.models, "list", "--preset", preset).output
    assert "item_knn" in shown and "[champion]" in shown


def test_an_empty_registry_says_so(preset):
    assert "no version is registered" in call(cli.models, "list", "--preset", preset).output
    assert "has never moved" in call(cli.models, "history", "--preset", preset).output


def test_verify_names_the_bundle_that_does_not_verify(preset, two_versions):
    whole = call(cli.models, "verify", "--preset", preset)
    assert whole.exit_code == 0 and whole.output.count("whole") == 2
    bundle = two_versions.fetch(two_versions.version(1))
    weights = next(bundle.directory.glob("model/*.safetensors"))
    weights.write_bytes(b"x" + weights.read_bytes()[1:])
    broken = call(cli.models, "verify", "--preset", preset, "--json")
    facts = json.loads(broken.output)
    assert broken.exit_code == 1
    assert [fact["ok"] for fact in facts] == [False, True] and "was changed" in facts[0]["error"]
    alone = call(cli.models, "verify", "--version", 2, "--preset", preset)
    assert alone.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("promote", 9, "--reason", "try"), "has no version 9"),
        (("rollback", "--reason", "try"), "has no previous champion"),
        (("verify", "--version", 9), "has no version 9"),
    ],
)
def test_what_the_registry_does_not_hold_exits_1_with_one_line(preset, arguments, problem):
    done = call(cli.models, *arguments, "--preset", preset)
    assert done.exit_code == 1 and done.output.startswith("error: ") and problem in done.output


def test_help_starts_without_the_heavy_imports():
    code = (
        "import sys\n"
        "import training.cli\n"
        "heavy = {'torch', 'mlflow', 'pandas', 'pyarrow', 'pydantic', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_the_module_is_runnable_as_torchrun_starts_it():
    done = subprocess.run(
        [sys.executable, "-m", "training.cli", "step", "--help"],
        check=True,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert "train_recommender" in done.stdout
