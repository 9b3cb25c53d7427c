"""The check between a staged table and its commit: every rule of the table, one verdict."""

import os
from collections.abc import Sequence
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from feature_store.checks.examples import examples
from feature_store.checks.interface import CheckResult, Engine, RuleResult
from feature_store.contract import Contract
from feature_store.contract_rules import column_differences, contract_rules
from feature_store.rules import RowRule, Rule, RuleInputs, TableRule

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult

_IMPORTING = Lock()


def prepare() -> Thread:
    """Start importing Great Expectations (seconds) beside what the process does next.

    Called before Spark starts, the import costs a job next to nothing: Python waits for the JVM
    then anyway. `check` waits for it.
    """
    # Not a daemon: a process that ends meanwhile waits, instead of leaving in mid-import.
    thread = Thread(target=_great_expectations)
    thread.start()
    return thread


def _great_expectations() -> tuple[Any, Any]:
    """The modules that import Great Expectations, whose parts import each other in circles.

    Two threads that enter such a circle at two places see halves of it, so one waits.
    """
    with _IMPORTING:
        os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # GX sends nothing home
        from feature_store.checks import data_docs, expectations

        return expectations, data_docs


def check(
    engine: Engine,
    contract: Contract,
    inputs: RuleInputs,
    *,
    preset: str,
    data_docs: Path,
    preset_rules: Sequence[RowRule] = (),
) -> CheckResult:
    """Run a table's rules on its staged rows and write the Data Docs page.

    The rows are read by one aggregate query for all row and table rules together and one per key;
    offending rows are fetched only for rules that fail.

    Args:
        engine: what runs the rules' SQL over the staged rows.
        contract: the table's definition.
        inputs: what to compare with.
        preset: the preset's name, which Data Docs show.
        data_docs: where the Data Docs go, `Settings.data_docs_of` the preset.
        preset_rules: the preset's rules about the table.
    Returns:
        The verdict. Bad data raises nothing here: see `CheckResult.refusal`.
    Raises:
        RuntimeError: a rule could not be evaluated; names it, with the engine's reason.
    """
    expectations, data_docs_pages = _great_expectations()
    rules = table_rules(contract, inputs, preset_rules) if _fits(engine, contract) else ()
    judged = expectations.judge(engine, contract, rules)
    by_name = {one.expectation_config.kwargs["rule"]: one for one in judged.results}
    results = [_schema_result(contract, judged.results[0])]
    for rule in rules:
        one = by_name[rule.name]
        offenders = () if one.success else examples(engine, rule, contract)
        results.append(_rule_result(contract, rule, one, offenders))
    page = data_docs_pages.write_page(contract, inputs.day, preset, data_docs, results, judged)
    return CheckResult(
        table=contract.name,
        day=inputs.day,
        rules=tuple(results),
        docs_path=page,
    )


def table_rules(
    contract: Contract, inputs: RuleInputs, preset_rules: Sequence[RowRule] = ()
) -> tuple[Rule, ...]:
    """Every rule of a table but its schema: the contract's, the table's, the preset's own."""
    return (*contract_rules(contract), *contract.rules(inputs), *preset_rules)


def _fits(engine: Engine, contract: Contract) -> bool:
    """Whether the columns are there: rules over others can't be evaluated."""
    expected = {column.name: column.type for column in contract.columns}
    return not column_differences(expected, engine.columns())


def _schema_result(contract: Contract, one: "ExpectationValidationResult") -> RuleResult:
    return RuleResult(
        table=contract.name,
        rule=one.expectation_config.kwargs["rule"],
        column=None,
        success=bool(one.success),
        severity="refuse",
        rows_failed=None,
        observed=one.result["observed_value"],
        expected="the contract's columns",
        description=one.expectation_config.description,
    )


def _rule_result(
    contract: Contract,
    rule: Rule,
    one: "ExpectationValidationResult",
    offenders: tuple[str, ...],
) -> RuleResult:
    facts: dict[str, Any] = one.result
    if isinstance(rule, TableRule):
        failed, observed, expected = None, _number(facts["observed_value"]), _bounds(rule)
    else:
        failed = int(facts["unexpected_count"])
        share = rule.share if isinstance(rule, RowRule) else 0.0
        expected = f"at most {share:.3g} of the rows" if share else "0 rows"
        observed = f"{failed:,} of {facts['element_count']:,} rows"
    return RuleResult(
        table=contract.name,
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
