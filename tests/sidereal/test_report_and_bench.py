"""`sidereal report` and `sidereal bench`."""

import json
import sys

import pytest
from click.testing import CliRunner

from sidereal.bench import BENCHMARKS, bench, read_measures
from sidereal.report import report


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDEREAL_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def reports(home):
    for day in ("1998-04-20", "1998-04-21"):
        folder = home / "runs" / "movielens-100k" / day
        folder.mkdir(parents=True)
        (folder / "report.html").write_text("<html>")
    return home


def test_without_a_day_the_latest_report_is_named(reports):
    result = CliRunner().invoke(report)
    assert result.output.strip() == str(
        reports / "runs" / "movielens-100k" / "1998-04-21" / "report.html"
    )


def test_a_day_without_a_report_names_those_that_have_one(reports):
    result = CliRunner().invoke(report, ["--day", "1998-04-22"])
    assert result.exit_code == 1
    assert "no report of 1998-04-22; there are reports of 1998-04-20, 1998-04-21" in result.output


def test_before_any_run_there_is_no_report(home):
    result = CliRunner().invoke(report)
    assert result.exit_code == 1
    assert "no report below" in result.output


def test_a_preset_without_reports_is_told_which_have_some(reports):
    folder = reports / "runs" / "kuairand" / "2022-04-20"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<html>")
    named = CliRunner().invoke(report, ["--preset", "kuairand"])
    assert named.output.strip() == str(folder / "report.html")
    none = CliRunner().invoke(report, ["--preset", "amazon-office"])
    assert none.exit_code == 1
    assert (
        "`sidereal run --preset amazon-office` writes them; there are reports of --preset "
        "kuairand, movielens-100k" in none.output
    )


def test_records_from_before_presets_were_kept_apart_are_not_read(reports):
    (reports / "runs" / "1998-04-20" / "steps").mkdir(parents=True)
    result = CliRunner().invoke(report)
    assert result.exit_code == 2
    assert "of an earlier version, which did not keep presets apart" in result.output


@pytest.fixture
def benchmark(home, monkeypatch, tmp_path):
    """Lets `benchmarks.<name>` of the child process be a file of ours."""

    def write(name, body):
        folder = tmp_path / "stand-in" / "benchmarks"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
        (folder / f"{name}.py").write_text(body)
        monkeypatch.setenv("PYTHONPATH", str(folder.parent))

    return write


MEASURE = """
def measure(settings, *, quick):
    return {"name": "sasrec_epoch", "work": "little", "unit": "s", "ours": 2.0 if quick else 4.0,
            "peers": {"recbole": 100.0}, "ratio": 0.02, "goal": "<= 3 s"}
"""


def test_a_measure_replaces_its_own_last_result_and_no_other(home, benchmark):
    benchmark("sasrec_epoch", MEASURE)
    other = {"name": "validation_share", "work": "", "unit": "", "ours": 1, "peers": {}}
    other |= {"ratio": 0.2, "goal": 0.25}
    (home / "bench.json").write_text(json.dumps([other]))
    for _ in range(2):
        result = CliRunner().invoke(bench, ["sasrec_epoch", "--quick"])
        assert result.exit_code == 0, result.output
    names = [measure["name"] for measure in read_measures(home / "bench.json")]
    assert names == ["sasrec_epoch", "validation_share"]
    assert read_measures(home / "bench.json")[0]["ours"] == 2.0
    assert "(quick)" in result.output


def test_a_benchmark_that_fails_ends_the_command(benchmark):
    benchmark("sasrec_epoch", "def measure(settings, *, quick):\n    raise SystemExit(7)\n")
    result = CliRunner().invoke(bench, ["sasrec_epoch"])
    assert result.exit_code == 1
    assert "benchmark sasrec_epoch ended with exit code 7" in result.output


def test_a_benchmark_that_leaves_a_field_out_is_refused(benchmark):
    benchmark("sasrec_epoch", 'def measure(settings, *, quick):\n    return {"name": "x"}\n')
    result = CliRunner().invoke(bench, ["sasrec_epoch"])
    assert "benchmark sasrec_epoch gave no work, unit, ours, peers" in result.output


def test_an_unknown_benchmark_is_a_usage_error():
    assert CliRunner().invoke(bench, ["sasrec"]).exit_code == 2
    assert sys.modules.get("benchmarks.sasrec") is None
    assert len(set(BENCHMARKS)) == len(BENCHMARKS)
