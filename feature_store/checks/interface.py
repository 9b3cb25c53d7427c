"""What a check asks of an engine, and what it answers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from feature_store.rules import Severity

STAGED = "staged"
"""Name of the staged rows in an engine's queries."""


class Engine(Protocol):
    """Runs SQL over the rows of one stage.

    The rows are `STAGED` in a query: the contract's columns, and `KNOWN_INDEX` where the engine was
    given a catalogue and the table has an item_id.
    """

    def columns(self) -> dict[str, str]:
        """Type by name of the staged columns, as contracts spell types; reads no row."""
        ...

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a query; timestamps are UTC.

        Raises:
            Exception: the engine's own, where it can't evaluate the query.
        """
        ...

    def repeated(self, columns: Sequence[str]) -> int:
        """Rows beyond the first of each key."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """What one rule found; `dataclasses.asdict` of it is JSON-serialisable.

    Args:
        table: whose rule it is.
        rule: the rule's name.
        column: the column it is about; None: several columns or the table.
        success: whether it holds.
        severity: whether its failure refuses the data or is only reported.
        rows_failed: rows that break it; None: the rule is about the table as a whole.
        observed: what was found, for a person.
        expected: what would have been right, for a person.
        description: the rule in plain words.
        examples: up to three offending rows (key and column), or what a table rule compared with.
    """

    table: str
    rule: str
    column: str | None
    success: bool
    severity: Severity
    rows_failed: int | None
    observed: str
    expected: str
    description: str
    examples: tuple[str, ...] = ()

    @property
    def refuses(self) -> bool:
        """Whether the data may not be published because of this rule."""
        return self.severity == "refuse" and not self.success

    def __str__(self) -> str:
        of_rows = self.rows_failed is not None
        finding = f"{self.observed} break it" if of_rows else f"found {self.observed}"
        wanted = "" if of_rows else f", expected {self.expected}"
        label = "e.g." if of_rows else "compared with"
        first = f"  {self.rule}: {self.description} Here {finding}{wanted}."
        return "\n".join([first, *(f"    {label} {example}" for example in self.examples)])


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The verdict on one staged table.

    Args:
        table: the contract's name.
        day: the partition the run worked on.
        rules: one result per rule, in the suite's order.
        docs_path: the HTML page of this check.
    """

    table: str
    day: date
    rules: tuple[RuleResult, ...]
    docs_path: Path

    @property
    def success(self) -> bool:
        """Whether the data may be published; rules that only report don't count."""
        return not any(rule.refuses for rule in self.rules)

    def refusal(self) -> str | None:
        """Every rule that refuses, with rows, three examples and what to do; None: none does."""
        refusing = [rule for rule in self.rules if rule.refuses]
        if not refusing:
            return None
        return "\n".join(
            [
                f"{self.table} of {self.day} refused by {len(refusing)} rule(s); what was "
                "published before stays:",
                *map(str, refusing),
                f"See {self.docs_path}. Correct the delivery or the job and run the day again; if "
                "the data is right, change the bounds in the preset's `validation` section.",
            ]
        )


def check_facts(results: Sequence[CheckResult], seconds: float) -> dict[str, Any]:
    """The part of a run record that is about the checks of the tables that the run staged.

    Args:
        results: one per table.
        seconds: what they added to the run.
    """
    return {
        "seconds": round(seconds, 3),
        "success": all(result.success for result in results),
        "rules": [asdict(rule) for result in results for rule in result.rules],
        "docs_paths": [str(result.docs_path) for result in results],
    }
