"""Data Docs: readable offline, and an index of every check."""

import json
import re
from datetime import date

import pytest

from feature_store.checks import data_docs
from feature_store.checks.check import check
from feature_store.rules import RuleInputs
from feature_store.tables import CATALOG
from feature_store.validation import Validation
from tests.suites.engines import duckdb_engine
from tests.suites.validation_rows import DAY, GOOD, event


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Data Docs of two days: one that passed, and one that was refused."""
    root = tmp_path_factory.mktemp("home") / "data_docs" / "shop"
    bad = [event("u<b>1</b>", strength=9), event("u2", dwell_seconds=-1.0)]
    for day, rows in ((DAY, GOOD["interactions"]), (date(2024, 5, 8), bad)):
        inputs = RuleInputs(day=day, config=Validation())
        folder = tmp_path_factory.mktemp("staged")
        with duckdb_engine(folder, "interactions", rows, num_items=None) as engine:
            result = check(engine, CATALOG["interactions"], inputs, preset="shop", data_docs=root)
        assert result.docs_path == root / "interactions" / f"{day}.html"
    return root


@pytest.fixture
def passed(site):
    return (site / "interactions" / f"{DAY}.html").read_text()


@pytest.fixture
def refused(site):
    return (site / "interactions" / "2024-05-08.html").read_text()


def test_pages_load_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?https?:""", page.read_text())


def test_every_page_says_in_its_title_and_text_whose_it_is(site, passed):
    index = (site / "index.html").read_text()
    assert "<title>shop · Data Docs</title>" in index
    assert "<h1>Data Docs of shop</h1>" in index
    assert f"<title>shop · interactions {DAY} · validation</title>" in passed
    assert '<a href="../index.html">Data Docs of shop</a>' in passed
    assert "Written by <code>ingest_interactions</code>" in passed


def test_every_column_is_explained_in_the_contracts_words(passed):
    for column in CATALOG["interactions"].columns:
        assert f"<code>{column.name}</code>" in passed
    assert "-1 disliked, 0 exposed only, 1 clicked, 2 consumed, 3 strongest" in passed


def test_every_rule_is_there_in_plain_words(passed):
    assert re.search(r"All \d\d rules hold", passed)
    assert "strength is one of -1, 0, 1, 2, 3." in passed
    assert "The UTC date of event_time is the row's day." in passed
    assert "0 of 2 rows break it" in passed


def test_a_refused_page_shows_rule_count_and_example(refused):
    assert "rules refuse the data" in refused
    assert "<code>strength_is_allowed</code>" in refused
    assert "1 of 2 rows" in refused
    assert "dwell_seconds=-1" in refused


def test_what_the_data_says_is_never_markup(refused):
    assert "u<b>1</b>" not in refused
    assert "u&lt;b&gt;1&lt;/b&gt;" in refused


def test_the_index_links_each_validation_with_its_verdict(site):
    index = (site / "index.html").read_text()
    newest, oldest = index.index("interactions/2024-05-08.html"), index.index(f"{DAY}.html")
    assert newest < oldest
    assert index.count(">passed<") == 1
    assert index.count(">refused<") == 1
    assert "strength_is_allowed, dwell_seconds_is_in_range" in index


def written(root, table, day, failed=()):
    folder = root / table
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{day}.html").write_text("a page")
    verdict = {"success": not failed, "failed": failed, "num_rules": 3}
    (folder / f"{day}.json").write_text(json.dumps(verdict))


def test_the_index_looks_only_the_newest_verdicts_up(tmp_path):
    for n in range(1, 32):
        written(tmp_path, "items", f"2024-01-{n:02}")
    (tmp_path / "items" / "2024-01-01.json").write_text("not even JSON")
    data_docs.write_index(tmp_path, "shop")
    index = (tmp_path / "index.html").read_text()
    assert index.count("passed") == data_docs.SHOWN_PER_TABLE
    assert "1 older" in index
    assert "items/2024-01-01.html" in index


def test_a_page_that_appears_while_the_index_is_written_is_linked(tmp_path, monkeypatch):
    written(tmp_path, "items", "2024-01-01")
    replace = data_docs._replace

    def another_job_writes_too(path, text):
        written(tmp_path, "interactions", "2024-01-01")
        replace(path, text)

    monkeypatch.setattr(data_docs, "_replace", another_job_writes_too)
    data_docs.write_index(tmp_path, "shop")
    assert "interactions/2024-01-01.html" in (tmp_path / "index.html").read_text()
