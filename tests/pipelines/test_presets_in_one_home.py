"""Two presets in one home, day by day in turn: each as in a home of its own."""

from datetime import timedelta

import pytest

from feature_store.run_record import read_steps
from feature_store.settings import Settings
from feature_store.store import FeatureStore
from pipelines.runner import run_job
from tests.pipelines.raw_worlds import DAY, good_rows, table_config, write_catalogue, write_csv

pytestmark = [
    pytest.mark.spark,
    pytest.mark.exhaustive,
    pytest.mark.xdist_group("spark"),
    pytest.mark.timeout(600),
]

DAYS = (DAY - timedelta(days=1), DAY)
JOBS = (
    "build_items",
    "ingest_interactions",
    "embed_items",
    "build_user_sequences",
    "build_slates",
)
ITEMS = {"shop": "abcd", "films": "cdefg"}
"""Items by preset; some ids are in both."""
PLACE_BOUND = {"seconds", "share", "snapshot_id", "inputs", "docs_paths"}
"""What a record says of the run's clock and home."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two-presets")
    for number, (preset, items) in enumerate(ITEMS.items()):
        write_catalogue(folder / preset, ids=items)
        for day in DAYS:
            rows = good_rows(30 + 7 * number, day=day, users=5 + number, items=items)
            write_csv(folder / preset / "log" / f"{day}.csv", rows)
    return folder


def config_of(preset):
    own = table_config(
        path=f"{preset}/log/{{day}}.csv",
        catalogue=f"{preset}/items.csv",
        embedding={"encoder": "categorical", "dimensions": 4},
    )
    return own.model_copy(update={"name": preset})


def run_days(home, data, *presets):
    """Settings of a home in which the presets took turns."""
    settings = Settings(home=home, data=data, spark_master="local[2]")
    for day in DAYS:
        for preset in presets:
            config = config_of(preset)
            for job in JOBS:
                run_job(job, preset_config=config, settings=settings, day=day)
    return settings


def content(settings, preset):
    store = FeatureStore.open(settings, preset)
    return {
        (name, day): store.content_hash(name, at=day) for name in store.tables() for day in DAYS
    }


def records(settings, preset):
    return {day: _without_place(read_steps(settings.runs_of(preset), day)) for day in DAYS}


def _without_place(facts):
    if isinstance(facts, dict):
        return {k: _without_place(v) for k, v in facts.items() if k not in PLACE_BOUND}
    return [_without_place(each) for each in facts] if isinstance(facts, list) else facts


def test_presets_that_take_turns_in_a_home_are_as_in_homes_of_their_own(spark, data, tmp_path):
    together = run_days(tmp_path / "together", data, *ITEMS)
    assert content(together, "shop") != content(together, "films")
    for preset in ITEMS:
        alone = run_days(tmp_path / preset, data, preset)
        found = content(together, preset)
        assert len(found) == 2 * len(FeatureStore.open(alone, preset).tables()) >= 10
        assert found == content(alone, preset)
        assert set(records(alone, preset)[DAY]) == set(JOBS)
        assert records(together, preset) == records(alone, preset)
        assert sorted(path.name for path in together.data_docs_of(preset).iterdir()) == sorted(
            path.name for path in alone.data_docs_of(preset).iterdir()
        )
