"""The three layouts: which files a run reads, and what their catalogues say."""

from datetime import date

import pytest

from feature_store.settings import Settings
from pipelines.config import KuaiRandSource, MovieLensSource
from pipelines.errors import DataRefused, DeliveryUnreadable
from pipelines.sources import open_source
from pipelines.sources.kuairand import SIGNALS, KuaiRand
from pipelines.sources.movielens import GENRES, MovieLens
from tests.pipelines.raw_worlds import DAY, table_config, write_csv, write_json

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]
RULES = ({"strength": 0, "when": "TRUE"},)
APRIL = date(1998, 4, 15)


@pytest.fixture
def movielens(spark, tmp_path):
    def make(path="ml", dataset="100k"):
        config = MovieLensSource(layout="movielens", dataset=dataset, path=path, strength=RULES)
        return MovieLens(spark, config, Settings(data=tmp_path))

    return make


LAYOUTS = {
    "100k": {
        "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "1\t1\t5\t8.8E8\n",
        "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\t"
        'class:token_seq\n1\tCafé "Noir"\t1995\tSci-Fi Drama\n2\tunknown\t\tunknown\n',
    },
    "official": {
        "u.data": "1\t1\t5\t880000000\n",
        "u.item": '1|Café "Noir" (1995)|01-Jan-1995||http://x|'
        + "|".join("1" if genre in ("Sci-Fi", "Drama") else "0" for genre in GENRES)
        + "\n2|unknown||||1"
        + "|0" * 18
        + "\n",
    },
    "1m": {
        "ratings.dat": "1::1::5::880000000\n",
        "movies.dat": '1::Café "Noir" (1995)::Sci-Fi|Drama\n2::unknown::unknown\n',
    },
    "20m": {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,1,5.0,880000000\n",
        "movies.csv": 'movieId,title,genres\n1,"Café ""Noir"" (1995)",Sci-Fi|Drama\n'
        "2,unknown,(no genres listed)\n",
    },
}


def test_every_movielens_layout_gives_the_same_ratings_and_films(spark, movielens, tmp_path):
    from pipelines.sources.raw_files import RawFiles
    from pipelines.sources.raw_rows import read_rows
    from pipelines.transforms.parsing import parse_events

    for layout, files in LAYOUTS.items():
        folder = tmp_path / layout
        folder.mkdir()
        for name, text in files.items():
            latin = name in ("u.item", "movies.dat")
            (folder / name).write_text(text, encoding="latin-1" if latin else "utf-8")
        source = movielens(layout)
        (log,) = source.logs(APRIL, bootstrap=True)
        assert log.holds == "dump"
        rows = read_rows(spark, RawFiles(spark, tmp_path), log).frame
        (event,) = parse_events(rows, log.columns, source._config.strength).collect()
        written = "5.0" if layout == "20m" else "5"
        assert (event.user_id, event.item_id) == ("1", "1"), layout
        assert event.signals == {"rating": written}, layout
        assert event.event_time.timestamp() == 880000000, layout
        film, unknown = source.catalogue(APRIL).rows.orderBy("item_id").collect()
        assert film.title == 'Café "Noir" (1995)', layout
        genre = film.attributes["genre"]
        assert set(genre.split("|")) == {"Sci-Fi", "Drama"}, layout
        assert film.attributes["year"] == "1995", layout
        assert film.text == f'Café "Noir" (1995). {genre.replace("|", ", ")}', layout
        assert unknown.title == "unknown", layout
        assert "year" not in unknown.attributes, layout


def test_a_folder_without_movielens_says_how_to_get_it(movielens, tmp_path):
    with pytest.raises(DeliveryUnreadable, match=r"no MovieLens ratings.*sidereal fetch movielens"):
        movielens("").logs(APRIL, bootstrap=True)
    write_csv(tmp_path / "ml" / "u.data", [], header=())
    with pytest.raises(DeliveryUnreadable, match=r"no u\.item beside u\.data"):
        movielens().catalogue(APRIL)


@pytest.fixture
def kuairand(spark, tmp_path):
    header = ("user_id", "video_id", "date", "time_ms", *SIGNALS)
    for day in ("2022-04-25.csv.gz", "2022-04-26.csv", "2022-04-27.csv"):
        write_csv(tmp_path / "k" / "log" / day, [], header)
    write_csv(tmp_path / "k" / "history.csv.gz", [], header)
    columns = "video_id,author_id,video_type,upload_type,video_duration,music_id,music_type,tag"
    rows = ['0,7,NORMAL,Kmovie,87433.0,9155,9.0,"39,12"', "1,8,AD,,,,,"]
    write_csv(tmp_path / "k" / "video_features_basic_pure.csv.gz", rows, columns.split(","))
    write_csv(tmp_path / "k" / "user_features_pure.csv", ["5,full_active"], ("user_id", "degree"))

    def make(path="k", **more):
        config = KuaiRandSource(layout="kuairand", path=path, strength=RULES, **more)
        return KuaiRand(spark, config, Settings(data=tmp_path))

    return make


def names(log):
    return [file.rpartition("/")[2] for file in log.files]


def test_kuairand_reads_a_day_and_to_begin_with_all_days_before_and_the_history(kuairand):
    day = date(2022, 4, 26)
    (nightly,) = kuairand().logs(day, bootstrap=False)
    assert (names(nightly), nightly.holds) == (["2022-04-26.csv"], "day")
    days, history = kuairand(history="history.csv.gz").logs(day, bootstrap=True)
    assert (names(days), days.holds) == (["2022-04-25.csv.gz", "2022-04-26.csv"], "day")
    assert (names(history), history.holds) == (["history.csv.gz"], "dump")


def test_kuairand_reads_the_official_logs_where_there_are_no_daily_ones(kuairand, tmp_path):
    write_csv(tmp_path / "official" / "log_standard_4_08_to_4_21_pure.csv", [])
    write_csv(tmp_path / "official" / "log_random_4_22_to_5_08_pure.csv", [])
    (log,) = kuairand("official").logs(date(2022, 4, 26), bootstrap=False)
    assert (names(log), log.holds) == (["log_standard_4_08_to_4_21_pure.csv"], "dump")


def test_kuairands_days_are_found_by_the_same_rules_as_anyone_elses(kuairand, tmp_path):
    log = tmp_path / "k" / "log"
    for name in ("2022-04-26.csv.tmp", "2022-02-30.csv", "notes.txt"):
        write_csv(log / name, [])
    (nightly,) = kuairand().logs(date(2022, 4, 26), bootstrap=False)
    assert names(nightly) == ["2022-04-26.csv"]
    assert {left.file: left.why for left in nightly.left_out} == {
        "2022-04-26.csv.tmp": "hidden or temporary",
        "2022-02-30.csv": "no day of the calendar",
        "notes.txt": "no day's csv",
    }
    write_csv(log / "2022-04-26.csv.gz", [])
    with pytest.raises(DataRefused, match=r"two forms: 2022-04-26\.csv and 2022-04-26\.csv\.gz"):
        kuairand().logs(date(2022, 4, 26), bootstrap=False)
    (other,) = kuairand().logs(date(2022, 4, 27), bootstrap=False)
    assert (names(other), other.delivered) == (["2022-04-27.csv"], (date(2022, 4, 27),))


def test_kuairand_says_what_is_not_there(kuairand, tmp_path):
    with pytest.raises(DeliveryUnreadable, match=r"no delivery log/2022-05-01.*there are 3 from"):
        kuairand().logs(date(2022, 5, 1), bootstrap=False)
    with pytest.raises(DeliveryUnreadable, match=r"source\.history names .*nothing\.csv"):
        kuairand(history="nothing.csv").logs(date(2022, 4, 25), bootstrap=True)
    with pytest.raises(DeliveryUnreadable, match=r"no logs in .*expected log/<day>\.csv"):
        kuairand("nowhere").logs(date(2022, 4, 25), bootstrap=True)
    with pytest.raises(DeliveryUnreadable, match=r"no video_features_basic_\*\.csv"):
        kuairand("nowhere").catalogue(DAY)


def test_kuairands_videos_have_categories(kuairand):
    source = kuairand()
    video, bare = source.catalogue(DAY).rows.orderBy("item_id").collect()
    assert video.attributes == {
        "author": "7",
        "music": "9155",
        "music_type": "9",
        "upload_type": "Kmovie",
        "video_type": "NORMAL",
        "tag": "12|39",
        "duration": "64",
    }
    assert bare.attributes == {"author": "8", "video_type": "AD"}
    assert (video.title, video.text) == (None, None)


@pytest.fixture
def table(spark, tmp_path):
    def make(path, **options):
        config = table_config(path, **options)
        return open_source(spark, config, Settings(data=tmp_path))

    return make


def test_days_are_found_by_pattern_by_folder_and_by_file_name(table, tmp_path):
    days = ("2024-03-09", "2024-03-10", "2024-03-11")
    for day in days:
        write_csv(tmp_path / "pattern" / day / f"events-{day}.csv", [])
        write_csv(tmp_path / "hive" / f"day={day}" / "part-0.csv", [])
        write_csv(tmp_path / "hive" / f"day={day}" / "part-1.csv", [])
        write_csv(tmp_path / "files" / f"{day}.csv.gz", [])
    expected = {
        "pattern/{day}/events-{day}.csv": ["events-2024-03-10.csv"],
        "hive": ["part-0.csv", "part-1.csv"],
        "files": ["2024-03-10.csv.gz"],
    }
    for path, files in expected.items():
        (log,) = table(path).logs(DAY, bootstrap=False)
        assert (names(log), log.holds) == (files, "day"), path
        (log,) = table(path).logs(DAY, bootstrap=True)
        assert len(log.files) == 2 * len(files), path
        earlier = [date(2024, 3, 9)] * len(files)
        assert log.days == (*earlier, *[DAY] * len(files)), path


def test_a_file_or_a_folder_without_days_is_one_log(table, tmp_path):
    write_csv(tmp_path / "all.csv", [])
    write_json(tmp_path / "parts" / "a.jsonl", [])
    (one,) = table("all.csv").logs(DAY, bootstrap=False)
    (parts,) = table("parts", file_format="json").logs(DAY, bootstrap=False)
    assert (names(one), one.holds, names(parts), parts.holds) == (
        ["all.csv"],
        "dump",
        ["a.jsonl"],
        "dump",
    )


def test_a_table_says_what_is_not_there(table, tmp_path):
    write_csv(tmp_path / "files" / "2024-03-09.csv", [])
    with pytest.raises(DeliveryUnreadable, match=r"no delivery for 2024-03-10.*there are 1 from"):
        table("files").logs(DAY, bootstrap=False)
    with pytest.raises(DeliveryUnreadable, match=r"no delivery for 2024-03-10 at .*; none"):
        table("else/{day}.csv").logs(DAY, bootstrap=False)
    with pytest.raises(DeliveryUnreadable, match=r"source\.path: nothing at .*absent"):
        table("absent").logs(DAY, bootstrap=False)
    with pytest.raises(
        DataRefused, match=r"no parquet files in .*other: there are a\.csv\. source"
    ):
        write_csv(tmp_path / "other" / "a.csv", [])
        table("other", file_format="parquet").logs(DAY, bootstrap=False)
    with pytest.raises(DeliveryUnreadable, match=r"source\.catalogue\.path: nothing at"):
        table("files").catalogue(DAY)
    write_csv(tmp_path / "items.csv", [], header=("id", "title"))
    with pytest.raises(
        DataRefused, match=r"items\.csv has .*no column 'about', which .*\.text needs"
    ):
        table("files").catalogue(DAY)


def test_a_tables_catalogue_is_read_through_its_mapping(spark, table, tmp_path):
    rows = ['a,"Two\nlines, ""quoted""",about,', "b,,,book"]
    write_csv(tmp_path / "items.csv", rows, header=("id", "name", "about", "kind"))
    first, second = table("x").catalogue(DAY).rows.orderBy("item_id").collect()
    assert first.asDict() == {
        "item_id": "a",
        "title": 'Two\nlines, "quoted"',
        "text": 'Two\nlines, "quoted"\nabout',
        "attributes": {},
    }
    assert (second.title, second.text, second.attributes) == (None, None, {"kind": "book"})
    own = spark.createDataFrame(
        [(7, "x", None, ["p", "q"])], "id int, name string, about string, kind array<string>"
    )
    own.write.parquet((tmp_path / "items").as_uri())
    parquet = {
        "catalogue": {
            "path": "items",
            "format": "parquet",
            "item_id": "id",
            "title": "name",
            "attributes": ["kind"],
        }
    }
    (row,) = table("x", source=parquet).catalogue(DAY).rows.collect()
    assert (row.item_id, row.text, row.attributes) == ("7", None, {"kind": "p|q"})
    assert table("x", catalogue=None).catalogue(DAY) is None
    assert not table("x", catalogue=None).has_catalogue


ITEMS = ("id", "name", "about", "kind")


def test_the_newest_catalogue_of_up_to_the_day_is_read(table, tmp_path):
    source = table("x", catalogue="items/{day}.csv")
    with pytest.raises(DeliveryUnreadable, match=r"no catalogue of 2024-03-10 or before it at"):
        source.catalogue(DAY)
    for day, item in ((8, "a"), (9, "b"), (11, "c")):
        write_csv(tmp_path / "items" / f"2024-03-{day:02}.csv", [(item, "", "", "")], ITEMS)
    write_csv(tmp_path / "items" / "2024-03-10.csv.tmp", [("d", "", "", "")], ITEMS)
    newest = source.catalogue(DAY)
    assert [row.item_id for row in newest.rows.collect()] == ["b"]
    assert (newest.holds, newest.day, len(newest.files)) == ("day", date(2024, 3, 9), 1)
    write_csv(tmp_path / "items" / "2024-03-09.csv.gz", [], ITEMS)
    with pytest.raises(DataRefused, match=r"two forms: 2024-03-09\.csv and 2024-03-09\.csv\.gz"):
        source.catalogue(DAY)
    folders = table("x", catalogue="parts/{day}")
    write_csv(tmp_path / "parts" / "2024-03-10" / "p0.csv", [("a", "", "", "")], ITEMS)
    write_csv(tmp_path / "parts" / "2024-03-10" / "more" / "p1.csv", [("b", "", "", "")], ITEMS)
    assert folders.catalogue(DAY).rows.count() == 2
    (tmp_path / "items.csv").write_bytes(b"")
    with pytest.raises(DataRefused, match=r"source\.catalogue: items\.csv has zero bytes"):
        table("x").catalogue(DAY)


def test_a_catalogues_lines_are_all_read_or_it_is_refused_with_file_and_line(table, tmp_path):
    long = "x" * 200_000
    write_csv(tmp_path / "items.csv", [("a", long, f'"{long}\n{long}"', "k"), "b,,,"], ITEMS)
    rows = {row.item_id: row for row in table("x").catalogue(DAY).rows.collect()}
    assert set(rows) == {"a", "b"}
    assert len(rows["a"].text) == 3 * len(long) + 2
    write_csv(
        tmp_path / "items.csv", ["a,,,", '9,"unclosed,x,y', "10,,,", '11,"last",x,y', "12"], ITEMS
    )
    with pytest.raises(DataRefused) as refused:
        table("x").catalogue(DAY)
    assert "source.catalogue: items.csv line 3: a quote that is not closed; " in str(refused.value)
    assert "items.csv line 6: line does not have 4 fields. No item was" in str(refused.value)
    write_csv(tmp_path / "items.csv", ["12"] * 9, ITEMS)
    with pytest.raises(DataRefused, match=r"items\.csv line 2: .*line 6: line .*; and 4 more\. No"):
        table("x").catalogue(DAY)
    write_json(tmp_path / "items.json", [{"id": "a"}, "{"])
    in_json = {"catalogue": {"path": "items.json", "format": "json", "item_id": "id"}}
    with pytest.raises(DataRefused, match=r"items\.json line 2: line is not a JSON object\. No"):
        table("x", source=in_json).catalogue(DAY)


def test_a_catalogues_ids_follow_the_rules_of_the_logs(spark, table, tmp_path):
    mapping = {"catalogue": {"path": "items", "format": "parquet", "item_id": "id"}}
    frame = spark.createDataFrame([(42.0,), (None,)], "id double")
    frame.write.parquet((tmp_path / "items").as_uri())
    ids = {row.item_id for row in table("x", source=mapping).catalogue(DAY).rows.collect()}
    assert ids == {"42", None}
    spark.createDataFrame([(0.5,)], "id double").write.mode("overwrite").parquet(
        (tmp_path / "items").as_uri()
    )
    with pytest.raises(DataRefused, match=r"source\.catalogue\.item_id: column 'id' holds floats"):
        table("x", source=mapping).catalogue(DAY)
    write_csv(tmp_path / "items.csv", ["\ufeff a\u00a0 ;x;y;z"], ITEMS, separator=";")
    cut = table_config("x").source.catalogue.model_copy(update={"separator": ";"})
    (row,) = table("x", source={"catalogue": cut.model_dump()}).catalogue(DAY).rows.collect()
    assert (row.item_id, row.title) == ("a", "x")
