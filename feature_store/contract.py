"""What a table promises: its columns, grain, key and partition, said once.

A `Contract` is the only definition of a table. Arrow, Iceberg and Spark schemas and the Great
Expectations suite are derived from it (`feature_store.arrow`, `pipelines.schema`,
`feature_store.checks`). This module imports the standard library alone, so that DAG files can
read it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from feature_store.rules import Rule, RuleInputs, no_rules

# int 32 bits, long 64 bits, timestamp in microseconds UTC
_SCALARS = ("string", "int", "long", "float", "double", "boolean", "date", "timestamp")
_LIST = re.compile(r"list<(\w+)>")
_MAP = re.compile(r"map<string,(\w+)>")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its type, its meaning, and what values it may hold.

    Args:
        name: snake_case, the unit in the name where there is one (`dwell_seconds`).
        type: a scalar type, `list<scalar>` or `map<string,scalar>`. List elements and map values
            are never null.
        meaning: one sentence for the reader of the Data Docs.
        nullable: whether a row may leave it out.
        minimum: lowest value allowed (list columns: of every element); None is no bound.
        maximum: highest value allowed, inclusive.
        allowed: the closed set of values of a scalar column, where there is one.
        may_be_nan: whether NaN may stand for a number that is not known, as in a list, whose
            elements are never null.
    Raises:
        ValueError: the name is not snake_case, the type is unknown, or `allowed` is given for a
            list or a map or holds a backslash (which SQL engines read differently).
    """

    name: str
    type: str
    meaning: str
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str | int, ...] | None = None
    may_be_nan: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"column name {self.name!r} is not snake_case")
        if self.scalar not in _SCALARS:
            raise ValueError(
                f"column {self.name!r} has type {self.type!r}; expected one of {_SCALARS}, "
                "list<one of them> or map<string,one of them>"
            )
        if self.allowed is not None and self.scalar != self.type:
            raise ValueError(f"column {self.name!r} is {self.type}; `allowed` is for scalar types")
        if any("\\" in str(value) for value in self.allowed or ()):
            raise ValueError(f"column {self.name!r} allows {self.allowed}; expected no backslash")

    @property
    def is_list(self) -> bool:
        """Whether a value is a list of scalars."""
        return _LIST.fullmatch(self.type) is not None

    @property
    def is_map(self) -> bool:
        """Whether a value is a map from string to scalar."""
        return _MAP.fullmatch(self.type) is not None

    @property
    def scalar(self) -> str:
        """The type of a value, a list element or a map value."""
        found = _LIST.fullmatch(self.type) or _MAP.fullmatch(self.type)
        return found.group(1) if found else self.type


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A table's definition.

    Args:
        name: plural noun.
        grain: what one row is.
        key: columns that identify a row within a snapshot.
        partition: the column whose value is replaced as a whole by one commit (`day` of type
            date, or a string such as `generation`); None: the table is replaced as a whole.
        order: columns by which rows are sorted within a file.
        columns: in storage order.
        rules: what else its rows keep, which no column can say: time, order, catalogue, volume.
    Raises:
        ValueError: key, order or partition name a column that is not there, or a name repeats.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partition: str | None = None
    order: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    rules: Callable[[RuleInputs], tuple[Rule, ...]] = no_rules

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        named = {*self.key, *self.order, *([self.partition] if self.partition else [])}
        missing = sorted(named - set(names))
        problems = [f"columns named twice: {twice}"] if twice else []
        problems += [f"key, order or partition names unknown columns: {missing}"] if missing else []
        if problems:
            raise ValueError(f"contract {self.name!r}: " + "; ".join(problems))

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            KeyError: the table has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"table {self.name!r} has no column {name!r}; it has {self.column_names}")

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names in storage order."""
        return tuple(column.name for column in self.columns)
