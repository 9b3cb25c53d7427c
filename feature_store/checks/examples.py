"""Three offending rows of a rule that failed, as a person can look them up."""

import re
from datetime import date
from typing import Any

from feature_store.checks.interface import STAGED, Engine
from feature_store.contract import Contract
from feature_store.rules import KeyRule, RowRule, Rule, TableRule

LIMIT = 3
MAX_CHARS = 80


def examples(engine: Engine, rule: Rule, contract: Contract) -> tuple[str, ...]:
    """Up to three offenders, in key order: the key, and the columns that the rule speaks of.

    For a table rule, which no single row breaks, what its bounds come from.
    """
    match rule:
        case TableRule():
            return _facts(engine, rule)[:LIMIT]
        case KeyRule():
            columns = ", ".join(rule.columns)
            rows = engine.query(
                f"SELECT {columns}, count(1) AS rows FROM {STAGED} GROUP BY {columns} "
                f"HAVING count(1) > 1 ORDER BY {_in_order(rule.columns)} LIMIT {LIMIT}"
            )
        case RowRule():
            mentioned = rule.shown
            if mentioned is None:
                mentioned = tuple(c for c in contract.column_names if _mentions(rule.condition, c))
            shown = ", ".join(dict.fromkeys((*contract.key, *mentioned)))
            rows = engine.query(
                f"SELECT {shown} FROM {STAGED} WHERE NOT ({rule.condition}) "
                f"ORDER BY {_in_order(contract.key)} LIMIT {LIMIT}"
            )
    return tuple(
        ", ".join(f"{name}={_shown(value)}" for name, value in row.items()) for row in rows
    )


def _facts(engine: Engine, rule: TableRule) -> tuple[str, ...]:
    """What the bounds come from; of comparisons the largest difference first."""
    if not rule.comparisons:
        return rule.compared_with
    pairs = ", ".join(
        f"{each.difference} AS d{n}, {each.value} AS v{n}"
        for n, each in enumerate(rule.comparisons)
    )
    [row] = engine.query(f"SELECT {pairs} FROM {STAGED}")
    lines = [
        (row[f"d{n}"], each.text.format(value=row[f"v{n}"]))
        for n, each in enumerate(rule.comparisons)
    ]
    return tuple(line for _, line in sorted(lines, reverse=True))


def _in_order(columns: tuple[str, ...]) -> str:
    return ", ".join(f"{column} ASC NULLS FIRST" for column in columns)


def _mentions(condition: str, column: str) -> bool:
    return re.search(rf"(?<!\w){column}(?!\w)", condition) is not None


def _shown(value: Any) -> str:
    text = value.isoformat() if isinstance(value, date) else _plain(value)
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}…"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value[:MAX_CHARS]))}]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "null" if value is None else str(value)
