"""train_tokenizer: a new generation of semantic IDs, when one is due.

Under a new generation every item has another ID and every model must be trained anew, so one is
trained only when there is none, when the current one is `tokenizer.retrain_days` old, or when the
preset asks for another kind of tokenizer or encoder. A day that has trained its generation trains
no second one for the same settings: a rerun finds it.
"""

import dataclasses
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from training.evaluation.projection import points_by_prefix
from training.evaluation.tokenizer import (
    fit_without,
    held_out_items,
    measure_codes,
    measure_unseen,
)
from training.evaluation.tokenizer_alarms import alarms
from training.programs.errors import ProgramError
from training.programs.interface import Facts, Task
from training.programs.item_pairs import ItemPairs
from training.programs.item_vectors import ItemVectors
from training.programs.tokenizer_input import tokenizer_input, why_stale
from training.registry.bundle import digest_of, generation_digest
from training.registry.records import TOKENIZER_FACTS, TokenizerRecord
from training.tokenizers import TOKENIZERS
from training.tokenizers.interface import Tokenizer

LOG = logging.getLogger(__name__)
_UNSEEN_SHARE = 0.1
_WORTH_THREADS = 1_000_000_000
_LEAST_TO_HOLD_OUT = 20
"""Items below which nothing is held out: two neighbours say nothing about a tokenizer."""


def run(task: Task) -> Facts:
    """Train a generation, or say why none is due.

    Raises:
        ProgramError: there are no item vectors to learn from, or some are not finite.
    """
    config = _configured(task)[1]
    content = task.tables.vectors()
    current = task.registry.find_tokenizer(until=task.day.isoformat())
    known = task.registry.read_json(current.run_id, TOKENIZER_FACTS) if current else {}
    reason = _why_due(task, config, content, current, known)
    if current is not None and not reason:
        return {**known, "status": "unchanged", "message": _still_serves(task, current)}
    LOG.info("training a tokenizer: %s", reason)
    tokenizer, facts = fit_tokenizer(task, content, current, known)
    return _kept(task, tokenizer, facts, content.encoder, current, reason)


def fit_tokenizer(
    task: Task,
    content: ItemVectors,
    current: TokenizerRecord | None = None,
    known: Facts | None = None,
) -> tuple[Tokenizer, Facts]:
    """A tokenizer of the day under the preset's settings, and what was found of it.

    Args:
        task: preset and tables.
        content: the day's vectors of content.
        current: the generation before; its collaborative half is what the new one is turned to.
        known: its facts.
    Raises:
        ProgramError: there is nothing to learn from, something not finite, or held out.
    """
    kind, config = _configured(task)
    read = tokenizer_input(task, content, current, known)
    vectors = read.vectors
    pairs = task.tables.item_pairs(vectors)
    pairs_P2 = None if pairs is None else pairs.rows_P2
    tokenizer, quality = _fit_and_measure(task, kind, config, vectors, pairs_P2)
    if read.space is not None:
        tokenizer = tokenizer.beside(read.space.state)
    quality["vectors"] = read.facts
    quality["alarms"] += read.facts["alarms"]
    quality["cooccurrence"] = _pairs_told(pairs, task)
    return tokenizer, quality


def _pairs_told(pairs: ItemPairs | None, task: Task) -> Facts:
    """What the record says of the pairs that were learnt from."""
    if pairs is None:
        said = f"'item_cooccurrence' has no rows for {task.day}"
        note = f"{said}: positives are neighbours by embedding alone"
        return {"pairs": 0, "pairs_without_vector": 0, "note": note}
    return {"pairs": len(pairs.rows_P2), "pairs_without_vector": pairs.without_vector}


def _configured(task: Task) -> tuple[type[Tokenizer], Any]:
    """The kind that the preset asks for, and its config."""
    settings = task.config.tokenizer
    kind = TOKENIZERS[settings.kind]
    return kind, kind.config_from(settings.model_dump())


def _kept(
    task: Task,
    tokenizer: Tokenizer,
    quality: Facts,
    encoder: str,
    current: TokenizerRecord | None,
    reason: str,
) -> Facts:
    """Register the generation; its facts."""
    day = task.day.isoformat()
    policy, inputs = task.config.tokenizer.collisions, task.tables.inputs
    digest = generation_digest(tokenizer.digest, policy)
    generation = f"{day}-{digest}"
    if current is not None and current.generation.endswith(digest):
        generation = current.generation  # nothing new was learnt: IDs and models stay valid
    facts: dict[str, Any] = {
        "generation": generation,
        "trained_day": day,
        "encoder": encoder,
        "kind": tokenizer.kind,
        "config": dataclasses.asdict(tokenizer.config),
        "collisions": policy,
        "digest": tokenizer.digest,
        "fit": tokenizer.report,
        "reason": reason,
        "inputs": inputs,
        **quality,
    }
    inputs_digest = digest_of({table: found["content_hash"] for table, found in inputs.items()})
    with (
        task.registry.run(day=day, step=task.step, inputs_digest=inputs_digest) as tracked,
        tempfile.TemporaryDirectory(prefix="sidereal-") as scratch,
    ):
        tokenizer.save(Path(scratch))
        facts["run_id"] = tracked.run_id
        tracked.describe({"kind": tokenizer.kind, "encoder": encoder, **facts["config"]})
        tracked.log(_headline(quality["quality"]))
        tracked.log_json(TOKENIZER_FACTS, facts)
        tracked.log_tokenizer(Path(scratch), generation)
    share = quality["quality"]["collision"]["share"]
    told = f"{generation}: {share:.1%} of items not told apart before collisions are resolved"
    for alarm in quality["alarms"]:
        LOG.warning("tokenizer: alarm: %s", alarm)
    alarms_told = f"; {len(quality['alarms'])} alarm(s)" if quality["alarms"] else ""
    return {**facts, "message": f"{told} ({reason}){alarms_told}"}


def _why_due(
    task: Task, config: Any, content: ItemVectors, current: TokenizerRecord | None, known: Facts
) -> str:
    """Why a generation is due; empty where the current one serves on."""
    settings = task.config.tokenizer
    if current is None:
        return "there is no generation yet"
    asked = {
        "kind": settings.kind,
        "config": dataclasses.asdict(config),
        "collisions": settings.collisions,
    }
    vectors_of = known.get("vectors", {"asked": "text alone, without a border"})
    if {name: known[name] for name in asked} != asked or vectors_of["asked"] != settings.vectors:
        return f"the preset asks for another tokenizer than that of {current.generation}"
    if known["encoder"] != content.encoder:
        return f"items are encoded by {content.encoder} now, no longer by {known['encoder']}"
    age = _age_days(task, current)
    if age >= settings.retrain_days:
        return f"{current.generation} was trained {age} days ago"
    return why_stale(task, vectors_of)


def _still_serves(task: Task, current: TokenizerRecord) -> str:
    age = _age_days(task, current)
    trained = f"{age} days ago" if age else "today"
    return (
        f"{current.generation} was trained {trained}; the next one follows after "
        f"{task.config.tokenizer.retrain_days} days"
    )


def _age_days(task: Task, current: TokenizerRecord) -> int:
    return (task.day - task.day.fromisoformat(current.day)).days


def _fit_and_measure(
    task: Task,
    kind: type[Tokenizer],
    config: Any,
    vectors: ItemVectors,
    pairs_P2: torch.Tensor | None,
) -> tuple[Tokenizer, Facts]:
    """The tokenizer that serves, and what it is worth, also on items that a twin has not seen."""
    embeddings_ND = vectors.embeddings_ND
    on_device_ND = embeddings_ND.to(task.device)
    with _threads_for(embeddings_ND.numel() * config.codebook_size):
        try:
            tokenizer = kind.fit(on_device_ND, config, pairs_P2).to("cpu")
        except ValueError as error:
            raise ProgramError(str(error)) from error
        LOG.info("tokenizer: measuring its codes")
        codes_NQ = tokenizer.encode(embeddings_ND)
        quality = measure_codes(tokenizer, embeddings_ND, codes_NQ, pairs_P2=pairs_P2)
        if len(embeddings_ND) >= _LEAST_TO_HOLD_OUT:
            is_unseen_N = held_out_items(len(embeddings_ND), _UNSEEN_SHARE, seed=config.seed)
            LOG.info("tokenizer: fitting a twin that has not seen %d items", int(is_unseen_N.sum()))
            twin = fit_without(kind, on_device_ND, config, is_unseen_N, pairs_P2).to("cpu")
            quality["held_out"] = measure_unseen(
                twin, embeddings_ND, is_unseen_N, seed=config.seed, pairs_P2=pairs_P2
            )
    points = points_by_prefix(embeddings_ND, codes_NQ, seed=config.seed)
    return tokenizer, {"quality": quality, "alarms": alarms(quality), "points": points}


@contextmanager
def _threads_for(multiplications: int) -> Iterator[None]:
    """One thread where a pass over the items takes milliseconds.

    There several threads wait for each other more than they work, on a busy machine many times
    longer; and one thread gives the same bits on every number of cores.
    """
    before = torch.get_num_threads()
    if multiplications < _WORTH_THREADS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _headline(quality: Facts) -> dict[str, float]:
    """What is worth a curve over generations."""
    values = {
        "collision_share": quality["collision"]["share"],
        "largest_bucket": quality["collision"]["largest_bucket"],
        "reconstruction_mse": quality["reconstruction_mse"],
    }
    for number, level in enumerate(quality["levels"], start=1):
        values[f"entropy_share_level_{number}"] = level["entropy_share"]
        values[f"residual_share_level_{number}"] = level["residual_share"]
    for name, prefix in (("consistency", "unseen"), ("consistency_given", "unseen_given")):
        for depth, found in enumerate(quality.get("held_out", {}).get(name, []), start=1):
            values[f"{prefix}_agreement_depth_{depth}"] = found["agreement"]
    return values
