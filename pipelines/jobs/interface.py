"""What a job is, what it may read, and what it hands to the runner."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from feature_store.contract import Contract
from feature_store.settings import Settings
from feature_store.stage import Stage
from feature_store.steps import steps
from feature_store.store import FeatureStore
from feature_store.tables import CATALOG
from pipelines.config import PipelineConfig
from pipelines.schema import spark_schema


@dataclass(frozen=True, kw_only=True)
class JobRun:
    """One run of a job for one day: its settings, and the tables as this run sees them.

    A table read twice is read at the same snapshot, whoever commits in between; `inputs` ends up
    holding the snapshot of every table that was read, which is the lineage of what is written, and
    `absent` the tables that were looked for before anything was published to them.
    """

    spark: SparkSession
    store: FeatureStore
    config: PipelineConfig
    settings: Settings
    day: date
    inputs: dict[str, int] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)

    def snapshot(self, name: str) -> int | None:
        """The snapshot this run sees of a table; None where nothing is published yet."""
        if name not in self.inputs:
            found = self.store.snapshot_id(name)
            if found is None:
                self.absent.add(name)
                return None
            self.inputs[name] = found
        return self.inputs[name]

    def table(self, name: str, *, partitions: Sequence[Any] | None = None) -> DataFrame:
        """A table's rows, or those of some partitions; empty where nothing is published yet."""
        snapshot = self.snapshot(name)
        if snapshot is None:
            files = []
        else:
            files = self.store.files(name, at=snapshot, partitions=partitions)
        return self.read(CATALOG[name], files)

    def read(self, contract: Contract, files: Sequence[str]) -> DataFrame:
        """Rows of Parquet files that keep a contract; an empty frame where there are no files."""
        schema = spark_schema(contract)
        if not files:
            return self.spark.createDataFrame([], schema)
        return self.spark.read.schema(schema).parquet(*files)


Counts = Mapping[str, int]
"""Rows staged per table."""


def no_accounts(staged: Counts) -> dict[str, Any]:
    """What a job that counts nothing reports about its staged rows."""
    return {}


@dataclass(frozen=True, kw_only=True)
class JobOutput:
    """What a job made.

    Args:
        frames: rows by table name, committed in this order; each frame's rows of one partition
            value must lie together in as few Spark partitions as make sensible files.
        writers: instead of a frame, by table name: writes the stage's files and returns the rows.
        facts: what the run record should say besides the runner's own facts.
        account: called with the staged row counts after writing and before any commit; returns
            more facts; raises where the counts don't add up.
        uncommitted: the same facts, as they are where the main table is then refused.
        refusal: called after the tables in `always` are committed; a text refuses the rest.
        audits: by table name: looks at the staged rows before the table's rules do; a text refuses
            them.
        always: tables to commit even when the others are refused (the quarantine).
        known_items: catalogue that events must refer to, for validation.
        trailing: day, rows, strength and n of previously published days, for validation.
        replace: partitions to replace by table name, where not simply those found in the files.
        raw_files: raw files that were read, for lineage.
        properties: what the snapshots shall say besides the runner's own properties.
        release: called at the end, whatever happened; frees what the job cached.
    """

    frames: Mapping[str, DataFrame] = field(default_factory=dict)
    writers: Mapping[str, Callable[[Stage], int]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    account: Callable[[Counts], dict[str, Any]] = no_accounts
    uncommitted: Callable[[dict[str, Any]], dict[str, Any]] = dict
    refusal: Callable[[], str | None] = lambda: None
    audits: Mapping[str, Callable[[DataFrame], str | None]] = field(default_factory=dict)
    always: frozenset[str] = frozenset()
    known_items: DataFrame | None = None
    trailing: DataFrame | None = None
    replace: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    raw_files: Sequence[str] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    release: Callable[[], None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A registered job: `build` reads through the run and calls pure transforms.

    Args:
        name: of the step.
        build: makes the rows of its tables.
        main: the table that a run is described by; the last one where it is empty.
    """

    name: str
    build: Callable[[JobRun], JobOutput]
    main: str = ""

    @property
    def outputs(self) -> tuple[Contract, ...]:
        """The tables that its step writes, committed in this order."""
        return tuple(CATALOG[table] for table in steps()[self.name].writes)
