"""What sources say of people → users."""

import gzip
from datetime import date

import pytest

from pipelines.config import PipelineConfig
from pipelines.errors import DataRefused, DeliveryUnreadable
from pipelines.runner import run_job
from pipelines.sources.kuairand import PERSON
from pipelines.transforms.users import extend_users, one_per_user
from tests.pipelines.raw_worlds import DAY, good_rows, table_config, write_csv

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

LATER = date(2024, 3, 12)
ROWS = "user_id string, attributes map<string,string>"
USERS = "user_id string, first_day date, changed_day date, attributes map<string,string>"
MAPPING = {"path": "people.csv", "user_id": "who", "attributes": ["city", "age"]}


def test_of_several_rows_of_a_person_the_fullest_stays(spark):
    rows = [
        ("a", {"city": "Bern"}), ("a", {"city": "Oslo", "age": "7"}), (None, {"city": "Rome"}),
        ("b", {"city": "Rome"}), ("b", {"city": "Bern"}),
    ]  # fmt: skip
    for order in (rows, rows[::-1]):
        found = one_per_user(spark.createDataFrame(order, ROWS)).collect()
        assert {row["user_id"]: row["attributes"] for row in found} == {
            "a": {"city": "Oslo", "age": "7"},
            "b": {"city": "Bern"},
        }


def test_what_is_said_anew_is_taken_and_who_is_not_there_stays(spark):
    users = spark.createDataFrame(
        [
            ("gone", DAY, DAY, {"city": "Bern"}),
            ("moved", DAY, DAY, {"city": "Bern"}),
            ("same", DAY, DAY, {"city": "Bern", "age": "7"}),
        ],
        USERS,
    )
    delivered = spark.createDataFrame(
        [("moved", {"city": "Oslo"}), ("same", {"age": "7", "city": "Bern"}), ("new", {})], ROWS
    )
    found = {row["user_id"]: row for row in extend_users(users, delivered, day=LATER).collect()}
    assert {user: row["attributes"] for user, row in found.items()} == {
        "gone": {"city": "Bern"},
        "moved": {"city": "Oslo"},
        "same": {"city": "Bern", "age": "7"},
        "new": {},
    }
    days = {user: (row["first_day"], row["changed_day"]) for user, row in found.items()}
    assert days == {
        "gone": (DAY, DAY), "moved": (DAY, LATER), "same": (DAY, DAY), "new": (LATER, LATER),
    }  # fmt: skip


def test_a_run_of_an_earlier_day_leaves_what_a_later_one_brought(spark):
    users = spark.createDataFrame([("a", LATER, LATER, {"city": "Oslo"})], USERS)
    delivered = spark.createDataFrame([("a", {"city": "Bern"})], ROWS)
    [row] = extend_users(users, delivered, day=DAY).collect()
    assert (row["changed_day"], row["attributes"]) == (LATER, {"city": "Oslo"})


@pytest.fixture
def own(spark, settings):
    """Runs build_users on a file of people."""
    folder = settings.data_path
    write_csv(folder / "log" / f"{DAY}.csv", good_rows())

    def run(rows, header=("who", "city", "age", "note"), **changed):
        write_csv(folder / "people.csv", rows, header=header)
        config = table_config(source={"users": MAPPING | changed})
        facts = run_job("build_users", preset_config=config, settings=settings, day=DAY)
        return facts, _read(settings, config)

    return run


def _read(settings, config):
    from feature_store.store import FeatureStore

    rows = FeatureStore.open(settings, config.name).read("users").to_pylist()
    return {row["user_id"]: dict(row["attributes"]) for row in rows}


def test_a_file_of_ones_own(own):
    rows = [
        ("u1", "Bern", 7, "x"), ("u2", "", "many", "y"), ("", "Rome", 9, "z"),
        ("u1", "Bern", "", ""), ("u3", "Bern|Rome", "1e3", ""),
    ]  # fmt: skip
    facts, users = own(rows)
    assert users == {
        "u1": {"city": "Bern", "age": "7"},
        # A number that is none is a text like another; features of numbers don't know it.
        "u2": {"age": "many"},
        "u3": {"city": "Bern|Rome", "age": "1e3"},
    }
    counts = {name: facts[name] for name in ("user_rows", "users_described", "rows_without_id")}
    assert counts == {"user_rows": 5, "users_described": 3, "rows_without_id": 1}
    assert facts["rows_of_a_user_again"] == 1
    again, _ = own(rows)
    assert not again["changed"]


def test_a_file_whose_columns_changed(own):
    with pytest.raises(
        DataRefused,
        match=r"people.csv has no column 'city' \(renamed to 'cities'\?\), which "
        r"source.users.attributes needs. Its columns are who, cities, age",
    ):
        own([("u1", "Bern", 7)], header=("who", "cities", "age"))


def test_a_broken_line(own):
    with pytest.raises(DataRefused, match=r"source.users: people.csv line 3: .*file on users"):
        own([("u1", "Bern", 7, "x"), "u2,Rome"])


def test_nobody(own):
    with pytest.raises(DataRefused, match=r"people.csv names nobody: 1 rows, 1 without an id"):
        own([("", "Bern", 7, "x")])


def test_no_file(own):
    with pytest.raises(DeliveryUnreadable, match=r"source.users.path: nothing at .*peple.csv"):
        own([("u1", "Bern", 7, "x")], path="peple.csv")


@pytest.fixture
def kuairand(spark, settings):
    """Runs build_users on KuaiRand's folder, with a file on people or without."""
    source = {
        "layout": "kuairand",
        "path": "kuairand",
        "strength": [{"strength": 0, "when": "TRUE"}],
    }
    config = PipelineConfig.model_validate({"name": "k", "source": source})

    def run(header=None, *rows):
        folder = settings.data_path / "kuairand"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "video_features_basic_pure.csv").write_text("video_id\n")
        if header:
            text = "\n".join(",".join(map(str, row)) for row in (header, *rows)) + "\n"
            (folder / "user_features_pure.csv.gz").write_bytes(gzip.compress(text.encode()))
        facts = run_job("build_users", preset_config=config, settings=settings, day=DAY)
        return facts, _read(settings, config)

    return run


def test_kuairands_people_have_all_that_is_said_of_them(kuairand):
    values = [f"{n}.0" if n % 2 else "" for n in range(len(PERSON))]
    _, users = kuairand(("user_id", *PERSON), (7, *values))
    assert users == {"7": {name: str(n) for n, name in enumerate(PERSON) if n % 2}}


def test_kuairand_without_a_file_on_people_has_an_empty_table(kuairand):
    facts, users = kuairand()
    assert (facts["rows"], users) == (0, {})


def test_kuairands_columns_changed(kuairand):
    header = ("user_id", *(name for name in PERSON if name != "register_days"), "registered")
    with pytest.raises(
        DataRefused, match=r"no column 'register_days'.*which the layout kuairand needs"
    ):
        kuairand(header, range(31))
