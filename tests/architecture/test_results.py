"""What documents say of results is what `results/` holds."""

import re
from pathlib import Path

import pytest

from training.experiments import EXPERIMENTS
from training.experiments.markdown import markdown
from training.experiments.pages import results_in, with_tables, write_result, written
from training.experiments.result import Result

ROOT = Path(__file__).resolve().parents[2]
RESULTS = results_in(ROOT / "results")
CITING = sorted([ROOT / "README.md", ROOT / "DECISIONS.md", *(ROOT / "docs").glob("*.md")])
_CITED = re.compile(r"results/([\w-]+)\.(?:json|md)")
_NUMBER = re.compile(r"(?<![\w.])[−+-]?0\.\d{3,}(?![\d.])")


@pytest.mark.parametrize("path", sorted(written(ROOT)), ids=lambda path: path.name)
def test_a_page_says_what_the_results_say(path):
    assert path.read_text(encoding="utf-8") == written(ROOT)[path], "run `make results`"


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_a_results_text_is_that_of_its_numbers(name):
    path = ROOT / "results" / f"{name}.md"
    assert path.read_text(encoding="utf-8") == markdown(RESULTS[name]), "run the command again"


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_a_result_is_of_an_experiment_and_names_no_machine(name):
    result = RESULTS[name]
    assert result.experiment in {*EXPERIMENTS, "day"}
    text = (ROOT / "results" / f"{name}.json").read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)


@pytest.mark.parametrize("path", CITING, ids=lambda path: path.name)
def test_figures_that_cite_a_result_are_in_it(path):
    for paragraph in path.read_text(encoding="utf-8").split("\n\n"):
        names = set(_CITED.findall(paragraph))
        assert names <= RESULTS.keys(), f"{names - RESULTS.keys()} are no results"
        texts = "".join(markdown(RESULTS[name]) for name in names)
        wrong = [number for number in _NUMBER.findall(paragraph) if names and number not in texts]
        assert not wrong, f"{path.name} cites {names}, which have no {wrong}: {paragraph[:200]}"


def test_a_table_between_marks_is_replaced_and_the_rest_stays():
    name, result = next(iter(RESULTS.items()))
    text = f"before\n\n<!-- results: {name} -->\nold\n<!-- /results -->\nafter\n"
    made = with_tables(text, {name: result})
    assert made.startswith("before\n\n")
    assert made.endswith("<!-- /results -->\nafter\n")
    assert "old" not in made
    assert "| row |" in made
    assert with_tables(made, {name: result}) == made


def test_a_table_of_no_result_is_refused():
    text = "<!-- results: nothing -->\n<!-- /results -->"
    with pytest.raises(ValueError, match="no result 'nothing'; there are"):
        with_tables(text, RESULTS)


def test_other_settings_are_a_result_of_their_own(tmp_path):
    result = next(iter(RESULTS.values()))
    plain = write_result(result, tmp_path)
    changed = write_result(result, tmp_path, ("training.seed=3",))
    assert plain.stem == f"{result.experiment}-{result.preset}"
    assert changed.stem.startswith(f"{plain.stem}-")
    assert Result.read(plain) == Result.read(changed) == result


def test_a_result_of_another_version_is_refused(tmp_path):
    path = tmp_path / "old.json"
    path.write_text('{"version": 0, "command": "sidereal reproduce baselines"}')
    with pytest.raises(ValueError, match="is of version 0, this code reads 1: make it again: sid"):
        Result.read(path)
