"""Our rules as Great Expectations types, made so that a table is read as few times as GX allows.

GX puts every metric that is one Spark aggregate over the same rows into one query. Its own map
expectations (`ExpectColumnValuesToBeBetween`, …) need the row count before the rest, and for their
counts also fetch values: one more query each. A rule here is exactly one aggregate, so all row and
table rules of a suite, and the row count, are one query; a key is one more.

Importing this module imports Great Expectations, which takes seconds: only `gate` does, late.
"""

import os
from html import escape
from typing import Any, ClassVar

# Before the import: GX sends nothing home.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.core.metric_function_types import MetricPartialFunctionTypes
from great_expectations.execution_engine import SparkDFExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.metrics.metric_provider import metric_partial, metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.validation.interface import KeyRule, RowRule, Rule, TableRule
from pipelines.validation.suites import schema_differences

Metrics = dict[str, Any]
_AGGREGATE = {
    "engine": SparkDFExecutionEngine,
    "partial_fn_type": MetricPartialFunctionTypes.AGGREGATE_FN,
    "domain_type": MetricDomainTypes.TABLE,
}


class RowsBreaking(TableMetricProvider):  # type: ignore[misc]
    """Rows in which a condition is false; NULL isn't."""

    metric_name = "rows.breaking"
    value_keys = ("condition",)

    @staticmethod
    @metric_partial(**_AGGREGATE)  # type: ignore[untyped-decorator]
    def _spark(
        *, metric_domain_kwargs: Metrics, metric_value_kwargs: Metrics, **_: Any
    ) -> tuple[Column, Metrics, Metrics]:
        broken = F.expr(f"NOT ({metric_value_kwargs['condition']})")
        return F.count_if(broken), metric_domain_kwargs, {}


class RowsAggregate(TableMetricProvider):  # type: ignore[misc]
    """The value of an aggregate expression over all rows."""

    metric_name = "rows.aggregate"
    value_keys = ("expression",)

    @staticmethod
    @metric_partial(**_AGGREGATE)  # type: ignore[untyped-decorator]
    def _spark(
        *, metric_domain_kwargs: Metrics, metric_value_kwargs: Metrics, **_: Any
    ) -> tuple[Column, Metrics, Metrics]:
        return F.expr(metric_value_kwargs["expression"]), metric_domain_kwargs, {}


class RowsRepeated(TableMetricProvider):  # type: ignore[misc]
    """Rows beyond the first of each key."""

    metric_name = "rows.repeated"
    value_keys = ("columns",)

    @staticmethod
    @metric_value(engine=SparkDFExecutionEngine)  # type: ignore[untyped-decorator]
    def _spark(
        *,
        execution_engine: SparkDFExecutionEngine,
        metric_domain_kwargs: Metrics,
        metric_value_kwargs: Metrics,
        **_: Any,
    ) -> int:
        frame, _domain, _accessor = execution_engine.get_compute_domain(
            domain_kwargs=metric_domain_kwargs, domain_type=MetricDomainTypes.TABLE
        )
        return rows_repeated(frame, metric_value_kwargs["columns"])


def rows_repeated(frame: DataFrame, columns: list[str]) -> int:
    """Rows beyond the first of each key.

    Equal keys have equal hashes, so hashes that are all different prove the keys different at 8
    bytes a row; only where two are equal are the keys themselves compared.
    """
    hashes = frame.select(F.xxhash64(*columns).alias("hash")).groupBy("hash").count()
    if hashes.where("count > 1").agg(F.count(F.lit(1))).collect()[0][0] == 0:
        return 0
    surplus = F.coalesce(F.sum(F.col("count") - 1), F.lit(0))
    return int(frame.groupBy(*columns).count().where("count > 1").agg(surplus).collect()[0][0])


class ExpectRowsToKeep(BatchExpectation):  # type: ignore[misc]
    """At most a share of the rows makes `condition` false."""

    rule: str
    condition: str
    share: float = 0.0
    column: str | None = None

    metric_dependencies: ClassVar[tuple[str, ...]] = ("rows.breaking", "table.row_count")
    success_keys: ClassVar[tuple[str, ...]] = ("condition", "share")

    def _validate(self, metrics: Metrics, *_: Any, **__: Any) -> dict[str, Any]:
        return _rows_result(metrics["rows.breaking"], metrics["table.row_count"], self.share)


class ExpectAggregateToBeBetween(BatchExpectation):  # type: ignore[misc]
    """The value of `expression` lies in the bounds."""

    rule: str
    expression: str
    min_value: float | None = None
    max_value: float | None = None
    column: str | None = None

    metric_dependencies: ClassVar[tuple[str, ...]] = ("rows.aggregate", "table.row_count")
    success_keys: ClassVar[tuple[str, ...]] = ("expression", "min_value", "max_value")

    def _validate(self, metrics: Metrics, *_: Any, **__: Any) -> dict[str, Any]:
        found = metrics["rows.aggregate"]
        low = self.min_value is not None and found < self.min_value
        high = self.max_value is not None and found > self.max_value
        return {"success": not low and not high, "result": {"observed_value": found}}


class ExpectKeyToBeUnique(BatchExpectation):  # type: ignore[misc]
    """No two rows agree in all of `columns`."""

    rule: str
    columns: list[str]
    column: str | None = None

    metric_dependencies: ClassVar[tuple[str, ...]] = ("rows.repeated", "table.row_count")
    success_keys: ClassVar[tuple[str, ...]] = ("columns",)

    def _validate(self, metrics: Metrics, *_: Any, **__: Any) -> dict[str, Any]:
        return _rows_result(metrics["rows.repeated"], metrics["table.row_count"])


class ExpectSchemaToMatch(BatchExpectation):  # type: ignore[misc]
    """The columns are `columns` (name → Spark type), in this order; reads no data."""

    rule: str
    columns: dict[str, str]

    metric_dependencies: ClassVar[tuple[str, ...]] = ("table.column_types",)
    success_keys: ClassVar[tuple[str, ...]] = ("columns",)

    def _validate(self, metrics: Metrics, *_: Any, **__: Any) -> dict[str, Any]:
        found = {
            column["name"]: column["type"].simpleString()
            for column in metrics["table.column_types"]
            if not column["name"].startswith("_")  # the gate's own
        }
        differences = schema_differences(self.columns, found)
        seen = "; ".join(differences) or f"{len(found)} columns"
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
