"""The day's commands as the DAGs spell them, one after another on real ratings, for two days.

Airflow's part is tested in test_airflow_chain.py; here every step is the real one, with models that
are too small to be good. The preset is given by its path: on the first day a relative one, then an
absolute one.
"""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from feature_store.run_record import read_steps
from feature_store.settings import REPOSITORY, Settings
from feature_store.store import FeatureStore
from feature_store.tables import CATALOG
from sidereal.airflow_api import Task
from sidereal.chain import Progress
from sidereal.summary import summarize
from tests.end_to_end.steps import daily_steps
from training.evaluation.metrics import SLATES
from training.evaluation.record import Evaluation

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.spark,
    pytest.mark.xdist_group("chain"),
    pytest.mark.timeout(600),
]

DAYS = (date(1998, 4, 20), date(1998, 4, 21))
SMALL = (
    "tokenizer.codebook_size=16",
    "tokenizer.iterations=5",
    "models.challenger=higr",
    "gate.primary_metric=slate_ndcg@5",
    "models.settings.higr.width=16",
    "models.settings.higr.planner_layers=1",
    "alignment.max_epochs=1",
    "models.settings.sasrec={width: 16, num_layers: 1, num_heads: 2}",
    "training.overrides.higr.max_epochs=1",
    "training.overrides.higr.max_validation_targets=50",
    "training.max_epochs=1",
    "training.max_history=20",
    "evaluation.max_targets_per_user=3",
    "evaluation.bootstrap_samples=200",
)


@pytest.fixture(scope="module")
def chain(tmp_path_factory, movielens_100k, spark):
    """Runs a day's steps in order and returns their records; state is kept between days."""
    home = tmp_path_factory.mktemp("chain") / "var"
    preset = home.parent / "films.yaml"
    preset.write_text((REPOSITORY / "presets" / "movielens-100k.yaml").read_text())
    overrides = [*SMALL, f"source.path={movielens_100k}"]
    places = {"SIDEREAL_HOME": home, "SIDEREAL_PRESET_NAME": "movielens-100k"}
    with (
        pytest.MonkeyPatch.context() as patch,
        daily_steps(preset.name, overrides, **places) as run,
    ):
        patch.chdir(preset.parent)

        def run_day(day):
            run(day, preset.name if day == DAYS[0] else str(preset))
            return read_steps(Settings().runs_of("movielens-100k"), day)

        yield run_day


@pytest.fixture(scope="module")
def first(chain):
    """Records of the first day."""
    return chain(DAYS[0])


@pytest.fixture(scope="module")
def second(chain, first):
    """Records of the second day."""
    return chain(DAYS[1])


def state():
    """What a rerun must not change: every table's content, every version, the champion."""
    from training.registry.client import Registry

    settings = Settings()
    store = FeatureStore.open(settings, "movielens-100k")
    registry = Registry.open(settings, "movielens-100k")
    return (
        {name: store.content_hash(name) for name in CATALOG if store.exists(name)},
        {name: store.snapshot_id(name) for name in CATALOG if store.exists(name)},
        [(version.number, version.digest, version.aliases) for version in registry.versions()],
    )


def test_every_step_leaves_its_record(first):
    idle = [name for name, facts in first.items() if facts["status"] != "done"]
    asks_for_none = ["blend_recommenders", "build_impressions", "build_users", "sample_beams"]
    assert idle == asks_for_none
    assert {"build_items", "train_recommender", "write_report"} <= set(first)


def test_no_row_is_lost_on_the_way_in(first):
    facts = first["ingest_interactions"]
    published = facts["published"] + facts["duplicates"] + facts["quarantined"]
    assert facts["rows_in"] == published == 99_344  # ratings before the end of 20 April 1998


def test_the_first_day_finds_a_champion_and_serves_every_user(first):
    assert first["promote_recommender"]["decision"] in ("promote", "promote_baseline")
    store = FeatureStore.open(Settings(), "movielens-100k")
    users = store.row_count("user_sequences", partition=DAYS[0])
    assert store.row_count("recommendations", partition=DAYS[0]) == users == 940


@pytest.mark.exhaustive
def test_the_second_day_faces_the_first_day_s_champion(first, second):
    assert "champion" not in first["evaluate_recommender"]["entrants"]
    assert "champion" in second["evaluate_recommender"]["entrants"]
    assert second["train_tokenizer"]["status"] == "unchanged"
    assert second["ingest_interactions"]["published"] == 120


@pytest.mark.exhaustive
def test_the_report_names_the_day_and_loads_nothing_from_elsewhere(second):
    path = Settings().runs_of("movielens-100k") / "1998-04-21" / "report.html"
    text = path.read_text()
    assert "1998-04-21" in text
    assert "<script src" not in text
    assert 'rel="stylesheet"' not in text


@pytest.mark.exhaustive
def test_the_summary_reads_what_the_real_steps_write(second):
    started = datetime(2024, 1, 1, tzinfo=UTC)
    tasks = [Task("dag", "run", name, "success", 1.0, started, 1, (name,)) for name in second]
    progress = Progress(DAYS[1], tuple(tasks), done=True, failed=False)
    found = summarize(Settings(), "movielens-100k", progress, seconds=1.0)
    # The preset asks for no beams and no impressions.
    unasked = {"sampled_beams", "users", "feature_vocabularies", "impressions"}
    assert set(found["tables"]) == set(CATALOG) - unasked
    assert found["delivery"]["published"] == 120
    assert {"higr", "pretrained", "sasrec", "item_knn", "popularity", "champion"} == set(
        found["evaluation"]["entrants"]
    )
    record = Evaluation.from_json(found["evaluation"])
    assert all(SLATES in entrant.boards for entrant in record.entrants.values())
    assert found["tokenizer"]["levels"]
    assert found["gate"]["summary"]
    for path in (*found["paths"]["data_docs"], found["paths"]["report"]):
        assert Path(path).is_file()


@pytest.mark.exhaustive
def test_running_a_day_again_changes_no_row_and_adds_no_version(chain, second):
    before = state()
    again = chain(DAYS[1])
    assert state() == before
    assert again["train_recommender"]["status"] == "unchanged"
    assert again["align_recommender"]["status"] == "unchanged"
    assert again["promote_recommender"]["status"] == "unchanged"
