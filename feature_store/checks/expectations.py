"""Rules as Great Expectations types, and GX's verdict on them.

GX's own map expectations (`ExpectColumnValuesToBeBetween`, …) need the row count before the rest,
and fetch values for their counts; a rule here is one metric of `feature_store.checks.metrics`.

Importing this module imports Great Expectations, which takes seconds: only `check` does, late.
"""

from html import escape
from typing import Any, ClassVar

import great_expectations as gx
from great_expectations.core import ExpectationSuite, ExpectationSuiteValidationResult
from great_expectations.core.batch import Batch
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
)
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.validator.validator import Validator

from feature_store.checks.interface import Engine
from feature_store.checks.metrics import Metrics, StagedRows
from feature_store.contract import Contract
from feature_store.contract_rules import column_differences
from feature_store.rules import KeyRule, RowRule, Rule, TableRule
from feature_store.steps import producer_of

SCHEMA_RULE = "columns_match_the_contract"
SCHEMA_DESCRIPTION = "The table has the contract's columns, in its order and of its types."


class ExpectRowsToKeep(BatchExpectation):  # type: ignore[misc]
    """At most a share of the rows makes `condition` false."""

    rule: str
    condition: str
    share: float = 0.0
    column: str | None = None

    metric_dependencies: ClassVar[tuple[str, ...]] = ("rows.breaking", "rows.count")
    success_keys: ClassVar[tuple[str, ...]] = ("condition", "share")

    def _validate(self, metrics: Metrics, *_: Any, **__: Any) -> dict[str, Any]:
        return _rows_result(metrics["rows.breaking"], metrics["rows.count"], self.share)


class ExpectAggregateToBeBetween(BatchExpectation):  # type: ignore[misc]
    """The value of `expression` lies in the bounds."""

    rule: str
    expression: str
    min_value: float | None = None
    max_value: float | None = None
    column: str | None = None

    metric_dependencies: ClassVar[tuple[str, ...]] = ("rows.aggregate",)
    success_keys: ClassVar[tuple[str, ...]] = ("expression", "min_value", "max_value")

    def _validate(self, metrics: Metrics, *_: Any, **__: Any) -> dict[str, Any]:
        value = metrics["rows.aggregate"]
        low = self.min_value is not None and value < self.min_value
        high = self.max_value is not None and value > self.max_value
        return {"success": not low and not high, "result": {"observed_value": value}}


class ExpectKeyToBeUnique(BatchExpectation):  # type: ignore[misc]
    """No two rows agree in all of `columns`."""

    rule: str
    columns: list[str]
    column: str | None = None

    metric_dependencies: ClassVar[tuple[str, ...]] = ("rows.repeated", "rows.count")
    success_keys: ClassVar[tuple[str, ...]] = ("columns",)

    def _validate(self, metrics: Metrics, *_: Any, **__: Any) -> dict[str, Any]:
        return _rows_result(metrics["rows.repeated"], metrics["rows.count"])


class ExpectSchemaToMatch(BatchExpectation):  # type: ignore[misc]
    """The columns are `columns` (name → type, as contracts spell it), in this order."""

    rule: str
    columns: dict[str, str]

    metric_dependencies: ClassVar[tuple[str, ...]] = ("rows.columns",)
    success_keys: ClassVar[tuple[str, ...]] = ("columns",)

    def _validate(self, metrics: Metrics, *_: Any, **__: Any) -> dict[str, Any]:
        actual = metrics["rows.columns"]
        differences = column_differences(self.columns, actual)
        seen = "; ".join(differences) or f"{len(actual)} columns"
        return {"success": not differences, "result": {"observed_value": seen}}


def _rows_result(failed: int, rows: int, allowed: float = 0.0) -> dict[str, Any]:
    share = 100 * failed / rows if rows else 0.0
    return {
        "success": failed <= allowed * rows,
        "result": {
            "observed_value": f"{failed:,} of {rows:,} rows break it",
            "element_count": rows,
            "unexpected_count": failed,
            "unexpected_percent": share,
            "unexpected_percent_total": share,
        },
    }


def expectation(rule: Rule, *, note: str | None) -> BatchExpectation:
    """The expectation of a rule; `note` is what its column means."""
    refuses = rule.severity == "refuse"
    common = {
        "rule": rule.name,
        "column": rule.column,
        # Great Expectations' templates print it raw, and a preset's rule may hold any text.
        "description": escape(rule.description, quote=False)
        + ("" if refuses else " (Reported only.)"),
        "notes": note,
        "severity": "critical" if refuses else "warning",
    }
    match rule:
        case RowRule():
            return ExpectRowsToKeep(condition=rule.condition, share=rule.share, **common)
        case KeyRule():
            return ExpectKeyToBeUnique(columns=list(rule.columns), **common)
        case TableRule():
            return ExpectAggregateToBeBetween(
                expression=rule.expression,
                min_value=rule.minimum,
                max_value=rule.maximum,
                **common,
            )


def build_suite(contract: Contract, rules: tuple[Rule, ...]) -> ExpectationSuite:
    """The suite of a table: its schema first, then one expectation per rule.

    Each expectation carries its rule in plain words as its description, and the meaning of its
    column, from the contract, as its note.
    """
    meanings = {column.name: column.meaning for column in contract.columns}
    schema = ExpectSchemaToMatch(
        rule=SCHEMA_RULE,
        columns={column.name: column.type for column in contract.columns},
        description=SCHEMA_DESCRIPTION,
    )
    return ExpectationSuite(
        name=contract.name,
        expectations=[
            schema,
            *(expectation(rule, note=meanings.get(rule.column or "")) for rule in rules),
        ],
        notes=f"One row is {contract.grain}. Written by {producer_of(contract.name)}.",
    )


def judge(
    engine: Engine, contract: Contract, rules: tuple[Rule, ...]
) -> ExpectationSuiteValidationResult:
    """Great Expectations' own result of the table's suite.

    Raises:
        RuntimeError: a rule could not be evaluated; names it, with the engine's reason.
    """
    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            progress_bars={"globally": False},
            analytics_enabled=False,
        ),
    )
    validator = Validator(StagedRows(engine), data_context=context, batches=[Batch()])
    judged = validator.validate(expectation_suite=build_suite(contract, rules))
    for one in judged.results:
        infos = one.exception_info
        nested = [infos] if "raised_exception" in infos else list(infos.values())
        for info in nested:
            if info["raised_exception"]:
                raise RuntimeError(
                    f"rule {one.expectation_config.kwargs['rule']!r} of {judged.suite_name} could "
                    f"not be evaluated: {info['exception_message']}"
                )
    return judged
