"""Rules that a preset brings: they run with a table's own and stand beside them in Data Docs."""

from collections.abc import Sequence
from typing import Any

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from feature_store.contract import Contract
from feature_store.preset import PresetError
from feature_store.rules import RowRule
from feature_store.validation import Validation, ValidationRule
from pipelines.schema import spark_schema
from pipelines.sql_words import words_of
from pipelines.transforms.catalyst import integer_or, parse
from pipelines.transforms.readings import first_line
from pipelines.transforms.row_functions import foreign_name, foreign_node


def own_rules(contract: Contract, config: Validation) -> tuple[RowRule, ...]:
    """The rules of a preset about a table, over the columns of `own_conditions`."""
    return tuple(
        RowRule(
            name=f"preset.{rule.name}",
            description=f"{rule.name}: {rule.condition} (a rule of the preset{_allowance(rule)}).",
            condition=_column(rule),
            share=rule.share,
            shown=_columns(rule, contract),
        )
        for rule in _of(contract, config)
    )


def own_conditions(contract: Contract, config: Validation) -> dict[str, Column]:
    """Whether a row keeps each of the preset's rules, as the columns that `own_rules` name."""
    return {_column(rule): _keeps(rule, contract) for rule in _of(contract, config)}


def _keeps(rule: ValidationRule, contract: Contract) -> Column:
    """Whether a row keeps a rule; one on which it fails (a division by zero) does not."""
    key = F.col(contract.key[0]).cast("string")
    guard = F.coalesce(F.octet_length(key), F.lit(0)) >= 0
    keeps = F.coalesce(F.expr(rule.condition), F.lit(True)).cast("int")
    return integer_or(keeps, F.lit(0), guard=guard) == 1


def check_own_rules(spark: SparkSession, contracts: Sequence[Contract], config: Validation) -> None:
    """Refuse rules that can't be evaluated on their tables; reads no row.

    Raises:
        PresetError: a rule isn't Spark SQL, isn't a condition, names what isn't there, or depends
            on anything but the row; all rules at once.
    """
    problems = []
    for contract in contracts:
        empty = spark.createDataFrame([], spark_schema(contract))
        for rule in _of(contract, config):
            problem = _problem(rule, empty)
            if problem:
                place = config.rules.index(rule)
                problems.append(f"validation.rules.{place} ({rule.condition!r}): {problem}")
    if problems:
        raise PresetError("\n  ".join(["rules of the preset:", *problems]))


def _problem(rule: ValidationRule, empty: DataFrame) -> str | None:
    try:
        foreign = foreign_name(parse(rule.condition), rule.condition, empty.columns)
        if foreign:
            return foreign
        # A filter, because it refuses aggregates and everything that isn't a condition.
        filtered: Any = empty.where(F.expr(rule.condition))
        return foreign_node(filtered._jdf.queryExecution().analyzed())
    except ParseException as error:
        return f"not Spark SQL: {first_line(error)}"
    except AnalysisException as error:
        return first_line(error)


def _of(contract: Contract, config: Validation) -> list[ValidationRule]:
    return [rule for rule in config.rules if rule.table == contract.name]


def _columns(rule: ValidationRule, contract: Contract) -> tuple[str, ...]:
    named = {name.lower() for name in words_of(rule.condition).columns}
    return tuple(name for name in contract.column_names if name.lower() in named)


def _column(rule: ValidationRule) -> str:
    return f"_keeps_{rule.name}"


def _allowance(rule: ValidationRule) -> str:
    return f"; {rule.share:.3g} of the rows may break it" if rule.share else ""
