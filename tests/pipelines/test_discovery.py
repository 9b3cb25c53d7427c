"""Which files of a delivery are read, and the name and reason of each that isn't."""

import re
from datetime import date

import pytest

from feature_store.settings import Settings
from pipelines.errors import DataRefused, DeliveryUnreadable
from pipelines.sources import open_source
from pipelines.sources.interface import ROW
from pipelines.sources.raw_files import RawFiles
from pipelines.sources.raw_rows import read_rows
from tests.pipelines.raw_worlds import COLUMNS, DAY, table_config, write_csv, write_json

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]
ROWS = [("u", "a", f"{DAY} 12:00:00", 1, 2)]
EARLIER = date(2024, 3, 9)


@pytest.fixture
def delivered(spark, tmp_path):
    """The one log of a run's day: names read, and those left out with the reason."""

    def run(path="log", bootstrap=False, **options):
        config = table_config(path, catalogue=None, **options)
        (log,) = open_source(spark, config, Settings(data=tmp_path)).logs(DAY, bootstrap=bootstrap)
        left_out = {each.file: each.why for each in log.left_out}
        return [log.name(file) for file in log.files], left_out, log

    return run


def test_sub_folders_partition_folders_and_suffixes_in_any_case_are_read(delivered, tmp_path):
    day = tmp_path / "log" / f"day={DAY}"
    for name in ("p0.csv", "hour=23/p1.CSV", "a/b/c/p2.csv.gz", "p3.Csv.BZ2", "p4.csv.zst"):
        write_csv(day / name, ROWS)
    for name in ("_SUCCESS", ".p0.csv.crc", "p9.csv.tmp", "p8.csv._COPYING_", "~p7.csv~"):
        write_csv(day / name, ROWS)
    write_csv(day / "_temporary" / "0" / "x.csv", ROWS)
    write_csv(day / "_temporary" / "0" / "y.csv", ROWS)
    write_csv(day / "readme.txt", ROWS)
    (day / "p5.csv").write_bytes(b"")
    names, left_out, log = delivered()
    assert names == [
        f"day={DAY}/{name}"
        for name in ("a/b/c/p2.csv.gz", "hour=23/p1.CSV", "p0.csv", "p3.Csv.BZ2", "p4.csv.zst")
    ]
    assert set(log.days) == {DAY}
    hidden = "hidden or temporary"
    assert {name.removeprefix(f"day={DAY}/"): why for name, why in left_out.items()} == {
        "_SUCCESS": hidden,
        ".p0.csv.crc": hidden,
        "p9.csv.tmp": hidden,
        "p8.csv._COPYING_": hidden,
        "~p7.csv~": hidden,
        "_temporary": hidden,
        "readme.txt": "no csv",
        "p5.csv": "zero bytes",
    }


TWO_FORMS = {
    (f"{DAY}.csv", f"{DAY}.csv.gz"): (f"{DAY}.csv", f"{DAY}.csv.gz"),
    (f"{DAY}.csv", f"{DAY}/p0.csv"): (f"{DAY}", f"{DAY}.csv"),
    (f"{DAY}/p0.csv", f"day={DAY}/p0.csv"): (f"{DAY}", f"day={DAY}"),
    (f"{DAY}/p0.csv", f"{DAY}/p0.CSV"): ("p0.CSV", "p0.csv"),
    (f"{DAY}/p0.csv", f"{DAY}/p0.csv.bz2"): ("p0.csv", "p0.csv.bz2"),
    (f"{DAY}/h/p0.csv", f"{DAY}/h.csv"): ("h.csv", "h/"),
}


@pytest.mark.parametrize("forms", TWO_FORMS)
def test_two_forms_of_a_day_or_of_a_part_are_refused_with_both_names(delivered, tmp_path, forms):
    for name in forms:
        write_csv(tmp_path / "log" / name, ROWS)
    first, second = map(re.escape, TWO_FORMS[forms])
    with pytest.raises(DataRefused, match=rf"is there in two forms: {first} and {second}\. One of"):
        delivered()


def test_a_path_that_names_the_file_of_a_day_is_refused_beside_another_form_of_it(
    delivered, tmp_path
):
    write_csv(tmp_path / "log" / f"events-{DAY}.csv", ROWS)
    write_csv(tmp_path / "log" / f"events-{DAY}.csv.tmp", ROWS)
    names, left_out, _ = delivered("log/events-{day}.csv")
    assert names == [f"events-{DAY}.csv"]
    assert left_out == {f"events-{DAY}.csv.tmp": "hidden or temporary"}
    write_csv(tmp_path / "log" / f"events-{DAY}.csv.gz", ROWS)
    with pytest.raises(DataRefused, match=rf"events-{DAY}\.csv and events-{DAY}\.csv\.gz"):
        delivered("log/events-{day}.csv")


def test_two_forms_of_another_day_and_days_that_no_calendar_has_stop_nothing(delivered, tmp_path):
    for name in (DAY, "2024-02-30", "2024-13-01", "2024-03-09"):
        write_csv(tmp_path / "log" / f"{name}.csv", ROWS)
    write_csv(tmp_path / "log" / "2024-03-09.csv.gz", ROWS)
    for path in ("log", "log/{day}.csv"):
        names, left_out, _ = delivered(path)
        assert names == [f"{DAY}.csv"]
        assert left_out["2024-02-30.csv"] == left_out["2024-13-01.csv"] == "no day of the calendar"


def test_a_delivery_of_another_format_alone_is_refused_and_an_absent_one_awaited(
    delivered, tmp_path
):
    write_csv(tmp_path / "log" / str(EARLIER) / "p0.csv", ROWS)
    day = tmp_path / "log" / str(DAY)
    write_json(day / "p0.json", [])
    with pytest.raises(
        DataRefused, match=rf"no csv files in .*{DAY}: there are {DAY}/p0\.json\. s"
    ):
        delivered()
    (day / "p0.json").rename(day / ".p0.json")
    with pytest.raises(DeliveryUnreadable, match=rf"no files in .*{DAY}/\.p0\.json is hidden or t"):
        delivered()
    (day / ".p0.json").unlink()
    with pytest.raises(DeliveryUnreadable, match=rf"no files in .*{DAY}\. Run the day again"):
        delivered()
    day.rmdir()
    with pytest.raises(DeliveryUnreadable, match=rf"no delivery for {DAY}.*there are 1 from"):
        delivered()
    write_json(tmp_path / "log" / f"{DAY}.json", [])
    with pytest.raises(
        DeliveryUnreadable, match=rf"no delivery for {DAY}.*{DAY}\.json is left out"
    ):
        delivered()


def test_an_earlier_day_without_files_doesnt_stop_the_first_run(delivered, tmp_path):
    (tmp_path / "log" / str(EARLIER)).mkdir(parents=True)
    write_csv(tmp_path / "log" / f"{DAY}.csv", ROWS)
    names, left_out, log = delivered(bootstrap=True)
    assert (names, log.days, left_out) == ([f"{DAY}.csv"], (DAY,), {str(EARLIER): "no files"})


@pytest.mark.parametrize("file_format", ["csv", "json", "parquet"])
def test_a_day_of_empty_files_is_a_day_without_rows(delivered, tmp_path, spark, file_format):
    day = tmp_path / "log" / str(DAY)
    day.mkdir(parents=True)
    (day / f"p0.{file_format}").write_bytes(b"")
    names, left_out, log = delivered(file_format=file_format)
    assert (names, log.holds, list(left_out.values())) == ([], "day", ["zero bytes"])
    assert log.delivered == (DAY,)
    rows = read_rows(spark, RawFiles(spark, tmp_path), log).frame
    assert rows.columns == ["user", "item", "ts", "seconds", "liked", ROW]
    assert rows.collect() == []


ODD_NAMES = (
    "[a].csv",
    "{a,b}.csv",
    "a*.csv",
    "a?.csv",
    "a b.csv",
    "a#b.csv",
    "a%20b.csv",
    "a+b.csv",
    "a:b.csv",
    "a\\b.csv",
    "ü日本.csv",
    "u\u0308.csv",
    "hour=3/a.csv",
    "[x]/{y}/z.csv",
)


def test_names_with_any_character_are_read_once_and_named_as_they_are(delivered, tmp_path, spark):
    for place, name in enumerate(ODD_NAMES):
        # The second file of each pair has a quote that isn't closed, so that it is read in order.
        for folder, last in (("even", ("v", "a", "t", 1, 2)), ("odd", 'v,"a')):
            path = tmp_path / "log" / f"{DAY}" / folder / name
            write_csv(path, [(f"u{place}", "a", "t", 1, 2), last])
    _, _, log = delivered()
    rows = read_rows(spark, RawFiles(spark, tmp_path), log).frame
    places = sorted(
        (r["user"], r[ROW]["source_file"]) for r in rows.where("user like 'u%'").collect()
    )
    assert places == sorted(
        (f"u{place}", f"{DAY}/{folder}/{name}")
        for place, name in enumerate(ODD_NAMES)
        for folder in ("even", "odd")
    )


def test_a_hidden_file_that_the_path_names_is_refused(delivered, tmp_path):
    write_csv(tmp_path / "_log.csv", ROWS)
    with pytest.raises(DataRefused, match=r"_log\.csv is hidden.*rename it"):
        delivered("_log.csv")


def test_a_file_that_the_path_names_is_read_unless_its_name_is_another_formats(delivered, tmp_path):
    write_csv(tmp_path / "log.txt", ROWS)
    assert delivered("log.txt")[0] == ["log.txt"]
    write_csv(tmp_path / "log.jsonl.gz", ROWS)
    with pytest.raises(
        DataRefused, match=r"log\.jsonl\.gz is json by its name\. source\.format .*'csv'"
    ):
        delivered("log.jsonl.gz")


def test_a_log_and_its_header_may_be_cut_by_another_separator(delivered, tmp_path, spark):
    write_csv(tmp_path / "log" / f"{DAY}.csv", ROWS, separator=";")
    _, _, log = delivered()
    with pytest.raises(
        DataRefused, match=r"one column by the separator ',', and more by ';'\. Set"
    ):
        read_rows(spark, RawFiles(spark, tmp_path), log)
    _, _, log = delivered(source={"separator": ";"})
    (row,) = read_rows(spark, RawFiles(spark, tmp_path), log).frame.collect()
    assert [row[name] for name in COLUMNS] == ["u", "a", f"{DAY} 12:00:00", "1", "2"]
