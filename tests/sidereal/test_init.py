"""A folder for one's own data, and the .env that leads to it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from feature_store import env_file
from feature_store.settings import REPOSITORY, Settings
from sidereal.cli import main
from sidereal.init import preset_text
from sidereal.preset_check import checked
from sidereal.preset_reference import keys


@pytest.fixture
def sidereal(monkeypatch, tmp_path):
    """The command, in a folder apart; what .env sets is taken back."""
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    yield lambda *arguments: CliRunner().invoke(main, arguments)
    for name in set(os.environ) - set(before):
        del os.environ[name]


def test_init_makes_a_preset_that_is_right_and_prints_what_to_do(sidereal, tmp_path):
    done = sidereal("init", "mine", "--name", "toys")
    assert done.exit_code == 0, done.output
    assert "cd mine" in done.output and "sidereal presets check toys" in done.output
    assert "sidereal run --preset toys --day" in done.output
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        ".env", "presets", "data", "state"
    }  # fmt: skip
    assert "SIDEREAL_PRESET=toys\n" in (tmp_path / "mine" / ".env").read_text()
    preset = checked("toys", folder=tmp_path / "mine" / "presets")
    assert preset.sections["name"] == "toys"


def test_every_key_stands_in_the_preset_with_its_default(sidereal, tmp_path):
    sidereal("init", ".")
    text = (tmp_path / "presets" / "shop.yaml").read_text()
    uncommented = re.sub(r"^# ( *[a-z_]+:)", r"\1", text, flags=re.M)
    (tmp_path / "presets" / "all.yaml").write_text(uncommented)
    preset = checked("all", folder=tmp_path / "presets", overrides=["name=all"])
    said = {
        f"{section}.{key}"
        for section, inside in preset.sections.items()
        if isinstance(inside, dict)
        for key in inside
    }
    wanted = {key.path for key in keys() if key.path.count(".") == 1 and not key.layout}
    assert wanted <= said
    assert max(map(len, text.splitlines())) <= 100


def test_init_overwrites_nothing(sidereal, tmp_path):
    (tmp_path / ".env").write_text("SIDEREAL_HOME=elsewhere\n")
    first = sidereal("init", ".")
    assert "left as it was" in first.output
    assert (tmp_path / ".env").read_text() == "SIDEREAL_HOME=elsewhere\n"
    (tmp_path / "presets" / "shop.yaml").write_text("name: shop\n")
    again = sidereal("init", ".")
    assert (again.exit_code, "nothing was written" in again.output) == (2, True)
    assert (tmp_path / "presets" / "shop.yaml").read_text() == "name: shop\n"
    assert sidereal("init", ".", "--name", "toys").exit_code == 0


def test_init_says_what_stands_in_the_way(sidereal, tmp_path):
    wrong = sidereal("init", "mine", "--name", "My Shop")
    assert (wrong.exit_code, "choose 1 to 63 lower-case" in wrong.output) == (2, True)
    assert not (tmp_path / "mine").exists()
    (tmp_path / "file").write_text("")
    blocked = sidereal("init", "file")
    assert (blocked.exit_code, "file can't be written: " in blocked.output) == (2, True)


def test_a_command_reads_the_env_file_of_its_folder(sidereal, tmp_path):
    sidereal("init", "mine", "--name", "toys")
    environment = {n: v for n, v in os.environ.items() if not n.startswith("SIDEREAL_")}
    done = subprocess.run(
        [sys.executable, "-m", "sidereal.cli", "presets", "show", "toys"],
        cwd=tmp_path / "mine",
        env=environment | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"# {tmp_path / 'mine' / 'presets' / 'toys.yaml'}")
    assert "gate.primary_metric = ndcg@10  (default)" in done.stdout
    assert "source.layout = table  (line " in done.stdout


def test_a_relative_path_starts_at_the_file_and_what_is_set_wins(tmp_path):
    (tmp_path / ".env").write_text(
        "# places\nSIDEREAL_HOME=state\nSIDEREAL_DATA='/data'\nSIDEREAL_DEVICE=cpu\n\n"
    )
    environment = {"SIDEREAL_DEVICE": "cuda"}
    env_file.apply(tmp_path, environment)
    assert environment == {
        "SIDEREAL_HOME": str(tmp_path / "state"),
        "SIDEREAL_DATA": "/data",
        "SIDEREAL_DEVICE": "cuda",
    }
    env_file.apply(tmp_path / "without", environment)
    assert len(environment) == 3


def test_the_variables_that_hold_paths_are_those_of_the_settings():
    fields = Settings.model_fields.items()
    paths = {f"SIDEREAL_{name.upper()}" for name, f in fields if "Path" in str(f.annotation)}
    assert paths == env_file.PATHS


def test_a_line_that_says_nothing_ends_every_command(sidereal):
    Path(".env").write_text("SIDEREAL_HOME: state\n")
    done = sidereal("presets", "list")
    assert (done.exit_code, "line 1: 'SIDEREAL_HOME: state' is not of the form" in done.output) == (
        2,
        True,
    )


def test_the_preset_that_is_made_has_every_section(sidereal, tmp_path):
    sidereal("init", ".")
    text = (tmp_path / "presets" / "shop.yaml").read_text()
    written = set(yaml.safe_load(text))
    commented = set(re.findall(r"^# ([a-z_]+):$", text, re.M))
    assert written | commented == {key.path for key in keys() if "." not in key.path}


def test_what_was_only_shown_is_no_interest_to_begin_with():
    sections = yaml.safe_load(preset_text("shop"))
    assert sections["training"] == {"minimum_strength": 1}
    assert sections["evaluation"] == {"cutoffs": [5, 10], "target_minimum_strength": 1}


def test_two_presets_of_one_name_would_share_their_tables(sidereal, tmp_path):
    sidereal("init", ".")
    shop = tmp_path / "presets" / "shop.yaml"
    (tmp_path / "presets" / "other.yaml").write_text(shop.read_text())
    wrong = sidereal("presets", "check", "other", "--no-data")
    assert (wrong.exit_code, "shop.yaml has the name 'shop', too" in wrong.output) == (2, True)
    listed = sidereal("presets", "list").output.splitlines()
    assert [line.split()[0] for line in listed] == ["other", "shop"]
    assert "(its tables are named shop)" in listed[0]
