"""What goes into a validation and what comes out: context, rules, results."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from pyspark.sql import DataFrame

from pipelines.config import Validation

Severity = Literal["refuse", "report"]
KNOWN_INDEX = "_known_item_index"
"""Column that the gate joins to tables with an item_id: the catalogue's item_index, or null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationContext:
    """What the rules compare a staged table with.

    Args:
        preset: the preset's name, which Data Docs show.
        data_docs: where the Data Docs go, `Settings.data_docs_of` the preset.
        day: the partition the run works on.
        config: thresholds, from the preset.
        known_items: item_id and item_index of the catalogue; for `items` itself, of the catalogue
            as published before. None: no rule looks at it.
        trailing: strength mix of days published before, one row per (day, strength) with the
            columns day, strength, n. None: no history.
        codes_are_unique: whether no two items of a generation may share all their codes; False
            under the collision policy that lets items share a bucket.
    """

    preset: str
    data_docs: Path
    day: date
    config: Validation
    known_items: DataFrame | None = None
    trailing: DataFrame | None = None
    codes_are_unique: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Trailing:
    """Rows and strength mix of the days published before, newest last."""

    rows: Mapping[date, int] = field(default_factory=dict)
    mix: Mapping[int, float] = field(default_factory=dict)
    """Share of rows per strength over all these days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleInputs:
    """What a table's rules depend on beside the table.

    Args:
        day: the partition the run works on.
        config: thresholds, from the preset.
        trailing: days before `day`.
        num_items: size of the catalogue, whose indices are dense from 0; None: not given.
        codes_are_unique: as in `ValidationContext`.
    """

    day: date
    config: Validation
    trailing: Trailing = field(default_factory=Trailing)
    num_items: int | None = None
    codes_are_unique: bool = True

    @property
    def end_of_day(self) -> date:
        """The first day whose events the run must not see."""
        return self.day + timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRule:
    """Every row keeps `condition`; as in a SQL CHECK constraint, NULL breaks nothing."""

    name: str
    description: str
    condition: str
    """Spark SQL over the table's columns, never raising under ANSI rules."""
    column: str | None = None
    share: float = 0.0
    """Of the rows, how many may break it."""
    shown: tuple[str, ...] | None = None
    """Columns that an example shows; None: those that the condition names."""
    severity: Severity = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRule:
    """An aggregate over all rows lies in [`minimum`, `maximum`]; None is no bound."""

    name: str
    description: str
    expression: str
    """Spark SQL aggregate, never raising under ANSI rules, also over no rows."""
    minimum: float | None = None
    maximum: float | None = None
    column: str | None = None
    compared_with: tuple[str, ...] = ()
    """Up to three facts behind the bounds, shown with a refusal."""
    comparison: str = ""
    """Spark SQL aggregate → array<string>: such facts that the rows are needed for."""
    severity: Severity = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRule:
    """No two rows agree in all of `columns`; two nulls agree."""

    name: str
    description: str
    columns: tuple[str, ...]
    column: str | None = None
    severity: Severity = "refuse"


Rule = RowRule | TableRule | KeyRule


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """What one rule found; `dataclasses.asdict` of it is JSON-serialisable.

    Args:
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
        found = f"{self.observed} break it" if of_rows else f"found {self.observed}"
        wanted = "" if of_rows else f", expected {self.expected}"
        label = "e.g." if of_rows else "compared with"
        finding = f"  {self.rule}: {self.description} Here {found}{wanted}."
        return "\n".join([finding, *(f"    {label} {example}" for example in self.examples)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationResult:
    """The verdict on one staged table.

    Args:
        table: the contract's name.
        day: the partition the run worked on.
        rules: one result per rule, in the suite's order.
        seconds: time the validation added to the job.
        docs_path: the HTML page of this validation.
    """

    table: str
    day: date
    rules: tuple[RuleResult, ...]
    seconds: float
    docs_path: Path

    @property
    def success(self) -> bool:
        """Whether the data may be published; rules that only report don't count."""
        return not any(rule.refuses for rule in self.rules)

    def facts(self) -> dict[str, Any]:
        """The part of the run record that is about the validation."""
        return {
            "seconds": round(self.seconds, 3),
            "success": self.success,
            "rules": [asdict(rule) for rule in self.rules],
            "docs_path": str(self.docs_path),
        }

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
