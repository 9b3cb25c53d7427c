"""What a rule of a table is, and what a table's rules depend on beside its rows.

A rule is plain data with SQL in it. The text is what Spark SQL (under ANSI rules) and DuckDB both
read, with the functions that `training.checks.dialect` gives DuckDB under Spark's names, so
that it means the same whoever wrote the rows: no lambda, no literal with a suffix (`0D`), no
backslash. It never raises: no cast of a column, no division that may be by zero, no index into a
list. This module imports the standard library alone, so that DAG files can read tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from feature_store.validation import Validation

Severity = Literal["refuse", "report"]
KNOWN_INDEX = "_known_item_index"
"""Column that a check joins to tables with an item_id: the catalogue's item_index, or null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trailing:
    """Rows and strength mix of the days published before, oldest first."""

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
        num_items: size of the catalogue, whose indices are dense from 0; of the catalogue as
            published before for `items` itself; None: no rule looks at it.
        kept_until: the last day whose rows the run keeps, where a day is run again and the table
            holds what later days added; None: the run's.
        codes_are_unique: whether no two items of a generation may share all their codes; False
            under the collision policy that lets items share a bucket.
    """

    day: date
    config: "Validation"
    trailing: Trailing = field(default_factory=Trailing)
    num_items: int | None = None
    kept_until: date | None = None
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
    """SQL over the table's columns."""
    column: str | None = None
    share: float = 0.0
    """Of the rows, how many may break it."""
    shown: tuple[str, ...] | None = None
    """Columns that an example shows; None: those that the condition names."""
    severity: Severity = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One fact behind a table rule's value, for which the rows are needed.

    Args:
        difference: SQL aggregate; the largest differences are shown.
        value: SQL aggregate, a number.
        text: what is shown, with the value at `{value}`, in the form of `str.format`.
    """

    difference: str
    value: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRule:
    """An aggregate over all rows lies in [`minimum`, `maximum`]; None is no bound."""

    name: str
    description: str
    expression: str
    """SQL aggregate, defined over no rows, too."""
    minimum: float | None = None
    maximum: float | None = None
    column: str | None = None
    compared_with: tuple[str, ...] = ()
    """Up to three facts behind the bounds, shown with a refusal."""
    comparisons: tuple[Comparison, ...] = ()
    """Such facts that the rows are needed for."""
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


def no_rules(inputs: RuleInputs) -> tuple[Rule, ...]:
    """The rules of a table whose contract says all there is to say."""
    return ()


def double(value: float) -> str:
    """SQL of a number in double precision, to the last digit in every engine.

    Example:
        >>> double(0.1)
        "CAST('0.1' AS double)"
    """
    return f"CAST('{value!r}' AS double)"


def instant(day: date) -> str:
    """SQL of a day's first instant, UTC.

    Example:
        >>> instant(date(2024, 5, 7))
        "TIMESTAMP'2024-05-07T00:00:00Z'"
    """
    return f"TIMESTAMP'{day}T00:00:00Z'"
