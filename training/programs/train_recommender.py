"""train_recommender, train_baselines: fit families on the day's histories and keep their bundles.

A bundle is made from the split's training events only. One that is there already, of the same rows
under the same settings, is not made again. Under torchrun every process fits; the first writes.
"""

import logging
import shutil
import tempfile
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_store.preset import PresetError
from training.bundle import Bundle, Origin, digest_of, write_bundle
from training.data.splits import Split
from training.data.vocabulary import Vocabulary
from training.fitting import FitReport, Fitting, LoopSettings, Observer
from training.models import MODELS
from training.models.interface import Family, Recommender
from training.programs.day_inputs import (
    Inputs,
    read_histories,
    read_items,
    read_semantic_ids,
    read_slates,
    split_histories,
    split_slates,
)
from training.programs.fit_observers import RunObserver, TerminalObserver
from training.programs.interface import Facts, ProgramError, Task

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Material:
    """What one family is fitted on.

    Attributes:
        split: under the preset's protocol, all events.
        items: `item_index`, `item_id` of the day's catalogue.
        semantic_ids: rows of the current generation; None for a family that uses none.
        vocabulary: what `fit` sees of these.
        inputs: the tables that were read.
    """

    split: Split
    items: pa.Table
    semantic_ids: pa.Table | None
    vocabulary: Vocabulary
    inputs: Inputs

    @property
    def generation(self) -> str | None:
        """The semantic-ID generation; None without."""
        return self.vocabulary.generation or None


def run(task: Task) -> Facts:
    """Fit the task's families, one after the other.

    Raises:
        PresetError: a family or one of its settings is unknown.
        ProgramError: the day's histories, catalogue or semantic IDs are missing, or nothing of
            them may be trained on.
        TrainingDiverged: a loss is not finite.
    """
    shapes = _configured(task)
    inputs: Inputs = {}
    histories, items = read_histories(task, inputs), read_items(task, inputs)
    split = split_histories(histories, task.day, task.config.evaluation)
    if not split.train.num_events:
        raise ProgramError(
            f"no event of {task.day} or before may be trained on: {dict(split.facts)}; shorten "
            "evaluation.holdout_days or evaluation.validation_days"
        )
    plain = Material(split, items, None, Vocabulary(items.num_rows), inputs)
    found = {}
    for name, (family, shape) in shapes.items():
        material = _with_slates(task, plain) if family.uses_slates else plain
        material = _with_semantic_ids(task, material) if family.uses_semantic_ids else material
        found[name] = _train(task, family, shape, material)
    unchanged = all(facts["status"] == "unchanged" for facts in found.values())
    return {
        "status": "unchanged" if unchanged else "done",
        "families": found,
        "split": dict(split.facts),
        "inputs": inputs,
        "message": ", ".join(f"{name} {facts['message']}" for name, facts in found.items()),
    }


def _configured(task: Task) -> dict[str, tuple[Family, Any]]:
    """The families asked for with their shapes; all problems at once."""
    shapes, problems = {}, []
    for name in task.families:
        if name not in MODELS:
            problems.append(f"no family {name!r}; there are {sorted(MODELS)}")
            continue
        try:
            shape = MODELS[name].configure(task.config.models.settings.get(name, {}))
        except (TypeError, ValueError) as error:
            problems.append(f"models.settings.{name}: {error}")
            continue
        shapes[name] = (MODELS[name], shape)
    if problems:
        raise PresetError(f"preset {task.config.name!r}: " + "; ".join(problems))
    return shapes


def _with_slates(task: Task, plain: Material) -> Material:
    inputs = dict(plain.inputs)
    slates = read_slates(task, plain.split.test.histories, inputs)
    if slates is None:
        raise ProgramError(f"no slates up to {task.day}; run build_slates for that day first")
    slate_split = split_slates(slates, task.day, task.config.evaluation)
    split = replace(plain.split, slates=slate_split)
    split = replace(split, facts={**split.facts, "slates": dict(slate_split.facts)})
    return replace(plain, split=split, inputs=inputs)


def _with_semantic_ids(task: Task, plain: Material) -> Material:
    current = task.registry.find_tokenizer(until=task.day.isoformat())
    if current is None:
        raise ProgramError(f"no tokenizer for {task.day}; run train_tokenizer for that day first")
    inputs = dict(plain.inputs)
    rows = read_semantic_ids(task, current.generation, inputs)
    rows = rows.filter(pc.less(rows["item_index"], plain.items.num_rows))
    vocabulary = Vocabulary.with_semantic_ids(plain.items.num_rows, rows)
    return Material(plain.split, plain.items, rows, vocabulary, inputs)


def _train(task: Task, family: Family, shape: Any, material: Material) -> Facts:
    """Fit one family and keep its bundle, or find that it is there."""
    config = _config_document(task, family)
    digest = _fit_digest(config, material)
    day = task.day.isoformat()
    # The latest one counts for whoever comes after: an older one of these settings does not.
    known = task.registry.find_candidate(day, family.name)
    if known is not None and known.inputs_digest == digest:
        training = task.registry.fetch(known).document("training")
        return {**training, "status": "unchanged", "digest": known.digest, "message": "is there"}
    if not task.is_first_process:
        _fit(task, family, shape, material, ())
        return {"status": "done", "message": "is the first process's to keep"}
    with (
        task.registry.run(
            day=day, step=task.step, family=family.name, inputs_digest=digest
        ) as tracked,
        TerminalObserver() as terminal,
    ):
        model, training = _fit(task, family, shape, material, (RunObserver(tracked), terminal))
        tracked.describe({**training["settings"], **training["config"]})
        with tempfile.TemporaryDirectory(prefix="sidereal-") as scratch:
            bundle = _write(task, family, model, material, config, training, Path(scratch))
            tracked.log_candidate(bundle)
    # Only now: a process that is killed before goes on from the checkpoint.
    shutil.rmtree(_checkpoints(task, family), ignore_errors=True)
    return {
        **training,
        "status": "done",
        "digest": bundle.digest,
        "bytes": bundle.num_bytes,
        "run_id": tracked.run_id,
        "generation": material.generation,
        "message": f"was fitted in {training['seconds']} s" + _alarmed(training),
    }


def _alarmed(training: Facts) -> str:
    alarms = training.get("alarms", ())
    return f", {len(alarms)} alarm(s): " + "; ".join(alarms) if alarms else ""


def _fit(
    task: Task, family: Family, shape: Any, material: Material, observers: tuple[Observer, ...]
) -> tuple[Recommender, Facts]:
    settings = task.config.training_for(family.name)
    fitting = Fitting(
        settings=LoopSettings(**{f.name: getattr(settings, f.name) for f in fields(LoopSettings)}),
        exclude_seen=task.config.evaluation.exclude_seen,
        positive_strength=task.config.evaluation.positive_strength,
        device=task.device,
        checkpoints=_checkpoints(task, family),
        observers=observers,
    )
    minimum = settings.minimum_strength
    split = material.split.keeping(lambda histories: histories.strengths >= minimum)
    started = time.perf_counter()
    model, report = family.fit(split, shape, fitting, material.vocabulary)
    return model, _training_document(report, time.perf_counter() - started)


def _training_document(report: FitReport, seconds: float) -> Facts:
    return {
        "settings": {},
        **report.facts,
        "epochs": report.epochs,
        "seconds": round(seconds, 3),
    }


def _write(
    task: Task,
    family: Family,
    model: Recommender,
    material: Material,
    config: Facts,
    training: Facts,
    scratch: Path,
) -> Bundle:
    tokenizer = task.registry.fetch_tokenizer(material.generation) if material.generation else None
    return write_bundle(
        scratch / "bundle",
        origin=Origin(
            family=family.name,
            preset=task.config.name,
            day=task.day.isoformat(),
            code_revision=task.settings.resolved_code_revision,
            inputs=material.inputs,
            generation=material.generation,
        ),
        items=material.items,
        documents={"split": material.split.facts, "config": config, "training": training},
        save_model=lambda directory: family.save(model, directory),
        semantic_ids=material.semantic_ids,
        tokenizer=tokenizer,
    )


def _config_document(task: Task, family: Family) -> Facts:
    """The preset's part in what the weights are."""
    training = task.config.training_for(family.name).model_dump(mode="json")
    del training["overrides"]
    return {
        "family": family.name,
        "model": dict(task.config.models.settings.get(family.name, {})),
        "training": training,
        "evaluation": task.config.evaluation.model_dump(mode="json"),
    }


def _fit_digest(config: Facts, material: Material) -> str:
    """SHA-256 of what determines a fit: rows by content, settings, split."""
    tables = {table: found["content_hash"] for table, found in material.inputs.items()}
    return digest_of({"inputs": tables, "config": config, "split": dict(material.split.facts)})


def _checkpoints(task: Task, family: Family) -> Path:
    home = task.settings.home.absolute()
    return home / "checkpoints" / task.config.name / task.day.isoformat() / family.name
