"""Three offending rows of a rule that failed, as a person can look them up."""

import re
from datetime import date
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from feature_store.contract import Contract
from pipelines.validation.interface import KeyRule, RowRule, Rule, TableRule

LIMIT = 3
MAX_CHARS = 80


def examples(frame: DataFrame, rule: Rule, contract: Contract) -> tuple[str, ...]:
    """Up to three offenders, in key order: the key, and the columns that the rule speaks of.

    For a table rule, which no single row breaks, what its bounds come from.
    """
    match rule:
        case TableRule():
            if not rule.comparison:
                return rule.compared_with[:LIMIT]
            facts = frame.agg(F.expr(rule.comparison).alias("facts")).collect()[0]["facts"]
            return tuple(facts[:LIMIT])
        case KeyRule():
            counted = frame.groupBy(*rule.columns).agg(F.count(F.lit(1)).alias("rows"))
            rows = counted.where("rows > 1").orderBy(*rule.columns).limit(LIMIT).collect()
        case RowRule():
            mentioned = rule.shown
            if mentioned is None:
                mentioned = tuple(c for c in contract.column_names if _mentions(rule.condition, c))
            shown = dict.fromkeys((*contract.key, *mentioned))
            broken = frame.where(f"NOT ({rule.condition})").orderBy(*contract.key)
            rows = broken.select(*shown).limit(LIMIT).collect()
    return tuple(
        ", ".join(f"{name}={_shown(value)}" for name, value in row.asDict().items()) for row in rows
    )


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
