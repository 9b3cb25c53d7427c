"""blend_recommenders: make one bundle of two candidates of the day, where the preset asks for it.

Nothing is trained: the weight between their scores is chosen on validation targets. The bundle
holds both models, so that it is evaluated, promoted and served as any other.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import cast

from feature_store.steps import producer_of
from training.models import MODELS, blend
from training.models.weights import Kept
from training.programs.errors import ProgramError
from training.programs.fit_digest import OF_VALIDATION, fit_digest
from training.programs.fits import blend_models, blend_training
from training.programs.interface import Facts, Task
from training.programs.training_data import (
    TrainingData,
    day_training_data,
    keep,
    training_data_for,
)
from training.registry.predictor import BundlePredictor
from training.registry.records import Candidate


def run(task: Task) -> Facts:
    """Blend, or find that it is done already, or that the preset asks for none.

    Raises:
        ProgramError: a part is no candidate of the day.
        BundleError: the bundle of a part does not verify.
    """
    families = task.config.models.blend
    if families is None:
        return {"status": "unchanged", "message": "the preset blends no families (models.blend)"}
    candidates = _candidates(task, families)
    training_data = _training_data(task, families)
    trainings = [task.config.training_for(family) for family in families]
    training = blend_training(trainings)
    config: Facts = {
        "family": blend.FAMILY.name,
        "parts": {each.family: each.digest for each in candidates},
        "training": {
            "max_history": training.max_history,
            "minimum_strength": training.minimum_strength,
        },
        "evaluation": {name: getattr(task.config.evaluation, name) for name in OF_VALIDATION},
    }
    digest, day = fit_digest(config, training_data), task.day.isoformat()
    kept = task.registry.find_candidate(day, blend.FAMILY.name)
    if kept is not None and kept.inputs_digest == digest:
        document = task.registry.fetch(kept).document("training")
        return {**document, "status": "unchanged", "digest": kept.digest, "message": "is there"}
    started = time.perf_counter()
    bundles = [task.registry.fetch(each) for each in candidates]
    predictors = [BundlePredictor.of(each, device=task.device) for each in bundles]
    models = [cast(Kept, each.model) for each in predictors]
    model, document = blend_models(task, models, training_data, trainings)
    with task.registry.run(
        day=day, step=task.step, family=blend.FAMILY.name, inputs_digest=digest
    ) as tracked:
        tracked.describe({**document["config"], "parts": " + ".join(families)})
        with tempfile.TemporaryDirectory(prefix="sidereal-") as scratch:
            bundle = keep(task, blend.FAMILY, model, training_data, config, document, Path(scratch))
            tracked.log_candidate(bundle)
    return {
        **document,
        "status": "done",
        "digest": bundle.digest,
        "run_id": tracked.run_id,
        "message": _told(document, time.perf_counter() - started),
    }


def _candidates(task: Task, families: tuple[str, str]) -> list[Candidate]:
    """The day's latest of each part, aligned where it was."""
    day = task.day.isoformat()
    found = {name: task.registry.find_candidate(day, name) for name in families}
    missing = [name for name, candidate in found.items() if candidate is None]
    if missing:
        named = [
            "challenger" if n == task.config.models.challenger else "baselines" for n in missing
        ]
        steps = " and ".join(dict.fromkeys(str(producer_of(name)) for name in named))
        raise ProgramError(
            f"no candidate of {', '.join(missing)} for {day}; run {steps} for that day first"
        )
    return [candidate for candidate in found.values() if candidate is not None]


def _training_data(task: Task, families: tuple[str, str]) -> TrainingData:
    """What both parts were fitted on, with the semantic IDs where one has them."""
    reads = dict.fromkeys(name for family in families for name in MODELS[family].reads)
    both = replace(blend.FAMILY, reads=tuple(reads))
    return training_data_for(task, both, day_training_data(task))


def _told(document: Facts, seconds: float) -> str:
    first, second = document["parts"]
    weight, how = document["weight"], document["config"]["normalisation"]
    worth = document["best_validation"]
    measured = "" if worth is None else f", validation NDCG@10 {worth:.4f}"
    return (
        f"{weight:.1f} of {first}, {1 - weight:.1f} of {second} ({how} scores){measured},"
        f" in {seconds:.0f} s"
    )
