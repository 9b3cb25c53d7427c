"""train_recommender, train_baselines: fit families on the day's histories and keep their bundles.

A bundle is made from the split's training events only. One that is there already, of the same rows
under the same settings, is not made again. Under torchrun every process fits; the first writes.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from feature_store.installed import PluginError
from feature_store.preset import PresetError
from training.config import Training
from training.fit.fitting import Observer
from training.models import MODELS
from training.models.interface import Family
from training.models.weights import Kept
from training.programs.fit_digest import config_document, fit_digest
from training.programs.fit_observers import LineObserver, RunObserver
from training.programs.fits import fit_family
from training.programs.interface import Facts, Task
from training.programs.training_data import (
    TrainingData,
    checkpoints_of,
    day_training_data,
    keep,
    training_data_for,
)
from training.programs.warm_start import WarmStart, warm_start


def run(task: Task) -> Facts:
    """Fit the task's families, one after the other.

    Raises:
        PresetError: a family is unknown.
        ProgramError: the day's histories, catalogue or semantic IDs are missing, or nothing of
            them may be trained on.
        TrainingDiverged: a loss is not finite.
    """
    shapes = configured(task)
    plain = day_training_data(task)
    found = {
        name: _train(task, family, shape, training_data_for(task, family, plain))
        for name, (family, shape) in shapes.items()
    }
    unchanged = all(facts["status"] == "unchanged" for facts in found.values())
    return {
        "status": "unchanged" if unchanged else "done",
        "families": found,
        "split": dict(plain.split.facts),
        "inputs": plain.inputs,
        "message": ", ".join(f"{name} {facts['message']}" for name, facts in found.items()),
    }


def configured(task: Task) -> dict[str, tuple[Family, Any]]:
    """The families asked for with their shapes.

    Raises:
        PresetError: there is no family of that name, or it can't be used.
    """
    unknown = sorted(set(task.families) - set(MODELS))
    if unknown:
        raise PresetError(f"no family {', '.join(unknown)}; there are {', '.join(MODELS)}")
    try:
        for name in task.families:
            MODELS.require(name)
    except PluginError as error:
        raise PresetError(str(error)) from error
    settings = task.config.models.settings
    return {
        name: (MODELS[name], MODELS[name].configure(settings.get(name, {})))
        for name in task.families
    }


def _train(task: Task, family: Family, shape: Any, training_data: TrainingData) -> Facts:
    """Fit one family and keep its bundle, or find that it is there."""
    start = warm_start(task, family, shape, training_data)
    settings = _training(task, family, start)
    config = config_document(task, family, shape, settings)
    digest = fit_digest(config, training_data, warm_start=start.facts["digest"])
    day = task.day.isoformat()
    # The latest one counts for whoever comes after: an older one of these settings does not.
    known = task.registry.find_candidate(day, family.name, is_aligned=False)
    if known is not None and known.inputs_digest == digest:
        training = task.registry.fetch(known).document("training")
        return {**training, "status": "unchanged", "digest": known.digest, "message": "is there"}
    if not task.is_first_process:
        _fit(task, family, shape, training_data, settings, start, ())
        return {"status": "done", "message": "is the first process's to keep"}
    with task.registry.run(
        day=day, step=task.step, family=family.name, inputs_digest=digest
    ) as tracked:
        observers = (RunObserver(tracked), LineObserver())
        model, training = _fit(task, family, shape, training_data, settings, start, observers)
        tracked.describe({**training["settings"], **training["config"]})
        with tempfile.TemporaryDirectory(prefix="sidereal-") as scratch:
            bundle = keep(task, family, model, training_data, config, training, Path(scratch))
            tracked.log_candidate(bundle)
    # Only now: a process that is killed before goes on from the checkpoint.
    shutil.rmtree(checkpoints_of(task, family.name), ignore_errors=True)
    return {
        **training,
        "status": "done",
        "digest": bundle.digest,
        "bytes": bundle.num_bytes,
        "run_id": tracked.run_id,
        "generation": training_data.generation,
        "message": _told(training),
    }


def _told(training: Facts) -> str:
    told = f"was fitted in {training['seconds']} s"
    if training["warm_start"]["day"]:
        told += f", from the weights of {training['warm_start']['day']}"
    alarms = training.get("alarms", ())
    return told + (f", {len(alarms)} alarm(s): " + "; ".join(alarms) if alarms else "")


def _training(task: Task, family: Family, start: WarmStart) -> Training:
    """The loop's settings, shorter and in smaller steps where the fit begins with weights."""
    training = task.config.training_for(family.name)
    if start.weights is None:
        return training
    changes = {
        "max_epochs": training.warm_start_epochs,
        "learning_rate": training.learning_rate * training.warm_start_learning_rate_share,
    }
    return training.model_copy(update=changes)


def _fit(
    task: Task,
    family: Family,
    shape: Any,
    training_data: TrainingData,
    training: Training,
    start: WarmStart,
    observers: tuple[Observer, ...],
) -> tuple[Kept, Facts]:
    model, document = fit_family(
        task,
        family,
        shape,
        training_data,
        training,
        checkpoints=checkpoints_of(task, family.name),
        observers=observers,
        first_weights=start.weights,
    )
    return model, {**document, "warm_start": start.facts}
