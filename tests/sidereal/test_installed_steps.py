"""A step of somebody else's package, and the table that it writes, found by their entry points."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from feature_store.installed import PluginError
from feature_store.step import refuse_disorder
from feature_store.steps import steps

HERE = Path(__file__).resolve()
REPOSITORY = HERE.parents[2]
PACKAGE = HERE.parents[1] / "plugin" / "item_counts"
TABLES = "[sidereal.tables]\nitem_counts = item_counts.step:ITEM_COUNTS\n"
STEPS = "[sidereal.steps]\ncount_items = item_counts.step:STEP\n"
PRESET = """
name: shop
source:
  layout: table
  path: events/{day}
  format: csv
  columns: {user_id: user, item_id: item, event_time: {column: at}, signals: [kind]}
  strength: [{strength: 1, when: "TRUE"}]
"""
EVENTS = """user,item,at,kind
ann,cup,2024-05-07T08:00:00Z,click
ann,pot,2024-05-07T08:01:00Z,click
bob,cup,2024-05-07T09:00:00Z,click
"""
GIVEN = ("--preset", "shop", "--day", "2024-05-07")


def sidereal(home, *arguments, module="sidereal.cli", **environment):
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=home,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(home / "site")]),
            "SIDEREAL_HOME": str(home / "var"),
            "SIDEREAL_DATA": str(home / "data"),
            "SIDEREAL_PRESETS": str(home / "presets"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def install(home, entry_points):
    """Make the package known, as pip does when it has unpacked one."""
    site = home / "site"
    shutil.copytree(PACKAGE, site / "item_counts")
    info = site / "item_counts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: item_counts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A shop with a day of events, and the package beside ours."""
    home = tmp_path_factory.mktemp("shop")
    (home / "presets").mkdir()
    (home / "presets" / "shop.yaml").write_text(PRESET)
    (home / "data" / "events" / "2024-05-07").mkdir(parents=True)
    (home / "data" / "events" / "2024-05-07" / "part.csv").write_text(EVENTS)
    install(home, TABLES + STEPS)
    return home


@pytest.fixture(scope="module")
def ran(home):
    """What the commands say of the day, the package's step last."""
    names = ("build_items", "ingest_interactions", "count_items")
    return sidereal(home, "step", *names, *GIVEN, "--json")


def test_it_stands_in_the_list_and_in_the_help(home):
    listed = json.loads(sidereal(home, "step", "list", "--json").stdout)
    dags = [step["dag"] for step in listed]
    assert sorted(dags, key=list(dict.fromkeys(dags)).index) == dags
    (of_package,) = (step for step in listed if step["step"] == "count_items")
    assert (of_package["reads"], of_package["writes"]) == (["interactions"], ["item_counts"])
    assert "interactions → item_counts" in sidereal(home, "step", "--help").stdout


def test_it_runs_like_a_step_of_ours_and_its_table_is_checked(home, ran):
    assert ran.returncode == 0, ran.stderr
    text, facts, end = ran.stdout, [], 0
    while end < len(text.rstrip()):
        found, end = json.JSONDecoder().raw_decode(text, end)
        end += 1
        facts.append(found)
    last = facts[-1]
    assert (last["step"], last["table"], last["rows"]) == ("count_items", "item_counts", 2)
    rules = {rule["rule"]: rule["success"] for rule in last["validation"]["rules"]}
    assert rules["no_item_is_a_robots"] is True
    shown = sidereal(home, "tables", "show", "item_counts", "--preset", "shop", "--json")
    rows = json.loads(shown.stdout)["sample"]
    assert {row["item_id"]: row["events"] for row in rows} == {"cup": 2, "pot": 1}
    told = sidereal(home, "tables", "show", "item_counts", "--preset", "shop").stdout
    assert "count_items" in told
    again = sidereal(home, "step", "count_items", *GIVEN, "--json")
    assert json.loads(again.stdout)["status"] == "unchanged"


@pytest.mark.exhaustive
def test_its_code_changed_it_runs_again(home, ran):
    job = home / "site" / "item_counts" / "job.py"
    job.write_text(job.read_text().replace('F.count("*")', '(F.count("*") * 2)'))
    again = sidereal(home, "step", "count_items", *GIVEN, "--json")
    assert json.loads(again.stdout)["status"] == "done"


@pytest.mark.airflow
def test_it_is_a_task_of_its_dag(home):
    code = (
        "from dags.features_daily import *; from airflow.sdk import DAG\n"
        "(dag,) = (each for each in globals().values() if isinstance(each, DAG))\n"
        "task = dag.get_task('count_items')\n"
        "print(task.outlets[0].name, sorted(task.upstream_task_ids))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(home / "site")]),
            "SIDEREAL_PRESET": "shop",
            "SIDEREAL_PRESETS": str(home / "presets"),
            "AIRFLOW_HOME": str(home / "airflow"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["shop/item_counts []"], done.stderr


@pytest.mark.parametrize(
    ("entry_points", "told"),
    [
        (STEPS, "reads or writes item_counts, which is no table; a package adds its own by an"),
        (TABLES + STEPS.replace("count_items =", "items ="), "calls itself 'count_items', expec"),
        (TABLES + STEPS.replace("count_items =", "recommend ="), "'recommend' is a name of our o"),
        (TABLES + STEPS.replace(":STEP", ":ITEM_COUNTS"), "is of type Contract, expected a feat"),
        (TABLES.replace(":ITEM_COUNTS", ":STEP"), "is of type Step, expected a feature_store.con"),
        (TABLES.replace(".step:", ".nowhere:"), "can't be imported: ModuleNotFoundError"),
    ],
)
def test_what_can_not_be_a_step_or_a_table_is_refused_in_a_line(entry_points, told, tmp_path):
    install(tmp_path, entry_points)
    done = sidereal(tmp_path, "step", "list")
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr and "package item_counts 1.0" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_runs_training_alone_says_it_too(tmp_path):
    install(tmp_path, STEPS)
    done = sidereal(tmp_path, "step", "list", module="training.cli")
    assert done.returncode == 2 and "which is no table" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_order_that_no_day_can_keep_is_refused():
    chain = dict(steps())
    slates = chain.pop("build_slates")
    with pytest.raises(PluginError, match=r"build_preference_pairs reads slates, which no step wr"):
        refuse_disorder(chain)
    with pytest.raises(PluginError, match=r"slates is written by build_slates and by build_slates"):
        refuse_disorder(dict(steps()) | {"again": slates})
