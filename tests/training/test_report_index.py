from tests.evaluation_records import around
from tests.report_days import Page
from training.evaluation.record import Interval
from training.report.brief import Brief
from training.report.index import index_page, write_index


def brief(day, kind="promoted", **more):
    return Brief(day=day, kind=kind, sentence=f"{kind} it was.", **more)


def test_all_runs_are_listed_the_newest_first(tmp_path):
    (tmp_path / "1998-04-21").mkdir()
    (tmp_path / "1998-04-21" / "report.html").touch()
    gain = Interval(-0.02, -0.01, 0.01)
    page = Page(
        index_page(
            tmp_path,
            "shop",
            "what is sold",
            [
                brief("1998-04-20", "failed", rows=1500),
                brief("1998-04-21", metric="mrr", value=around(0.5), gain=gain, alarms=("a",)),
            ],
        )
    )
    assert page.links == ["1998-04-21/report.html"]
    assert page.loaded == []
    rows = page.texts[page.texts.index("seconds") + 1 :]
    assert rows[:9] == [
        "1998-04-21", "promoted", "promoted it was.", "mrr", "0.5000", "0.4900 to 0.5100",
        "−0.0100", "–", "1",
    ]  # fmt: skip
    assert rows[rows.index("1998-04-20") :][1:3] == ["failed", "failed it was."]
    assert "1,500" in rows


def test_one_run_has_no_trend(tmp_path):
    page = index_page(tmp_path, "shop", "", [brief("1998-04-20")])
    assert "<svg" not in page
    assert "1 run<" in page


def test_the_index_is_replaced_as_a_whole(tmp_path):
    path = write_index(tmp_path, "shop", "", [brief("1998-04-20")])
    assert path == tmp_path / "index.html"
    assert [found.name for found in tmp_path.iterdir()] == ["index.html"]
