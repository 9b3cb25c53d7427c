"""What a training program publishes is checked first, as what a Spark job publishes is."""

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import pyarrow as pa

from feature_store.checks.check import check
from feature_store.checks.interface import check_facts
from feature_store.errors import TableRefused
from feature_store.rules import RuleInputs
from feature_store.stage import Stage
from training.checks.duckdb_engine import DuckDbEngine
from training.checks.preset_rules import preset_rules
from training.programs.interface import Facts, Task


def publish_checked(
    task: Task,
    stage: Stage,
    rule_inputs: RuleInputs,
    *,
    replace: Sequence[Any],
    inputs: Mapping[str, Any],
    known_items: pa.Table | None = None,
) -> Facts:
    """Check the staged rows, make them the table's, and say so.

    Args:
        task: whose stage it is.
        stage: what was written; it is used up.
        rule_inputs: what the table's rules compare with.
        replace: partitions whose rows the files are.
        inputs: what the rows were made from.
        known_items: item_id and item_index of the catalogue, where the table has an item_id.
    Returns:
        The facts of the run record: status, table, rows, snapshot, validation.
    Raises:
        TableRefused: rows break rules; nothing was published.
        FeatureStoreError: the commit was not possible.
    """
    started = perf_counter()
    with DuckDbEngine(stage, known_items) as engine:
        result = check(
            engine,
            stage.contract,
            rule_inputs,
            preset=task.config.name,
            data_docs=task.settings.data_docs_of(task.config.name),
            preset_rules=preset_rules(stage.contract, task.config.validation),
        )
    checked: Facts = {
        "table": stage.table,
        "validation": check_facts([result], perf_counter() - started),
    }
    refusal = result.refusal()
    if refusal is not None:
        task.store.discard(stage)
        raise TableRefused(refusal, checked)
    published = task.store.publish(
        stage, replace=replace, inputs=inputs, properties={"sidereal.preset": task.config.name}
    )
    return {
        **checked,
        "status": "done" if published.changed else "unchanged",
        "rows": published.rows,
        "snapshot_id": published.snapshot_id,
        "content_hash": published.content_hash,
        "changed": published.changed,
    }
