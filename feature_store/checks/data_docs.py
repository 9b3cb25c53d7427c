"""Data Docs: one page per check and an index, readable without a network.

Great Expectations renders the rules of a page; its own page frame takes styles and scripts from
seven hosts, so the frame here is ours (`templates/`). A page is written when its check runs
and never again, and the index reads only the newest verdicts of each table: the cost doesn't grow
with history. Nothing on a page depends on when it was written.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView

from feature_store.checks.interface import RuleResult
from feature_store.contract import Contract
from feature_store.steps import producer_of

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult

TEMPLATES = Path(__file__).parent / "templates"
SHOWN_PER_TABLE = 30
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the index; `failed` names the rules that don't hold, None: not looked up."""

    day: str
    success: bool | None = None
    failed: tuple[str, ...] = ()
    num_rules: int | None = None


def write_page(
    contract: Contract,
    day: date,
    preset: str,
    root: Path,
    results: Sequence[RuleResult],
    judged: "ExpectationSuiteValidationResult",
) -> Path:
    """Write the page of one check below `root`, then the index; returns the page's path.

    A day that is checked again replaces its page.
    """
    folder = root / contract.name
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{day}.html"
    _add_examples(judged, results)
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(judged)
    refused = [result for result in results if result.refuses]
    html = _view().render(
        document,
        template="validation_page.j2",
        preset=preset,
        contract=contract,
        producer=producer_of(contract.name),
        day=day.isoformat(),
        results=results,
        refused=refused,
        reported=[result for result in results if not result.success and not result.refuses],
    )
    failed = [result.rule for result in results if not result.success]
    verdict = {"success": not refused, "failed": failed, "num_rules": len(results)}
    _replace(page.with_suffix(".json"), json.dumps(verdict))
    _replace(page, html)
    write_index(root, preset)
    return page


def _add_examples(
    judged: "ExpectationSuiteValidationResult", results: Sequence[RuleResult]
) -> None:
    """Give Great Expectations' tables the examples, escaped: its templates print values raw."""
    by_name = {result.rule: result for result in results if result.rows_failed}
    for one in judged.results:
        result = by_name.get(one.expectation_config.kwargs["rule"])
        if result is not None:
            one.result["partial_unexpected_list"] = [escape(text) for text in result.examples]


def write_index(root: Path, preset: str) -> None:
    """Write the index of every page of a preset, newest first.

    Two jobs may write it at once. Each looks again after its write and writes once more if a page
    has appeared meanwhile, so that the last writer's index has all.
    """
    written = None
    while (tables := _tables(root)) != written:
        template = _view().env.get_template("index.j2")
        _replace(root / "index.html", template.render(preset=preset, tables=tables))
        written = tables


def _tables(root: Path) -> dict[str, list[Entry]]:
    tables = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        days = sorted(
            (p.stem for p in folder.glob("*.html") if _DAY.fullmatch(p.stem)), reverse=True
        )
        newest = [_entry(folder, day) for day in days[:SHOWN_PER_TABLE]]
        tables[folder.name] = newest + [Entry(day) for day in days[SHOWN_PER_TABLE:]]
    return {name: entries for name, entries in tables.items() if entries}


def _entry(folder: Path, day: str) -> Entry:
    verdict: dict[str, Any] = json.loads((folder / f"{day}.json").read_text(encoding="utf-8"))
    return Entry(day, verdict["success"], tuple(verdict["failed"]), verdict["num_rules"])


def _view() -> DefaultJinjaPageView:
    return DefaultJinjaPageView(custom_views_directory=str(TEMPLATES))


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
