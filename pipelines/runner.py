"""Runs one job: stage, check, commit, record. The only code of the pipelines that writes tables.

The order is what makes a crash harmless: Parquet files are written beside the tables, the checks
read those very files, and then each table changes by one commit. Until a commit nothing that a
reader sees has moved, so a killed run is simply run again.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from time import perf_counter
from typing import Any

from feature_store.checks.check import prepare
from feature_store.checks.interface import check_facts
from feature_store.contract import Contract
from feature_store.run_record import timed, write_step
from feature_store.settings import Settings
from feature_store.steps import steps
from feature_store.store import FeatureStore, Published, Stage
from pipelines.config import PipelineConfig
from pipelines.errors import DataRefused
from pipelines.files import write_staged
from pipelines.jobs import JOBS
from pipelines.jobs.interface import Job, JobOutput, JobRun
from pipelines.session import build_session
from pipelines.sources.raw_files import readable
from pipelines.unchanged import RawFiles, digest, raw_files
from pipelines.validation.checks import Checks
from pipelines.validation.own_rules import check_own_rules

log = logging.getLogger(__name__)
Facts = dict[str, Any]


def run_job(name: str, *, preset_config: PipelineConfig, settings: Settings, day: date) -> Facts:
    """Run a job for a day, publish what it made, and write its run record.

    Args:
        name: a key of `JOBS`.
        preset_config: the pipelines' part of the preset.
        settings: places and addresses.
        day: the partition; the run sees events before the end of this day (UTC).
    Returns:
        The facts of the run record: status, rows, snapshot, validation, seconds, ….
    Raises:
        DataRefused: the data was judged and not published; the record says why.
        DeliveryUnreadable: a raw file is absent or broken.
        feature_store.errors.FeatureStoreError: the commit was not possible.
    """
    job = JOBS[name]
    facts: Facts = {"step": name, "day": day.isoformat(), "preset": preset_config.name}
    with _recorded(facts, settings, day):
        prepare()
        run = JobRun(
            spark=build_session(settings, name=f"sidereal {name} {day}"),
            store=FeatureStore.open(settings, preset_config.name, step=steps()[name]),
            config=preset_config,
            settings=settings,
            day=day,
        )
        # Listed before they are read: a file that comes in between makes the next run do the work.
        raw = raw_files(name, preset_config, settings, day)
        with readable():
            _run(job, run, facts)
        facts["state"] = _state(run, name, facts["tables"], raw)
    return facts


@contextmanager
def _recorded(facts: Facts, settings: Settings, day: date) -> Iterator[None]:
    started = perf_counter()
    try:
        yield
    except BaseException as error:
        facts["status"] = "refused" if isinstance(error, DataRefused) else "failed"
        facts["reason"] = str(error) or type(error).__name__
        raise
    finally:
        facts.update(timed(facts, perf_counter() - started))
        write_step(settings.runs_of(facts["preset"]), day, facts["step"], facts)


def _run(job: Job, run: JobRun, facts: Facts) -> None:
    check_own_rules(run.spark, job.outputs, run.config.validation)
    # Stages are opened before anything is read: a commit by someone else between our read and
    # our commit then counts as a conflict, not as rows to overwrite.
    stages = {
        contract.name: run.store.stage(contract.name, day=run.day, job=job.name)
        for contract in job.outputs
    }
    try:
        output = job.build(run)
        try:
            _stage_check_commit(job, run, output, stages, facts)
        finally:
            output.release()
    finally:
        for left in stages.values():
            run.store.discard(left)


def _stage_check_commit(
    job: Job, run: JobRun, output: JobOutput, stages: dict[str, Stage], facts: Facts
) -> None:
    facts.update(output.facts)
    facts["inputs"] = dict(run.inputs)
    rows = {}
    for contract in job.outputs:
        log.info("%s %s: writing %s", job.name, run.day, contract.name)
        rows[contract.name] = _write(output, contract, stages[contract.name])
    account = output.account(rows)
    facts.update(output.uncommitted(account))
    facts["tables"] = {}
    checks = Checks(run, output)
    main = job.main or job.outputs[-1].name
    for contract in job.outputs:
        if contract.name not in output.always:
            _refuse_if(output.refusal())
            _audit(run, contract, stages[contract.name], output)
        result = checks.of(contract, stages[contract.name])
        facts["validation"] = check_facts(checks.results, checks.seconds)
        _refuse_if(result.refusal())
        log.info("%s %s: committing %s", job.name, run.day, contract.name)
        published = _publish(run, stages[contract.name], output)
        del stages[contract.name]
        facts["tables"][contract.name] = _published_facts(published)
        if contract.name == main:
            facts.update(account)
    facts |= {"table": main, **facts["tables"][main]}
    changed = any(table["changed"] for table in facts["tables"].values())
    facts["status"] = "done" if changed else "unchanged"


def _write(output: JobOutput, contract: Contract, stage: Stage) -> int:
    if contract.name in output.writers:
        return output.writers[contract.name](stage)
    partitions = len(output.replace.get(contract.name, ()))
    frame = output.frames[contract.name]
    return write_staged(frame, contract, stage.directory, num_partitions=partitions or None)


def _refuse_if(reason: str | None) -> None:
    if reason is not None:
        raise DataRefused(reason)


def _audit(run: JobRun, contract: Contract, stage: Stage, output: JobOutput) -> None:
    """Let the job look at what it staged.

    Raises:
        DataRefused: the job has something against it.
    """
    if contract.name in output.audits:
        log.info("auditing %s", contract.name)
        staged = run.read(contract, stage.files())
        _refuse_if(output.audits[contract.name](staged))


def _state(run: JobRun, name: str, written: Facts, raw: RawFiles | None) -> Facts | None:
    """What the rows follow from, for `pipelines.unchanged`; None where it can't be told."""
    after = {table: published["snapshot_id"] for table, published in written.items()}
    versions = {**dict.fromkeys(run.absent), **run.inputs, **after}
    found = digest(name, run.config, run.day, run.store, versions, raw)
    if found is None:
        return None
    return {"digest": found, "tables": sorted(versions), "outputs": sorted(after)}


def _publish(run: JobRun, stage: Stage, output: JobOutput) -> Published:
    raw = {"raw_files": list(output.raw_files)} if output.raw_files else {}
    return run.store.publish(
        stage,
        replace=output.replace.get(stage.table),
        inputs={**run.inputs, **raw},
        properties={"sidereal.preset": run.config.name, **output.properties},
    )


def _published_facts(published: Published) -> Facts:
    """What a commit did; its days are counted, not listed: to begin with there are hundreds."""
    facts = asdict(published)
    return facts | {"partitions": len(facts["partitions"])}
