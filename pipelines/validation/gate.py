"""The gate between a staged table and its commit: every rule of the table, one verdict."""

from collections import Counter, defaultdict
from datetime import date
from importlib import import_module
from threading import Thread
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from feature_store.contract import Contract
from pipelines.validation.examples import examples
from pipelines.validation.interface import (
    KNOWN_INDEX,
    RowRule,
    Rule,
    RuleInputs,
    RuleResult,
    TableRule,
    Trailing,
    ValidationContext,
    ValidationResult,
)
from pipelines.validation.own_rules import with_own_conditions
from pipelines.validation.suites import (
    SCHEMA_DESCRIPTION,
    SCHEMA_RULE,
    build_suite,
    expected_columns,
    schema_differences,
    suite_rules,
)

if TYPE_CHECKING:
    from great_expectations.core import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )

__all__ = ["ValidationContext", "ValidationResult", "prepare", "validate"]


def prepare() -> Thread:
    """Start importing Great Expectations (seconds) beside what the process does next.

    Called before Spark starts, the import costs a job next to nothing: Python waits for the JVM
    then anyway.
    """
    modules = ("pipelines.validation.expectations", "pipelines.validation.data_docs")
    # Not a daemon: a process that ends meanwhile waits, instead of leaving in mid-import.
    thread = Thread(target=lambda: [import_module(name) for name in modules])
    thread.start()
    return thread


def validate(
    spark: SparkSession, contract: Contract, staged: DataFrame, *, context: ValidationContext
) -> ValidationResult:
    """Run a table's rules on its staged rows and write the Data Docs page.

    The rows are read by one aggregate query for all row and table rules together and one per key;
    offending rows are fetched only for rules that fail.

    Args:
        spark: the session `staged` belongs to.
        contract: the table's definition.
        staged: what was written and would be committed.
        context: what to compare with.
    Returns:
        The verdict. Bad data raises nothing here: see `ValidationResult.refusal`.
    Raises:
        RuntimeError: a rule could not be evaluated; names it, with the engine's reason.
    """
    started = perf_counter()
    from pipelines.validation.data_docs import write_page  # the wait for it counts

    spark.sparkContext.setJobDescription(f"checking {contract.name} of {context.day}")
    # Rules over columns that aren't there can't be evaluated: then the schema alone is judged.
    found = {field.name: field.dataType.simpleString() for field in staged.schema.fields}
    fits = not schema_differences(expected_columns(contract), found)
    rules = suite_rules(contract, _inputs(context)) if fits else ()
    frame = _with_known_items(staged, context)
    if fits:
        frame = with_own_conditions(frame, contract, context.config)
    judged = _judge(contract, rules, frame)
    results = _results(contract, rules, frame, judged)
    spark.sparkContext.setJobDescription("")
    page = write_page(contract, context, results, judged)
    return ValidationResult(
        table=contract.name,
        day=context.day,
        rules=results,
        seconds=perf_counter() - started,
        docs_path=page,
    )


def _inputs(context: ValidationContext) -> RuleInputs:
    return RuleInputs(
        day=context.day,
        config=context.config,
        trailing=_trailing(context),
        num_items=_num_items(context),
        codes_are_unique=context.codes_are_unique,
    )


def _trailing(context: ValidationContext) -> Trailing:
    """The last `trailing_days` published days before the run's, oldest first."""
    if context.trailing is None:
        return Trailing()
    counts: dict[date, Counter[int]] = defaultdict(Counter)
    for row in context.trailing.select("day", "strength", "n").collect():
        if row["day"] < context.day:
            counts[row["day"]][row["strength"]] += row["n"]
    days = sorted(counts)[-context.config.trailing_days :]
    mix = sum((counts[day] for day in days), Counter[int]())
    return Trailing(
        rows={day: counts[day].total() for day in days},
        mix={strength: n / mix.total() for strength, n in sorted(mix.items())},
    )


def _num_items(context: ValidationContext) -> int | None:
    """Size of the catalogue, whose indices are dense from 0."""
    if context.known_items is None:
        return None
    highest = context.known_items.agg(F.max("item_index")).collect()[0][0]
    return 0 if highest is None else int(highest) + 1


def _with_known_items(staged: DataFrame, context: ValidationContext) -> DataFrame:
    """The staged rows with the catalogue's item_index beside each item_id; null: unknown."""
    if context.known_items is None or "item_id" not in staged.columns:
        return staged
    # Grouped, so that Spark knows that the join adds no rows and leaves it out of a query that
    # doesn't look at the index (the key's).
    known = context.known_items.groupBy("item_id").agg(F.max("item_index").alias(KNOWN_INDEX))
    return staged.join(known, "item_id", "left").select(*staged.columns, KNOWN_INDEX)


def _judge(
    contract: Contract, rules: tuple[Rule, ...], frame: DataFrame
) -> "ExpectationSuiteValidationResult":
    """Great Expectations' own result of the table's suite."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
    )

    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            progress_bars={"globally": False},
            analytics_enabled=False,
        ),
    )
    # Nothing is cached: two scans of a few columns each cost less than writing all of them down.
    source = context.data_sources.add_spark("staged", persist=False)
    whole = source.add_dataframe_asset(contract.name).add_batch_definition_whole_dataframe("all")
    judged = whole.get_batch({"dataframe": frame}).validate(build_suite(contract, rules))
    _raise_if_not_evaluated(judged)
    return judged


def _raise_if_not_evaluated(judged: "ExpectationSuiteValidationResult") -> None:
    for one in judged.results:
        infos = one.exception_info
        nested = [infos] if "raised_exception" in infos else list(infos.values())
        for info in nested:
            if info["raised_exception"]:
                raise RuntimeError(
                    f"rule {one.expectation_config.kwargs['rule']!r} of {judged.suite_name} could "
                    f"not be evaluated: {info['exception_message']}"
                )


def _results(
    contract: Contract,
    rules: tuple[Rule, ...],
    frame: DataFrame,
    judged: "ExpectationSuiteValidationResult",
) -> tuple[RuleResult, ...]:
    """One result per rule, the schema's first; failed ones get their examples."""
    by_name = {one.expectation_config.kwargs["rule"]: one for one in judged.results}
    results = [_schema_result(by_name[SCHEMA_RULE])]
    for rule in rules:
        one = by_name[rule.name]
        offenders = () if one.success else examples(frame, rule, contract)
        results.append(_rule_result(rule, one, offenders))
    return tuple(results)


def _schema_result(one: "ExpectationValidationResult") -> RuleResult:
    return RuleResult(
        rule=SCHEMA_RULE,
        column=None,
        success=bool(one.success),
        severity="refuse",
        rows_failed=None,
        observed=one.result["observed_value"],
        expected="the contract's columns",
        description=SCHEMA_DESCRIPTION,
    )


def _rule_result(
    rule: Rule, one: "ExpectationValidationResult", offenders: tuple[str, ...]
) -> RuleResult:
    found: dict[str, Any] = one.result
    if isinstance(rule, TableRule):
        failed, observed, expected = None, _number(found["observed_value"]), _bounds(rule)
    else:
        failed = int(found["unexpected_count"])
        share = rule.share if isinstance(rule, RowRule) else 0.0
        expected = f"at most {share:.3g} of the rows" if share else "0 rows"
        observed = f"{failed:,} of {found['element_count']:,} rows"
    return RuleResult(
        rule=rule.name,
        column=rule.column,
        success=bool(one.success),
        severity=rule.severity,
        rows_failed=failed,
        observed=observed,
        expected=expected,
        description=rule.description,
        examples=offenders,
    )


def _bounds(rule: TableRule) -> str:
    low = None if rule.minimum is None else _number(rule.minimum)
    high = None if rule.maximum is None else _number(rule.maximum)
    if low is not None and high is not None:
        return low if low == high else f"{low} to {high}"
    if low is not None:
        return f"at least {low}"
    return "anything" if high is None else f"at most {high}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.4g}"
