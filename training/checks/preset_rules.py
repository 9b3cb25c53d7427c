"""A preset's own rules about tables that training writes: Spark SQL that DuckDB reads alike.

Of Spark SQL these rules may use what both engines are tested to mean the same by: comparisons,
`AND`, `OR`, `NOT`, `IN`, `BETWEEN`, `IS NULL`, `CASE`, `DATE'…'` and the functions in `FUNCTIONS`;
no arithmetic (the engines differ in overflows and divisions) and no cast, so that none fails on a
row. The rest is refused with the preset, before anything is trained.
"""

import re
from collections.abc import Iterator, Sequence

from feature_store.contract import Contract
from feature_store.preset_problems import near
from feature_store.rules import RowRule
from feature_store.tables import CATALOG
from feature_store.validation import Validation, ValidationRule

TABLES = ("semantic_ids", "recommendations", "sampled_beams")
FUNCTIONS = (
    *("abs", "array_contains", "array_max", "array_min", "array_sort", "arrays_zip", "coalesce"),
    *("greatest", "if", "least", "length", "lower", "nullif", "size", "sort_array", "upper"),
)
_WORDS = frozenset(
    "and or not in is null true false between case when then else end distinct from date".split()
)
_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<text>'(?:[^'\\]|'')*')|(?P<number>-?(?:\d+\.\d*|\.\d+|\d+)(?!\w))"
    r"|(?P<word>[A-Za-z_]\w*)|(?P<sign><=|>=|<>|!=|[=<>(),])|(?P<other>.)",
    re.DOTALL,
)


def preset_rules(contract: Contract, config: Validation) -> tuple[RowRule, ...]:
    """The preset's rules about a table, for DuckDB."""
    return tuple(
        RowRule(
            name=f"preset.{rule.name}",
            description=f"{rule.name}: {rule.condition} (a rule of the preset{_allowance(rule)}).",
            condition=_for_duckdb(rule.condition),
            share=rule.share,
            shown=_columns(rule.condition, contract),
        )
        for rule in config.rules
        if rule.table == contract.name
    )


def problems_of(rules: Sequence[ValidationRule]) -> Iterator[tuple[int, str]]:
    """Place and problem of each rule about training's tables that can't be evaluated on them."""
    for place, rule in enumerate(rules):
        if rule.table not in TABLES:
            continue
        problem = _foreign(rule) or _unbound(rule)
        if problem:
            yield place, problem


def _foreign(rule: ValidationRule) -> str:
    """What of the condition isn't in both engines or not of the row; empty where all is.

    A word that is no column can name a table, and a text behind FROM a file: both would be read.
    """
    tokens = list(_tokens(rule.condition))
    columns = CATALOG[rule.table].column_names
    for place, (kind, text) in enumerate(tokens):
        word, before = text.lower(), tokens[place - 1][1].lower() if place else ""
        is_called = tokens[place + 1 : place + 2] == [("sign", "(")]
        is_syntax = word in _WORDS and (word != "from" or before == "distinct")
        is_known = is_syntax or word in FUNCTIONS
        if kind == "other" or (kind == "word" and is_called and not is_known):
            return (
                f"it uses {text}, and rules of {rule.table}, which is checked without Spark, are "
                "made of comparisons, AND, OR, NOT, IN, BETWEEN, CASE and "
                f"{', '.join(FUNCTIONS)}"
            )
        if kind == "word" and not is_known and word not in columns:
            nearest = near(text, columns)
            hint = f"; did you mean {nearest!r}?" if nearest else ""
            return f"it uses {text}, which is no column of {rule.table}{hint}"
    return ""


def _unbound(rule: ValidationRule) -> str:
    """Why DuckDB can't evaluate the condition on the table's columns; reads no row."""
    import duckdb

    from feature_store.arrow import arrow_schema
    from training.checks.dialect import connect

    with connect() as connection:
        connection.register("empty", arrow_schema(CATALOG[rule.table]).empty_table())
        condition = _for_duckdb(rule.condition)
        try:
            kind = connection.sql(f"SELECT ({condition}) AS keeps FROM empty").types[0]
        except duckdb.Error as error:
            return str(error).partition("\n")[0]
    return "" if str(kind) == "BOOLEAN" else f"it is {kind}, expected a condition"


def _for_duckdb(condition: str) -> str:
    """The condition with fractions in double precision, as Spark compares them with floats."""
    return " ".join(
        f"CAST('{text}' AS double)" if kind == "number" and "." in text else text
        for kind, text in _tokens(condition)
    )


def _columns(condition: str, contract: Contract) -> tuple[str, ...]:
    words = {text.lower() for kind, text in _tokens(condition) if kind == "word"}
    return tuple(name for name in contract.column_names if name in words)


def _tokens(condition: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(condition):
        kind = str(match.lastgroup)
        if kind != "space":
            yield kind, match[kind]


def _allowance(rule: ValidationRule) -> str:
    return f"; {rule.share:.3g} of the rows may break it" if rule.share else ""
