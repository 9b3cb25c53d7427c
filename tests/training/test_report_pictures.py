import re
import tomllib
from pathlib import Path

import training.report
from tests.evaluation_records import around
from training.report import charts, trend_charts
from training.report.drawing import BAD, GOOD, family_colour
from training.report.page import code
from training.report.trend_charts import Faced, Run


def test_pictures_are_plain_svg_with_text_that_can_be_searched():
    svg = charts.code_usage([[3, 0, 1], [2, 2, 0]])
    assert svg.startswith("<svg")
    assert "level 1: 2 of 3 used" in svg
    assert not re.search(r'(href|src)="(?!#)', svg)
    assert "<metadata>" not in svg


def test_the_same_facts_give_the_same_picture():
    def drawn():
        return charts.daily_volume(["1998-04-20"], {3: [4], -1: [1]})

    assert drawn() == drawn()


def test_the_winning_side_of_zero_is_green_whichever_it_is():
    bar = {"label": "sasrec", "difference": 0.2, "low": 0.1, "high": 0.3}
    more = charts.paired_differences([bar])
    less = charts.paired_differences([bar], less_is_better=True)
    assert GOOD in more
    assert BAD not in more
    assert BAD in less
    assert GOOD not in less


def test_what_decided_says_which_side_is_better():
    rows = [
        Faced(label="tiger", value=around(0.2)),
        Faced(label="champion", value=around(0.1), difference=around(0.1), is_better=True),
    ]
    svg = trend_charts.deciding("auc", rows, confidence=0.95, less_is_better=False)
    assert "auc, 95% intervals" in svg
    assert "right of 0 tiger is better" in svg
    assert GOOD in svg
    less = trend_charts.deciding("logloss", rows, confidence=0.95, less_is_better=True)
    assert "left of 0 tiger is better" in less


def test_a_run_that_measured_nothing_has_no_point():
    def run(value):
        return Run(day="1998-04-20", kind="failed", value=value, champion=None, rows=None,
                   strengths={}, seconds=0.0)  # fmt: skip

    svg = trend_charts.trend("", [run(None), run(None)])
    assert "deciding metric" in svg
    assert trend_charts.trend("auc", [run(around(0.5)), run(None)]) != svg


def test_code_in_sentences_is_marked_and_the_rest_escaped():
    assert code("run `a<b` & wait") == "run <code>a&lt;b</code> &amp; wait"


def test_the_templates_travel_with_the_package():
    root = Path(training.report.__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["training"]
    packed = {path for pattern in patterns for path in (root / "training").glob(pattern)}
    assert {path.name for path in packed} == {"template.html", "index.html", "style.css"}


def test_a_run_that_dwarfs_the_others_does_not_hide_them():
    def run(rows):
        return Run(day="1998-04-20", kind="promoted", value=None, champion=None, rows=rows,
                   strengths={}, seconds=0.0)  # fmt: skip

    assert "powers of 10" in trend_charts.trend("", [run(99_344), run(120)])
    assert "powers of 10" not in trend_charts.trend("", [run(300), run(120)])


def test_families_that_meet_on_a_board_are_told_apart():
    for met in (("groupce", "rates", "unigrf", "champion"), ("tiger", "sasrec", "popularity")):
        assert len({family_colour(name) for name in met}) == len(met)
