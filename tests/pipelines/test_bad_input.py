"""One dirty delivery with everything that can be wrong with a row, and files that can't be read."""

import gzip
from datetime import timedelta

import pytest

from feature_store.run_record import read_steps
from feature_store.store import FeatureStore
from pipelines.config import StrengthRule
from pipelines.errors import DataRefused, DeliveryUnreadable
from pipelines.runner import run_job
from tests.pipelines.raw_worlds import (
    DAY,
    good_rows,
    table_config,
    write_catalogue,
    write_csv,
)

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]
TIME = f"{DAY} 15:00:00"

DIRT = {
    f"u,a,{TIME},1": "line does not have 5 fields",
    b"u\xff\xfe,a," + TIME.encode() + b",1,1": "line is not valid UTF-8",
    f"u,a,{TIME},1,{'9' * 2**20}": "line is longer than 65,536 characters",
    f",a,{TIME},1,1": "user_id is missing",
    f"u,,{TIME},1,1": "item_id is missing",
    f"nan,a,{TIME},1,1": "user_id is missing",
    f"u,nobody's,{TIME},1,1": "item_id is not in the catalogue",
    "u,a,,1,1": "event_time is missing",
    "u,a,yesterday,1,1": "event_time is not a timestamp",
    "u,a,1969-07-20 20:17:00,1,1": "event_time is negative",
    "u,a,1970-01-01 00:00:00,1,1": "event_time is before 1990-01-01",
    f"u,a,{DAY + timedelta(days=1)} 00:00:00,1,1": "event_time is after the delivery's day",
    f"u,a,{TIME},7,1": "no strength rule holds",
    f"u,a,{TIME},,1": "no strength rule holds",
    f"u,a,{TIME},1,-3": "seconds is negative",
    f"u,a,{TIME},1,NaN": "seconds is NaN or infinite",
    f"u,a,{TIME},1,long": "seconds is not a number",
}


@pytest.fixture
def ingest(spark, settings):
    write_catalogue(settings.data_path)

    def run(content=None, **sections):
        config = table_config(**sections)
        run_job("build_items", preset_config=config, settings=settings, day=DAY)
        return run_job("ingest_interactions", preset_config=config, settings=settings, day=DAY)

    return run


def deliver(settings, rows, name=f"{DAY}.csv", **options):
    return write_csv(settings.data_path / "log" / name, rows, **options)


def test_every_dirty_row_is_quarantined_for_its_reason_and_every_good_one_published(
    ingest, settings
):
    deliver(settings, [*good_rows(), *DIRT, *good_rows(3)])
    facts = ingest(validation={"quarantine_share": 0.5})
    assert (facts["rows_in"], facts["published"], facts["duplicates"], facts["quarantined"]) == (
        40 + len(DIRT) + 3,
        40,
        3,
        len(DIRT),
    )
    rows = FeatureStore.open(settings, "own").read("quarantine").sort_by("line").to_pylist()
    reasons = dict(zip(DIRT, ([row["reasons"], row["line"]] for row in rows), strict=True))
    assert reasons == {
        line: [[reason], 40 + place] for place, (line, reason) in enumerate(DIRT.items())
    }
    assert rows[0]["raw"] == f"u,a,{TIME},1"
    assert "\ufffd" in rows[1]["raw"]
    assert (len(rows[2]["raw"]), rows[2]["raw_chars"]) == (4096, len(TIME) + 7 + 2**20)
    assert sum(facts["reasons"].values()) == len(DIRT)


BROKEN_FILES = {
    "cut short": (lambda whole: whole[: len(whole) // 2], "Unexpected end of input stream"),
    "a wrong byte": (lambda whole: whole[:-6] + b"\0\0" + whole[-4:], "CRC"),
    "no archive at all": (lambda whole: gzip.decompress(whole), "not a gzip file"),
}


@pytest.mark.parametrize("damage", BROKEN_FILES)
def test_a_damaged_archive_is_named_and_nothing_of_it_is_published(ingest, settings, damage):
    change, says = BROKEN_FILES[damage]
    path = deliver(settings, good_rows(5000), f"{DAY}.csv.gz")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DeliveryUnreadable, match=rf"{DAY}\.csv\.gz can't be read: .*{says}"):
        ingest(source={"path": "log"})
    store = FeatureStore.open(settings, "own")
    assert not store.exists("interactions")
    assert not store.exists("quarantine")
    assert read_steps(settings.runs_of("own"), DAY)["ingest_interactions"]["status"] == "failed"


@pytest.mark.exhaustive
def test_an_absent_delivery_says_which_day_is_awaited(ingest, settings):
    deliver(settings, good_rows(), "2024-03-01.csv")
    with pytest.raises(DeliveryUnreadable, match=rf"no delivery for {DAY}.*there are 1 from 2024"):
        ingest()


@pytest.mark.exhaustive
def test_a_renamed_column_is_refused_before_any_row_is_read(ingest, settings):
    deliver(settings, good_rows(), header=("user", "item_id", "ts", "liked", "seconds"))
    with pytest.raises(DataRefused, match=r"no column 'item' \(renamed to 'item_id'\?\), which"):
        ingest()
    assert not FeatureStore.open(settings, "own").exists("interactions")


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "when",
    [
        "to_date(concat('x', liked)) = DATE '2024-03-10'",
        "CAST(liked AS INT) * 100000 > 0",
        "element_at(split(liked, '-'), CAST(seconds AS INT)) = 'b'",
    ],
)
def test_a_rule_that_fails_costs_its_rows_alone_where_the_delivery_is_one_file(
    settings, spark, when
):
    # One file's name is a constant to Spark: nothing may let the rule be evaluated ahead.
    deliver(settings, [f"u{n},a,{TIME},30000,9" for n in range(3)])
    config = table_config(catalogue=None, validation={"quarantine_share": 1})
    rules = [StrengthRule(strength=s, when=w) for s, w in ((3, "user = 'u0'"), (2, when))]
    source = config.source.model_copy(update={"strength": tuple(rules)})
    config = config.model_copy(update={"source": source})
    facts = run_job("ingest_interactions", preset_config=config, settings=settings, day=DAY)
    assert (facts["published"], facts["quarantined"]) == (1, 2)
    assert list(facts["reasons"]) == [f"strength rule 2 fails: {when}"]
