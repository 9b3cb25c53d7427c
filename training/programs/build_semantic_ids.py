"""build_semantic_ids: every item of the catalogue gets its ID under the current generation.

Items that have one keep it, whatever their embedding has become: models know them by it. New items
are encoded by the generation's own tokenizer, in item_index order, and take what is free. An item
without an embedding gets codes from a digest of its id (`training.tokenizers.collisions.spread`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from feature_store.arrow import arrow_schema
from feature_store.checks.check import prepare
from feature_store.rules import RuleInputs
from feature_store.steps import run_first
from feature_store.tables.semantic_ids import SEMANTIC_IDS
from training.checks.publish import publish_checked
from training.evaluation.projection import points_by_prefix
from training.evaluation.tokenizer import collision, measure_codes
from training.evaluation.tokenizer_alarms import alarms
from training.programs.errors import ProgramError
from training.programs.interface import Facts, Task
from training.programs.item_vectors import ItemVectors
from training.programs.tokenizer_input import read_under
from training.registry.records import TOKENIZER_FACTS
from training.tokenizers import load_tokenizer
from training.tokenizers.collisions import (
    CodesExhaustedError,
    Policy,
    Resolution,
    nearest_tuples,
    resolve,
    spread,
)
from training.tokenizers.interface import Tokenizer
from training.tokenizers.item_space import ItemSpace
from training.tokenizers.quantize import codewords

TABLE = "semantic_ids"


@dataclass(frozen=True)
class Newcomers:
    """Items of the catalogue that have no ID under the generation, by item_index.

    Args:
        rows: `item_index`, `item_id`.
        vectors_ND: what the tokenizer reads of them; zeros for an item without embedding.
        latent_NH: what is quantized; for an item without embedding the sum of its codewords.
        codes_NQ: the quantizer's codes.
        without_embedding: how many got theirs from a digest.
    """

    rows: pa.Table
    vectors_ND: torch.Tensor
    latent_NH: torch.Tensor
    codes_NQ: np.ndarray
    without_embedding: int


def run(task: Task) -> Facts:
    """Publish the generation's IDs for the day's catalogue.

    Raises:
        ProgramError: there is no tokenizer, no vectors of its encoder, or more items than IDs.
        TokenizerCorruptError: the saved tokenizer is not what was saved.
        TableRefused: the IDs would break a model: an item without or with two of them, two items
            with one, an item that is not the catalogue's.
        CommitConflict: another run published IDs of the generation meanwhile.
    """
    current = task.registry.find_tokenizer(until=task.day.isoformat())
    if current is None:
        raise ProgramError(
            f"there is no tokenizer of {task.day} or before; {run_first('tokenizer')}"
        )
    prepare()
    generation = current.generation
    trained = task.registry.read_json(current.run_id, TOKENIZER_FACTS)
    tokenizer = load_tokenizer(task.registry.fetch_tokenizer(generation))
    stage = task.store.stage(TABLE, day=task.day, job=task.step)
    policy = task.config.tokenizer.collisions
    items = task.tables.items()
    content = task.tables.vectors(encoder=trained["encoder"])
    vectors = read_under(task, ItemSpace.from_state(tokenizer.state), content, trained)
    inputs = task.tables.inputs
    existing = _existing(task, generation)
    newcomers = _newcomers(tokenizer, items, vectors, existing)
    resolution = _resolve(policy, tokenizer, newcomers, existing)
    rows = _rows(task.day, generation, tokenizer, newcomers, resolution)
    table = pa.concat_tables([existing, rows])
    stage.write(table)
    rule_inputs = RuleInputs(
        day=task.day,
        config=task.config.validation,
        num_items=items.num_rows,
        kept_until=pc.max(existing["assigned_day"]).as_py(),
        codes_are_unique=policy != "bucket",
    )
    published = publish_checked(
        task,
        stage,
        rule_inputs,
        replace=[generation],
        inputs={
            **{name: found["snapshot_id"] for name, found in inputs.items()},
            "tokenizer": generation,
        },
        # The newest catalogue: a rerun of an old day keeps the IDs of items of later days.
        known_items=task.store.read("items", columns=["item_id", "item_index"]),
    )
    return {
        **published,
        "inputs": inputs,
        "generation": generation,
        "tokenizer_day": current.day,
        "policy": policy,
        "new_items": newcomers.rows.num_rows,
        "new_items_collided": resolution.collided,
        "new_items_moved": resolution.moved,
        "new_items_without_embedding": newcomers.without_embedding,
        **_quality(tokenizer, table, trained),
        "message": f"{newcomers.rows.num_rows} new of {table.num_rows} items under {generation}",
    }


def first_ids(
    day: date,
    generation: str,
    tokenizer: Tokenizer,
    policy: Policy,
    items: pa.Table,
    vectors: ItemVectors,
) -> pa.Table:
    """Rows of `semantic_ids` of a generation that has none yet.

    Args:
        day: that gives them.
        generation: its name.
        tokenizer: its tokenizer.
        policy: what happens to equal codes.
        items: `item_index`, `item_id`.
        vectors: what the tokenizer reads of them.
    Raises:
        ProgramError: there are more items than IDs.
    """
    nobody = arrow_schema(SEMANTIC_IDS).empty_table()
    newcomers = _newcomers(tokenizer, items, vectors, nobody)
    resolution = _resolve(policy, tokenizer, newcomers, nobody)
    return _rows(day, generation, tokenizer, newcomers, resolution)


def _existing(task: Task, generation: str) -> pa.Table:
    """The generation's rows at the head: a rerun of an old day keeps what later days added."""
    if not task.store.row_count(TABLE, partition=generation):
        return arrow_schema(SEMANTIC_IDS).empty_table()
    return task.store.read(TABLE, partition=generation).sort_by("item_index")


def _newcomers(
    tokenizer: Tokenizer, items: pa.Table, vectors: ItemVectors, existing: pa.Table
) -> Newcomers:
    is_known = np.isin(items["item_index"].to_numpy(), existing["item_index"].to_numpy())
    rows = items.filter(pa.array(~is_known))
    indices = rows["item_index"].to_numpy()
    place = np.searchsorted(vectors.item_indices, indices).clip(max=len(vectors.item_indices) - 1)
    has_vector = vectors.item_indices[place] == indices
    is_spread_N = torch.from_numpy(~has_vector)
    embeddings_ND = vectors.embeddings_ND[torch.from_numpy(place)]
    codes_NQ = tokenizer.encode(embeddings_ND)
    latent_NH = tokenizer.latent(embeddings_ND).clone()
    ids = rows.filter(pa.array(~has_vector))["item_id"].to_pylist()
    codes_NQ[is_spread_N] = torch.from_numpy(spread(ids, tokenizer.is_used_QK))
    words_MQH = codewords(codes_NQ[is_spread_N], tokenizer.codebooks_QKH)
    latent_NH[is_spread_N] = words_MQH.sum(1)
    vectors_ND = embeddings_ND.masked_fill(is_spread_N.unsqueeze(1), 0.0)
    return Newcomers(rows, vectors_ND, latent_NH, codes_NQ.numpy(), len(ids))


def _resolve(
    policy: Policy, tokenizer: Tokenizer, newcomers: Newcomers, existing: pa.Table
) -> Resolution:
    def alternatives(row: int) -> Iterator[tuple[int, ...]]:
        return nearest_tuples(
            newcomers.latent_NH[row], tokenizer.codebooks_QKH, tokenizer.is_used_QK
        )

    width = tokenizer.num_levels + (policy == "suffix")
    try:
        return resolve(
            newcomers.codes_NQ,
            policy,
            codebook_size=tokenizer.codebook_size,
            existing=_codes(existing, width),
            alternatives=alternatives,
        )
    except CodesExhaustedError as error:
        raise ProgramError(str(error)) from error


def _codes(table: pa.Table, width: int) -> np.ndarray:
    """Codes of a table's rows, [N,width].

    Raises:
        ProgramError: they have another length: the policy changed within the generation.
    """
    lists = table["codes"].combine_chunks()
    lengths = np.unique(lists.value_lengths().to_numpy())
    if len(lengths) and lengths.tolist() != [width]:
        raise ProgramError(
            f"IDs of this generation have {lengths.tolist()} codes, tokenizer.collisions asks for "
            f"{width}; a policy holds for a whole generation: train a new one, or set it back"
        )
    codes: np.ndarray = lists.flatten().to_numpy().astype(np.int64)
    return codes.reshape(-1, width)


def _rows(
    day: date,
    generation: str,
    tokenizer: Tokenizer,
    newcomers: Newcomers,
    resolution: Resolution,
) -> pa.Table:
    count = newcomers.rows.num_rows
    columns = {
        "generation": pa.array([generation] * count, pa.string()),
        "item_id": newcomers.rows["item_id"],
        "item_index": newcomers.rows["item_index"],
        "codes": pa.array(resolution.codes.tolist(), pa.list_(pa.int32())),
        "num_quantized_levels": pa.array([tokenizer.num_levels] * count, pa.int32()),
        "assigned_day": pa.array([day] * count, pa.date32()),
        "vector": list_array(newcomers.vectors_ND.numpy()),
    }
    schema = arrow_schema(SEMANTIC_IDS)
    return pa.table([columns[name] for name in schema.names], names=schema.names).cast(schema)


def list_array(rows_ND: np.ndarray) -> pa.ListArray:
    """Rows of a matrix as lists."""
    count, width = rows_ND.shape
    offsets = np.arange(0, (count + 1) * width, width, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows_ND.ravel()))


def _quality(tokenizer: Tokenizer, table: pa.Table, trained: Facts) -> Facts:
    """Figures of the tokenizer's codes, before any were moved apart, and of those that are served.

    What is measured on items that were held out is of the generation's training.
    """
    table = table.filter(pc.is_valid(table["vector"]))  # all, but of a generation without vectors
    if not table.num_rows:
        return {}
    ordered = table.sort_by("item_index")
    width = len(ordered["codes"][0].as_py())
    served_NQ = torch.from_numpy(_codes(ordered, width))
    read = ItemVectors.from_arrow("", ordered, column="vector")
    was_read_N = read.embeddings_ND.any(1)
    embeddings_ND = read.embeddings_ND[was_read_N]
    codes_NQ = tokenizer.encode(embeddings_ND)
    quality = measure_codes(tokenizer, embeddings_ND, codes_NQ)
    quality["served"] = {
        "codes_per_item": width,
        "collision": collision(served_NQ),
        "vocabularies": (served_NQ.max(0).values + 1).tolist(),
    }
    if "held_out" in trained["quality"]:
        quality["held_out"] = trained["quality"]["held_out"]
    return {
        "quality": quality,
        "alarms": alarms(quality),
        "points": points_by_prefix(embeddings_ND, codes_NQ),
    }
