"""`sidereal presets check` with data at hand: what it says of the first rows, and how it exits."""

import json

import pytest
from click.testing import CliRunner

from sidereal.cli import main

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]
PRESET = """\
name: shop
source:
  layout: table
  path: events/{day}.csv
  format: csv
  columns: {user_id: user, item_id: item, event_time: {column: time}, signals: [action, price]}
  strength:
    - {strength: 3, when: "action = 'purchase'"}
    - {strength: 1, when: "action = 'click'"}
    - {strength: 1, when: "price > 10"}
  catalogue: {path: items.csv, item_id: item, title: title, attributes: [kind]}
"""
HEADER = "user,item,time,action,price"
GOOD = [f"u{n},i1,2026-03-02 10:00:0{n},{a},{p}" for n, (a, p) in enumerate(
    [("purchase", 1), ("click", 20), ("click", 2), ("view", 20)]
)]  # fmt: skip


@pytest.fixture
def check(spark, tmp_path, monkeypatch):
    """Checks a preset in a folder with a catalogue; `days` are deliveries by name."""

    def run(*arguments, days=None, preset=PRESET):
        data = tmp_path / "data"
        (data / "events").mkdir(parents=True, exist_ok=True)
        (data / "items.csv").write_text("item,title,kind\ni1,Ball,toy\ni2,Bat,\n")
        (tmp_path / "shop.yaml").write_text(preset)
        for name, rows in (days or {}).items():
            (data / "events" / name).write_text("\n".join(rows) + "\n")
        monkeypatch.setenv("SIDEREAL_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("SIDEREAL_DATA", str(data))
        path = str(tmp_path / "shop.yaml")
        return CliRunner().invoke(main, ["presets", "check", path, *arguments])

    return run


def test_the_newest_delivery_is_read_and_shown_as_it_will_be_published(check, tmp_path):
    days = {"2026-03-01.csv": ["junk"], "2026-03-02.csv": [HEADER, *GOOD]}
    days |= {"2026-02-31.csv": ["no day"], "2026-03-03.csv.tmp": [HEADER]}
    done = check(days=days)
    assert done.exit_code == 0, done.output
    assert "4 rows of 2026-03-02 read" in done.output
    assert f"the first {tmp_path / 'data' / 'events' / '2026-03-02.csv'}\n" in done.output
    assert "not read: 2026-02-31.csv" in done.output
    assert "user string, item string, time string, action string, price string" in done.output
    assert "1 rows  action = 'purchase'" in done.output
    assert "2 rows  action = 'click'" in done.output
    assert "1 rows  price > 10" in done.output
    assert "2026-03-02  u0       i1       2026-03-02 10:00:00" in done.output
    assert "Ball" in done.output


def test_the_facts_are_json(check):
    done = check("--json", "--day", "2026-03-02", days={"2026-03-02.csv": [HEADER, *GOOD]})
    data = json.loads(done.stdout)["data"]
    assert [match["rows"] for match in data["matches"]] == [1, 2, 1]
    assert (data["rows"], data["reasons"], len(data["published"])) == (4, {}, 4)
    assert data["published"][0]["signals"] == {"action": "purchase", "price": "1"}


def test_rows_that_would_be_refused_are_counted_by_reason_and_exit_3(check):
    bad = ["u9,i7,2026-03-02 10:00:00,click,1", "u9,i1,soon,click,1", "u9,i1,2026-03-02,view,1"]
    done = check(days={"2026-03-02.csv": [HEADER, *GOOD, *bad]})
    assert done.exit_code == 3
    assert "error: 3 of the first 7 rows would be refused:" in done.output
    assert "1 × item_id is not in the catalogue" in done.output
    assert "1 × no strength rule holds" in done.output
    allowed = check("--set", "validation.quarantine_share=0.5")
    assert allowed.exit_code == 0


def test_a_column_that_is_not_there_exits_3_and_a_rule_on_one_exits_2(check):
    renamed = check(days={"2026-03-02.csv": ["user,article,time,action,price", *GOOD]})
    assert renamed.exit_code == 3
    assert "'item'" in renamed.output and "Traceback" not in renamed.output
    misspelt = check(
        days={"2026-03-02.csv": [HEADER, *GOOD]},
        preset=PRESET.replace("price > 10", "prise > 10").replace(", price]", "]"),
    )
    assert misspelt.exit_code in (2, 3), misspelt.output
    assert "prise" in misspelt.output and "Traceback" not in misspelt.output


def test_rules_of_the_preset_are_analysed_by_spark(check):
    rule = "validation.rules=[{name: a, table: items, condition: title + 1}]"
    done = check("--set", rule, days={"2026-03-02.csv": [HEADER, *GOOD]})
    assert done.exit_code == 2
    assert "validation.rules.0 ('title + 1')" in done.output


def test_a_day_without_a_delivery_and_no_data_at_all_are_said(check, tmp_path):
    absent = check("--day", "2026-03-09", days={"2026-03-02.csv": [HEADER, *GOOD]})
    assert absent.exit_code == 1
    assert "no delivery for 2026-03-09" in absent.output
    empty = check(days={"2026-03-10.csv": [HEADER]})
    assert empty.exit_code == 3
    assert f"no rows for 2026-03-10 in {tmp_path / 'data'}/" in empty.output
    elsewhere = check("--set", "source.path=nowhere/{day}")
    assert elsewhere.exit_code == 0
    assert f"source.path: there is nothing at {tmp_path / 'data' / 'nowhere'};" in elsewhere.output
    (tmp_path / "data" / "empty" / ".staging").mkdir(parents=True)
    (tmp_path / "data" / "empty" / "_SUCCESS").touch()
    nothing = check("--set", "source.path=empty/{day}")
    assert nothing.exit_code == 0
    assert f"there is no data yet in {tmp_path / 'data' / 'empty'}: nothing was" in nothing.output
    misspelt = check("--set", "source.path=evnts/2026/{day}.csv")
    data = tmp_path / "data"
    assert (
        f"there is nothing at {data / 'evnts' / '2026'} (did you mean '{data / 'events'}'?);"
    ) in misspelt.output
    assert "0 right, also where there is no data yet" in " ".join(check("--help").output.split())
    assert "there is no data yet: nothing was read" in elsewhere.output
    assert "rows" not in check("--no-data").output
