import datetime as dt
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from feature_store.cli import tables
from feature_store.settings import Settings
from feature_store.steps import producer_of
from feature_store.store import FeatureStore
from feature_store.tables import CATALOG
from tests.suites.contract_rows import contract_rows

DAY_1, DAY_2 = dt.date(1998, 4, 15), dt.date(1998, 4, 16)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run `sidereal tables …` on a store of its own; with `expect` as its exit code."""
    monkeypatch.setenv("SIDEREAL_HOME", str(tmp_path))
    monkeypatch.setenv("SIDEREAL_PRESETS", str(tmp_path / "presets"))
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "shop.yaml").write_text("description: a shop\n")

    def run(*words: str, expect: int = 0) -> str:
        done = CliRunner().invoke(tables, [*words, "--preset", "shop"])
        assert done.exit_code == expect, done.output
        return done.output

    return run


@pytest.fixture
def store(tmp_path, run):
    return FeatureStore.open(Settings(home=tmp_path, code_revision="abc123"), "shop")


def publish(store, name: str, day: dt.date, count: int, **how):
    stage = store.stage(name, day=day, job=producer_of(name))
    stage.write(contract_rows(store.contract(name), count, seed=count, partition=day))
    return store.publish(stage, **how)


def test_list_shows_every_published_table(store, run):
    publish(store, "items", DAY_1, 3)
    publish(store, "user_sequences", DAY_1, 2)
    [items, sequences] = json.loads(run("list", "--json"))
    assert (items["table"], items["rows"], items["day"]) == ("items", 3, "1998-04-15")
    assert sequences["tags"] == ["1998-04-15"]
    told = run("list")
    assert "user_sequences" in told and items["snapshot_id"] in told and "head" in told


def test_list_of_an_empty_store_says_so(store, run):
    assert run("list") == "no table was published yet\n"
    assert json.loads(run("list", "--json")) == []


def test_where_there_is_no_store_none_is_made(run, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert "no table was published yet: there is no catalog at" in run("list")
    assert json.loads(run("list", "--json")) == []
    assert "`sidereal run --preset" in run("show", "items", expect=2)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_look_changes_no_file(store, run, tmp_path):
    publish(store, "items", DAY_1, 3)
    first = store.snapshot_id("items")

    def content():
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    before = content()
    for look in (["list"], ["show", "items"], ["history", "items"], ["lineage", "items"]):
        run(*look)
    run("diff", "items", str(first), "head")
    assert content() == before


def test_show_tells_the_contract_the_version_and_some_rows(store, run):
    publish(store, "user_sequences", DAY_1, 4)
    publish(store, "user_sequences", DAY_2, 5)
    facts = json.loads(run("show", "user_sequences", "--at", "1998-04-15", "--rows", "2", "--json"))
    assert facts["grain"] == CATALOG["user_sequences"].grain
    assert [column["name"] for column in facts["columns"]][:2] == ["day", "user_id"]
    assert (facts["snapshot"]["rows"], facts["partitions"], facts["files"]) == (
        4,
        ["1998-04-15"],
        1,
    )
    assert len(facts["sample"]) == 2
    told = run("show", "user_sequences")
    assert "9 rows in 2 files, 2 partitions, 1998-04-15 to 1998-04-16" in told
    assert "written by build_user_sequences, read by build_impressions, build_coll" in told
    assert "nothing to show" in run("show", "user_sequences", "--rows", "0")


def test_show_of_an_empty_version_has_no_rows(store, run):
    store.publish(store.stage("items", day=DAY_1, job="build_items"))
    assert json.loads(run("show", "items", "--json"))["sample"] == []
    assert "0 rows in 0 files, 0 partitions" in run("show", "items")


def test_history_diff_and_rollback_work_together(store, run):
    first = publish(store, "user_sequences", DAY_1, 4).snapshot_id
    second = publish(store, "user_sequences", DAY_2, 5).snapshot_id
    assert "5 rows added, 0 removed in 1 partition(s); 1 unchanged" in run(
        "diff", "user_sequences", str(first), "head"
    )
    facts = json.loads(run("diff", "user_sequences", "1998-04-15", "1998-04-16", "--json"))
    assert (facts["before"], facts["rows_added"], facts["partitions_unchanged"]) == (
        str(first),
        5,
        1,
    )
    assert facts["partitions"][0]["partition"] == "1998-04-16"
    assert "the two versions hold the same rows" in run("diff", "user_sequences", "head", "head")

    told = run("rollback", "user_sequences", "1998-04-15", "--reason", "half a day")
    assert f"readers see snapshot {first} now, {second} is set aside" in told
    again = run("rollback", "user_sequences", str(first), "--reason", "nervous")
    assert f"readers see snapshot {first} already" in again
    moved = json.loads(
        run("rollback", "user_sequences", str(second), "--reason", "was right", "--json")
    )
    assert moved == {
        "table": "user_sequences",
        "before": str(first),
        "after": str(second),
        "reason": "was right",
        "changed": True,
    }
    run("rollback", "user_sequences", str(first), "--reason", "was wrong")
    told = run("history", "user_sequences")
    assert "set aside" in told and f"rolled back {second} → {first}: half a day" in told
    facts = json.loads(run("history", "user_sequences", "--json"))
    assert [snapshot["is_current"] for snapshot in facts["snapshots"]] == [False, True]
    assert [move["reason"] for move in facts["rollbacks"]] == [
        "half a day",
        "was right",
        "was wrong",
    ]


def test_lineage_is_a_tree(store, run):
    raw = {"u.data": "sha256:aa"}
    first = publish(store, "interactions", DAY_1, 3, inputs={"raw": raw}).snapshot_id
    second = publish(
        store, "interactions", DAY_2, 3, inputs={"raw": "day 2", "interactions": first}
    ).snapshot_id
    publish(store, "user_sequences", DAY_2, 3, inputs={"interactions": second, "items": 5})
    facts = json.loads(run("lineage", "user_sequences", "--json"))
    assert facts["inputs"]["interactions"]["snapshot_id"] == str(second)
    assert facts["inputs"]["interactions"]["previous"][0]["inputs"]["raw"] == raw
    told = run("lineage", "user_sequences", "--at", "1998-04-16")
    assert "3 rows by build_user_sequences @ abc123" in told
    assert f"built on interactions {first}" in told
    assert "u.data" in told and "items 5 (expired)" in told


def test_lineage_says_what_was_shown_above(store, run):
    items = publish(store, "items", DAY_1, 2).snapshot_id
    sequences = publish(store, "user_sequences", DAY_1, 2, inputs={"items": items}).snapshot_id
    inputs = {"items": items, "user_sequences": sequences}
    publish(store, "recommendations", DAY_1, 2, inputs=inputs)
    assert f"items {items} (shown above)" in run("lineage", "recommendations")


def test_maintain_tells_what_it_took_away(store, run):
    for day in (DAY_1, DAY_2):
        publish(store, "user_sequences", day, 2)
    options = ["--keep-days", "1", "--keep-snapshots", "1", "--as-of", "1998-04-16"]
    [facts] = json.loads(run("maintain", "user_sequences", *options, "--json"))
    assert len(facts["snapshots_expired"]) == 1
    assert facts["tags_removed"] == ["1998-04-15"]
    told = run("maintain", "--keep", "1998-04-16", "--grace-hours", "0")
    assert all(name in told for name in CATALOG)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["show", "clicks"], 2, "no table 'clicks' is defined; tables are"),
        (["history", "items"], 2, "nothing was published to it yet; run build_items"),
        (["show", "items", "--at", "yesterday"], 2, "'yesterday' names no version; give a snap"),
        (["maintain", "--as-of", "today"], 2, "'today' is no day; write it as in 1998-04-15"),
        (["maintain", "--keep-snapshots", "0"], 2, "0 is not in the range x>=1"),
        (["rollback", "items", "5"], 2, "Missing option '--reason'"),
        (["rollback", "items", "5", "--reason", " "], 2, "say what was wrong with the snapshot"),
    ],
)
def test_mistakes_end_with_one_clear_line(store, run, words, code, message):
    assert message in run(*words, expect=code)


def test_settings_that_cannot_be_read_are_told(run, monkeypatch):
    monkeypatch.setenv("SIDEREAL_LOCK_TIMEOUT_SECONDS", "soon")
    told = run("list", expect=2)
    assert "settings (SIDEREAL_…) can't be read" in told and "lock_timeout_seconds" in told


@pytest.mark.parametrize("command", tables.commands)
def test_every_subcommand_asks_whose_tables(command):
    options = [option for param in tables.commands[command].params for option in param.opts]
    assert "--preset" in options


def test_a_preset_that_is_not_there_is_a_usage_error(tmp_path, run):
    done = CliRunner().invoke(tables, ["list", "--preset", "shoop"])
    assert done.exit_code == 2
    assert "no preset at" in done.output and ": shop; did you mean 'shop'?" in done.output


def test_a_preset_given_by_path_goes_by_its_name(tmp_path, store, run):
    publish(store, "items", DAY_1, 3)
    path = tmp_path / "anywhere.yaml"
    path.write_text("name: shop\n")
    done = CliRunner().invoke(tables, ["list", "--json", "--preset", str(path)])
    assert [table["rows"] for table in json.loads(done.output)] == [3]


def test_damage_ends_with_code_1(store, run):
    from pathlib import Path

    publish(store, "items", DAY_1, 2)
    Path(store.files("items")[0]).unlink()
    assert "of live snapshots are gone" in run("maintain", "items", expect=1)


def test_help_loads_neither_arrow_nor_the_catalog():
    code = (
        "import sys; from feature_store.cli import tables; "
        "tables(['--help'], standalone_mode=False); "
        "print([m for m in ('pyarrow', 'pyiceberg', 'pydantic', 'rich') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"
    for command in ("diff", "history", "lineage", "list", "maintain", "rollback", "show"):
        assert f"\n  {command} " in told.stdout
