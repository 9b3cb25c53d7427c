"""The documents hold what they promise: links lead somewhere, lines and entries are short."""

import re

import pytest

from infra.house import ROOT, number_density

GENERATED = ("presets.md", "settings.md")
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "PAPERS.md")),
        ROOT / "DECISIONS.md",
        *(path for path in (ROOT / "docs").glob("*.md") if path.name not in GENERATED),
    ]
)


def prose(text):
    """(number, line) of a page without code, tables, headings and what is indented as code."""
    text = re.sub(r"```.*?```", lambda found: "\n" * found[0].count("\n"), text, flags=re.S)
    lines = enumerate(text.splitlines(), start=1)
    return [(n, line) for n, line in lines if not line.startswith(("|", "#", "    "))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    text = page.read_text(encoding="utf-8")
    links = [to for to in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in to]
    named = re.findall(r"`(docs/[\w./-]+\.md)", text)
    gone = [to for to in links if not (page.parent / to).exists()]
    assert gone + [to for to in named if not (ROOT / to).exists()] == []


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_files_of_the_code_that_are_named_are_there(name):
    named = re.findall(r"`([a-z_]+/[a-z_\d./]+\.py)`", (ROOT / name).read_text(encoding="utf-8"))
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_of_prose_have_at_most_120_characters(page):
    lines = prose(page.read_text(encoding="utf-8"))
    assert [(n, len(line)) for n, line in lines if len(line) > 120] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("adding-*.md")), ids=lambda p: p.name)
def test_a_page_about_a_task_is_short(page):
    assert page.read_text(encoding="utf-8").count("\n") <= 120


def test_the_readme_is_read_to_its_end():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 90
    assert number_density(text) <= 4


def test_a_decision_has_a_number_of_its_own_and_eight_lines():
    text = (ROOT / "DECISIONS.md").read_text(encoding="utf-8")
    entries = re.findall(r"^## (\d+)\. [^\n]+\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert [int(number) for number, _ in entries] == list(range(1, len(entries) + 1))
    long = {number: body.strip().count("\n") + 1 for number, body in entries}
    assert {number: lines for number, lines in long.items() if lines > 8} == {}
