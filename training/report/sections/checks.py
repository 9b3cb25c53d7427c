"""The rules that tables were held against before their commits."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.report.blocks import Entry, Section, entries, facts, folded, links, table
from training.report.outcome import Steps, failed_rules

_HEAD = ["step", "table", "rule", "column", "found", "expected", "meaning"]


def checks(steps: Steps, docs: Sequence[Entry]) -> Section | None:
    """How many rules each table was held against, those that failed, and, folded, all of them.

    Args:
        steps: the day's records.
        docs: links to the day's Data Docs.
    """
    checked = {
        name: record["validation"]
        for name, record in steps.items()
        if record.get("validation", {}).get("rules")
    }
    if not checked:
        return None
    failed = [(name, rule) for name in checked for rule in failed_rules(steps[name])]
    num_rules = sum(len(found["rules"]) for found in checked.values())
    # A step that found its work done tells what an earlier run's rules took.
    worked = {name: found for name, found in checked.items()
              if steps[name].get("status") != "unchanged"}  # fmt: skip
    blocks = [
        facts(
            ("rules checked", num_rules),
            ("rules failed", len(failed)),
            ("seconds added", f"{sum(found['seconds'] for found in worked.values()):,.1f}"),
            ("share of the steps' time", _share(steps, worked)),
        )
    ]
    if failed:
        cells = [_cells(*item) for item in failed]
        blocks.append(table("Failed", _HEAD, cells, wide=True))
        examples = [
            Entry(f"{rule['rule']}: {example}", "bad")
            for _, rule in failed
            for example in rule.get("examples", ())
        ]
        if examples:
            blocks.append(entries("Examples of rows", examples))
    if docs:
        blocks.append(links("Data Docs of the day", docs))
    passed = [
        _cells(name, rule)
        for name, found in checked.items()
        for rule in found["rules"]
        if rule["success"]
    ]
    rules = table("", _HEAD, passed, quiet=["meaning"])
    blocks.append(folded(f"Rules that hold: {len(passed)}", rules))
    return Section(
        anchor="health",
        title="Health",
        say="Great Expectations held every table's staged files against these rules before each "
        "commit.",
        blocks=blocks,
    )


def _share(steps: Steps, checked: Mapping[str, Mapping[str, Any]]) -> str:
    seconds = sum(found["seconds"] for found in checked.values())
    total = sum(steps[name].get("seconds", 0) for name in checked)
    return f"{seconds / total:.0%}" if total else "–"


def _cells(name: str, rule: Mapping[str, Any]) -> list[Any]:
    told = (rule.get(key, "") for key in ("observed", "expected", "description"))
    return [name, rule["table"], rule["rule"], rule.get("column") or "", *told]
