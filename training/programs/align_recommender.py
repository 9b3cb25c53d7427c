"""align_recommender: teach the day's challenger which of two slates is better.

It begins with the bundle that train_recommender kept and keeps one of its own: the challenger of
the day from then on. Where the alignment ruined the model, the bundle holds the weights from before
and says so. A challenger whose family learns no preferences is left as it is.
"""

import logging
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from feature_store.steps import run_first
from training.fit.fitting import Observer
from training.models import MODELS, weights
from training.models.interface import Family
from training.models.weights import Kept
from training.programs.errors import ProgramError
from training.programs.fit_digest import config_document, fit_digest
from training.programs.fit_observers import LineObserver, RunObserver
from training.programs.fits import align_model, alignment_training
from training.programs.interface import Facts, Task
from training.programs.item_vectors import item_matrix
from training.programs.training_data import (
    TrainingData,
    checkpoints_of,
    day_training_data,
    keep,
    training_data_for,
    with_pairs,
)
from training.registry.bundle import Bundle
from training.settings.alignment import AlignmentConfig

LOG = logging.getLogger(__name__)


def run(task: Task) -> Facts:
    """Align the challenger, or find that it is aligned already, or that there is nothing to do.

    Raises:
        ProgramError: the challenger was not trained, or the day has no pairs.
        TrainingDiverged: a loss is not finite.
    """
    name = task.config.models.challenger
    family, how = MODELS[name], AlignmentConfig(**task.config.alignment.settings)
    shape = family.configure(task.config.models.settings.get(name, {}))
    if not family.learns_preferences:
        return {"status": "unchanged", "message": f"{name} learns no preferences between slates"}
    day = task.day.isoformat()
    trained = task.registry.find_candidate(day, name, is_aligned=False)
    if trained is None:
        raise ProgramError(f"no candidate of {name} for {day}; {run_first('challenger')}")
    training_data = with_pairs(task, training_data_for(task, family, day_training_data(task)))
    vectors = item_matrix(task.tables.vectors(), training_data.vocabulary.num_items)
    training_data = replace(training_data, inputs=task.tables.inputs)
    training = alignment_training(task, task.config.training_for(name))
    config = {**config_document(task, family, shape, training), "alignment": asdict(how)}
    digest = fit_digest(config, training_data, trained=trained.digest)
    known = task.registry.find_candidate(day, name)
    if known is not None and known.inputs_digest == digest:
        document = task.registry.fetch(known).document("training")
        return {**document["alignment"], "status": "unchanged", "digest": known.digest,
                "message": f"{name} is aligned already"}  # fmt: skip
    begin = task.registry.fetch(trained)

    def fit(observers: tuple[Observer, ...]) -> tuple[Kept, Facts]:
        model = weights.load(begin.directory / "model", family, task.device)
        return align_model(
            task,
            model,
            how,
            training_data,
            training,
            vectors_VD=vectors,
            checkpoints=checkpoints_of(task, f"{name}-aligned"),
            observers=observers,
        )

    if not task.is_first_process:
        fit(())
        return {"status": "done", "message": "is the first process's to keep"}
    with task.registry.run(day=day, step=task.step, family=name, inputs_digest=digest) as tracked:
        model, document = fit((RunObserver(tracked), LineObserver()))
        tracked.describe({**document["settings"], **document["alignment"]})
        with tempfile.TemporaryDirectory(prefix="sidereal-") as scratch:
            bundle = _keep(
                task, family, model, training_data, config, begin, document, Path(scratch)
            )
            tracked.log_candidate(bundle)
    shutil.rmtree(checkpoints_of(task, f"{name}-aligned"), ignore_errors=True)
    return {
        **document,
        "status": "done",
        "family": name,
        "digest": bundle.digest,
        "trained_digest": trained.digest,
        "run_id": tracked.run_id,
        "message": _told(name, document),
    }


def _keep(
    task: Task,
    family: Family,
    model: Kept,
    training_data: TrainingData,
    config: Facts,
    begin: Bundle,
    document: Facts,
    scratch: Path,
) -> Bundle:
    """The aligned bundle: its document of the training is the pretraining's, with the alignment."""
    training = {**begin.document("training"), "alignment": document, "trained": begin.digest}
    return keep(task, family, model, training_data, config, training, scratch)


def _told(name: str, document: Facts) -> str:
    count = sum(document["train_pairs"].values())
    if document["collapsed"]:
        return f"{name} stays as it was trained: {document['collapsed']}"
    best = document["epochs"][document["best_epoch"] - 1] if document["best_epoch"] else {}
    before, after = document["before"], best
    moved = [
        f"{what.replace('_', ' ')} {before[what]:.3f} → {after[what]:.3f}"
        for what in ("preference_accuracy", "intra_list_similarity", "coverage")
        if what in before and what in after
    ]
    return f"{name} learnt {count:,} pairs in {document['seconds']} s: " + ", ".join(moved)
