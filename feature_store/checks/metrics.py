"""What Great Expectations asks of any engine that runs SQL over staged rows.

A rule is exactly one SQL aggregate, so all row and table rules of a suite, and the row count, are
one query; a key is one more. GX's own engines are bound to Spark's, SQLAlchemy's or pandas' way of
holding rows.
"""

from typing import Any

from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.core.metric_function_types import MetricPartialFunctionTypes
from great_expectations.execution_engine import ExecutionEngine
from great_expectations.expectations.metrics.metric_provider import metric_partial, metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider

from feature_store.checks.interface import STAGED, Engine

Metrics = dict[str, Any]


class StagedRows(ExecutionEngine):  # type: ignore[misc]
    """Great Expectations' side of an `Engine`."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine

    def get_batch_data_and_markers(self, batch_spec: Any) -> Any:
        """Not asked for: the rows are the engine's own."""
        raise NotImplementedError("the rows of a stage are its engine's")

    def _no_condition(self, condition: Any) -> Any:
        raise NotImplementedError("a rule is one SQL expression, without conditions of GX's own")

    _comparison_condition_to_filter_clause = _no_condition
    _nullity_condition_to_filter_clause = _no_condition
    _and_condition_to_filter_clause = _no_condition
    _or_condition_to_filter_clause = _no_condition

    def resolve_metric_bundle(self, metric_fn_bundle: Any) -> dict[Any, Any]:
        """The values of all aggregates, by one query."""
        bundle = list(metric_fn_bundle)
        if not bundle:
            return {}
        listed = ",\n".join(f"{each.metric_fn} AS v{n}" for n, each in enumerate(bundle))
        [row] = self.engine.query(f"SELECT {listed}\nFROM {STAGED}")
        return {each.metric_configuration.id: row[f"v{n}"] for n, each in enumerate(bundle)}


_AGGREGATE = {
    "engine": StagedRows,
    "partial_fn_type": MetricPartialFunctionTypes.AGGREGATE_FN,
    "domain_type": MetricDomainTypes.TABLE,
}


class Rows(TableMetricProvider):  # type: ignore[misc]
    """How many there are."""

    metric_name = "rows.count"

    @staticmethod
    @metric_partial(**_AGGREGATE)  # type: ignore[untyped-decorator]
    def _sql(*, metric_domain_kwargs: Metrics, **_: Any) -> tuple[str, Metrics, Metrics]:
        return "count(1)", metric_domain_kwargs, {}


class RowsBreaking(TableMetricProvider):  # type: ignore[misc]
    """Rows in which a condition is false; NULL isn't."""

    metric_name = "rows.breaking"
    value_keys = ("condition",)

    @staticmethod
    @metric_partial(**_AGGREGATE)  # type: ignore[untyped-decorator]
    def _sql(
        *, metric_domain_kwargs: Metrics, metric_value_kwargs: Metrics, **_: Any
    ) -> tuple[str, Metrics, Metrics]:
        return f"count_if(NOT ({metric_value_kwargs['condition']}))", metric_domain_kwargs, {}


class RowsAggregate(TableMetricProvider):  # type: ignore[misc]
    """The value of an aggregate expression over all rows."""

    metric_name = "rows.aggregate"
    value_keys = ("expression",)

    @staticmethod
    @metric_partial(**_AGGREGATE)  # type: ignore[untyped-decorator]
    def _sql(
        *, metric_domain_kwargs: Metrics, metric_value_kwargs: Metrics, **_: Any
    ) -> tuple[str, Metrics, Metrics]:
        return metric_value_kwargs["expression"], metric_domain_kwargs, {}


class RowsRepeated(TableMetricProvider):  # type: ignore[misc]
    """Rows beyond the first of each key."""

    metric_name = "rows.repeated"
    value_keys = ("columns",)

    @staticmethod
    @metric_value(engine=StagedRows)  # type: ignore[untyped-decorator]
    def _count(*, execution_engine: StagedRows, metric_value_kwargs: Metrics, **_: Any) -> int:
        return execution_engine.engine.repeated(metric_value_kwargs["columns"])


class RowsColumns(TableMetricProvider):  # type: ignore[misc]
    """Type by name of the columns; reads no row."""

    metric_name = "rows.columns"

    @staticmethod
    @metric_value(engine=StagedRows)  # type: ignore[untyped-decorator]
    def _columns(*, execution_engine: StagedRows, **_: Any) -> dict[str, str]:
        return execution_engine.engine.columns()
