"""Semantic IDs of a row whose settings make another tokenizer than the day's chain did.

Made as the chain makes them, once for all fits and seeds of these settings, and kept beside the
cells:

    tokenizer-<digest>/
        semantic_ids.parquet    rows of the table
        tokenizer.json          what was found of it, and the tables that were read
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training.experiments.cells import made, read_json, write_json
from training.programs.build_semantic_ids import first_ids
from training.programs.interface import Task
from training.programs.tokenizer_input import read_under
from training.programs.train_tokenizer import fit_tokenizer
from training.registry.bundle import digest_of, generation_digest
from training.tokenizers.item_space import ItemSpace

VERSION = 1
"""Of how such a generation is made; those of another version are made anew."""
_READ = ("item_embeddings", "collaborative_vectors", "item_cooccurrence", "user_sequences", "items")


@dataclass(frozen=True)
class Generation:
    """Semantic IDs, and what they were made of.

    Attributes:
        rows: of `semantic_ids`.
        inputs: tables that were read, as `DayTables` notes them.
    """

    rows: pa.Table
    inputs: dict[str, Any]


def generation_of(task: Task, cells: Path) -> Generation:
    """The generation that a task's settings make on its tables.

    Args:
        task: of a cell.
        cells: folder of what is kept.
    Raises:
        ProgramError: a table that the tokenizer reads has no rows for the day.
    """
    evaluation = task.config.evaluation
    digest = digest_of(
        {
            "tokenizer": task.config.tokenizer.model_dump(exclude={"retrain_days"}),
            "split": [evaluation.protocol, evaluation.holdout_days, evaluation.validation_days],
            "inputs": {name: _content(task, name) for name in _READ},
            "version": VERSION,
        }
    )
    folder = made(cells / f"tokenizer-{digest[:12]}", lambda partial: _make(task, partial))
    document = read_json(folder / "tokenizer.json")
    return Generation(pq.read_table(folder / "semantic_ids.parquet"), document["inputs"])


def _content(task: Task, name: str) -> str | None:
    day = task.day if task.store.contract(name).partition == "day" else None
    return task.store.content_hash(name, partition=day)


def _make(task: Task, folder: Path) -> None:
    content, policy = task.tables.vectors(), task.config.tokenizer.collisions
    tokenizer, facts = fit_tokenizer(task, content)
    day = task.day.isoformat()
    generation = f"{day}-{generation_digest(tokenizer.digest, policy)}"
    space = ItemSpace.from_state(tokenizer.state)
    vectors = read_under(task, space, content, {"trained_day": day})
    rows = first_ids(task.day, generation, tokenizer, policy, task.tables.items(), vectors)
    pq.write_table(rows, folder / "semantic_ids.parquet", compression="zstd")
    document = {**facts, "generation": generation, "inputs": task.tables.inputs}
    write_json(folder / "tokenizer.json", document)
