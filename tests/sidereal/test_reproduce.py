"""`sidereal reproduce`: what it refuses, what it says, and a table from raw rows to results."""

import json
import shutil

import pytest
import yaml
from click.testing import CliRunner

from sidereal.cli import main
from training.experiments import EXPERIMENTS

PEOPLE, ITEMS, EVENTS = 40, 12, 8


def invoke(*arguments):
    return CliRunner().invoke(main, ["reproduce", *arguments])


def test_the_help_says_of_each_experiment_what_it_is_and_its_rows():
    text = invoke("--help").output
    for table in EXPERIMENTS.values():
        assert f"{table.name}: {table.says}" in text
        assert all(row.name in text for row in table.rows)


def test_a_misspelt_experiment_is_told_the_nearest():
    found = invoke("baseline")
    assert found.exit_code == 2
    assert "'baseline' is none; did you mean 'baselines'?" in found.output


def test_a_misspelt_row_is_told_the_nearest():
    found = invoke("baselines", "--row", "popularty")
    assert found.exit_code == 2
    assert "--row: 'popularty' is none; did you mean 'popularity'?" in found.output


def test_a_preset_without_the_data_is_refused():
    found = invoke("higr", "--preset", "amazon-office")
    assert found.exit_code == 2
    assert "amazon-office has no data for higr; it is for movielens-100k, kuairand" in found.output


def test_a_day_is_asked_for_where_nothing_says_when_the_data_ends(tmp_path):
    source = {"layout": "kuairand", "path": "x", "strength": [{"strength": 1, "when": "TRUE"}]}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "mine", "source": source}))
    found = invoke("baselines", "--preset", str(path))
    assert found.exit_code == 2
    assert "--day is needed: nothing says where the data of mine ends" in found.output


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (("baselines", "--seconds", "9"), "--seconds is of a search; say --trials, too"),
        (("higr_tokenizers", "--trials", "2"), "higr_tokenizers has no row of recommenders"),
        (("higr_alignment", "--trials", "2"), "--trials: ORPO, DPO, SimPO have the settings of"),
    ],
)
def test_a_search_of_what_has_no_settings_is_refused(arguments, refusal):
    found = invoke(*arguments)
    assert found.exit_code == 2
    assert refusal in " ".join(found.output.split())


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A preset on a log of people who go round the catalogue, each from another item."""
    data = tmp_path / "data" / "shop"
    data.mkdir(parents=True)
    rows = [
        f"p{person},i{(person + place) % ITEMS},{place + 1}"
        for person in range(PEOPLE)
        for place in range(EVENTS)
    ]
    (data / "log.csv").write_text("\n".join(["who,what,place", *rows]) + "\n")
    preset = {
        "name": "shop",
        "source": {
            "layout": "table",
            "path": "shop/log.csv",
            "format": "csv",
            "columns": {
                "user_id": "who",
                "item_id": "what",
                "event_time": {"column": "place", "unit": "order", "origin": "2026-03-01"},
            },
            "strength": [{"strength": 2, "when": "TRUE"}],
        },
        "evaluation": {"protocol": "leave_last_out", "bootstrap_samples": 200},
    }
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump(preset, sort_keys=False))
    monkeypatch.setenv("SIDEREAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SIDEREAL_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return path


@pytest.mark.end_to_end
@pytest.mark.spark
def test_a_table_from_raw_rows_to_results(shop, tmp_path):
    rows = ("--row", "item_knn", "--row", "popularity")
    found = invoke("baselines", "--preset", str(shop), *rows, "--seed", "0")
    assert found.exit_code == 0, found.output
    kept = json.loads((tmp_path / "results" / "baselines-shop.json").read_text())
    assert kept["day"] == "2026-03-01"
    assert kept["num_units"] == PEOPLE
    knn, popularity = (row["metrics"]["ndcg@10"]["mean"] for row in kept["rows"])
    assert knn > popularity  # what comes next is a neighbour of what came
    assert (tmp_path / "results" / "baselines-shop.md").read_text() in found.output
    cells = sorted(path.name for path in (tmp_path / "home/reproduce/shop/cells").iterdir())
    assert [name.partition("-")[0] for name in cells] == ["item_knn", "popularity"]
    again = invoke("baselines", "--preset", str(shop), *rows, "--seed", "0")
    assert json.loads((tmp_path / "results" / "baselines-shop.json").read_text()) == kept
    assert "fitting" not in again.output
    knn_cell = next((tmp_path / "home/reproduce/shop/cells").glob("item_knn-*"))
    shutil.rmtree(next(knn_cell.glob("lists-*")))
    weights = next((knn_cell / "model").glob("*.safetensors"))
    kept_weights = weights.read_bytes()
    weights.write_bytes(kept_weights[:100])
    damaged = invoke("baselines", "--preset", str(shop), *rows, "--seed", "0")
    assert damaged.exit_code == 1
    assert "holds no weights that this code's item_knn can use" in damaged.output
    weights.write_bytes(kept_weights)
    search = invoke("baselines", "--preset", str(shop), *rows, "--seed", "0", "--trials", "2")
    kept = json.loads((tmp_path / "results" / "baselines-shop.json").read_text())
    assert [row["searched"][0]["trials"] for row in kept["rows"]] == [2, 2]
    assert "# item_knn: ndcg@10 " in search.output
