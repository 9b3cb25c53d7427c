"""The checks of one run's staged tables, on Spark."""

import logging
from functools import cached_property
from time import perf_counter

from feature_store.checks.check import check
from feature_store.checks.interface import CheckResult
from feature_store.contract import Contract
from feature_store.rules import RuleInputs
from feature_store.stage import Stage
from pipelines.jobs.interface import JobOutput, JobRun
from pipelines.validation.own_rules import own_conditions, own_rules
from pipelines.validation.spark_engine import SparkEngine, catalogue_size, trailing_days

log = logging.getLogger(__name__)


class Checks:
    """Checks the stages of a run; keeps the verdicts and what they cost.

    Args:
        run: whose stages they are.
        output: what the job compares its rows with.
    """

    def __init__(self, run: JobRun, output: JobOutput) -> None:
        self._run = run
        self._output = output
        self.results: list[CheckResult] = []
        self.seconds = 0.0

    def of(self, contract: Contract, stage: Stage) -> CheckResult:
        """The verdict of the table's rules, and of the preset's about it, on the staged files."""
        log.info("checking %s", contract.name)
        run, started = self._run, perf_counter()
        config = run.config.validation
        context = run.spark.sparkContext
        context.setJobDescription(f"checking {contract.name} of {run.day}")
        engine = SparkEngine(
            run.spark,
            run.read(contract, stage.files()),
            known_items=self._output.known_items,
            conditions=own_conditions(contract, config),
        )
        result = check(
            engine,
            contract,
            self._inputs,
            preset=run.config.name,
            data_docs=run.settings.data_docs_of(run.config.name),
            preset_rules=own_rules(contract, config),
        )
        context.setJobDescription("")
        self.results.append(result)
        self.seconds += perf_counter() - started
        return result

    @cached_property
    def _inputs(self) -> RuleInputs:
        day, config = self._run.day, self._run.config.validation
        return RuleInputs(
            day=day,
            config=config,
            trailing=trailing_days(self._output.trailing, before=day, limit=config.trailing_days),
            num_items=catalogue_size(self._output.known_items),
        )
