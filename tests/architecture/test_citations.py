"""An equation that is cited is there: `docs/mechanics.md, <section>` names one of its sections."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = "docs/mechanics.md"


def sections() -> set[str]:
    """Headings below the title."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    return set(re.findall(r"^##+ (.+)$", text, flags=re.MULTILINE))


def citations(text: str) -> list[str]:
    """What follows each mention of the page, on one line: it begins with a section's name."""
    prose = " ".join(re.sub(r"^\s*#", "", line).strip() for line in text.split("\n"))
    return re.findall(rf"{re.escape(PAGE)}, (.{{1,60}})", prose)


def missing(text: str) -> list[str]:
    """The citations that name no section."""
    names = sections()
    return [
        each
        for each in citations(text)
        if not any(re.match(rf"{re.escape(name)}\b", each) for name in names)
    ]


def code_files() -> list[Path]:
    """Python files of the repository."""
    told = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [path for name in told.stdout.splitlines() if (path := ROOT / name).is_file()]


def test_every_cited_section_exists():
    texts = {
        path: path.read_text(encoding="utf-8") for path in code_files() if path != Path(__file__)
    }
    wrong = {str(path): each for path, text in texts.items() if (each := missing(text))}
    assert wrong == {}
    assert sum(len(citations(text)) for text in texts.values()) > 20


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("# docs/mechanics.md, ORPO: so it is", 0),
        ('"""So it is (docs/mechanics.md, Full and\n    sampled softmax)."""', 0),
        ("# docs/mechanics.md, ORPOS", 1),
        ("# docs/mechanics.md, Alchemy", 1),
    ],
)
def test_a_section_that_is_not_there_is_noticed(text, number):
    assert len(missing(text)) == number
