"""Which weights a day's fit begins with: those of the last day before it, or its own.

What was held out yesterday is older than what is held out today, so that earlier weights have seen
no event that today's fit validates or is measured on. Items keep their index, so that weights of
each of them go on, and new ones join them (`training.fit.first_weights`). A new generation of
semantic IDs means other tokens: there a fit begins anew, which also ends what errors would be
handed on for ever.
"""

from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from training.models.interface import Family
from training.models.weights import tensors_path
from training.programs.interface import Facts, Task
from training.programs.training_data import TrainingData
from training.registry.bundle import Bundle


@dataclass(frozen=True)
class WarmStart:
    """Where a fit begins.

    Attributes:
        weights: safetensors of an earlier day's model; None: the fit begins anew.
        facts: day and digest of that model, both None without one, and why there is none.
    """

    weights: Path | None
    facts: Facts


def warm_start(task: Task, family: Family, shape: Any, training_data: TrainingData) -> WarmStart:
    """The newest earlier weights that fit: of the same shape and the same semantic IDs.

    Only the last day that has the family counts: behind it nothing is looked for.
    """
    training = task.config.training_for(family.name)
    if not training.warm_start_epochs:
        return _anew("warm_start_epochs is 0")
    for back in range(1, training.warm_start_days + 1):
        day = (task.day - timedelta(days=back)).isoformat()
        found = task.registry.find_candidate(day, family.name, is_aligned=False)
        if found is not None:
            bundle = task.registry.fetch(found)
            shape = replace(shape, max_history=training.max_history)
            unlike = _unlike(bundle, asdict(shape), training_data)
            if unlike:
                return _anew(f"the model of {day} {unlike}")
            path = tensors_path(bundle.directory / "model", family.name)
            return WarmStart(path, {"day": day, "digest": bundle.digest, "reason": None})
    return _anew(f"no {family.name} was fitted in the {training.warm_start_days} days before")


def _unlike(bundle: Bundle, shape: Facts, training_data: TrainingData) -> str:
    """In what an earlier model differs; empty where its weights can be gone on with."""
    fitted = bundle.document("training")
    then = bundle.items()["item_id"]
    if not then.equals(training_data.items["item_id"].slice(0, len(then))):
        return "numbers the items of another catalogue"
    if bundle.origin.generation != training_data.generation:
        return (
            f"knows semantic IDs of {bundle.origin.generation}, not of {training_data.generation}"
        )
    known = training_data.vocabulary
    if known.codes_VQ is not None and fitted["level_sizes"] != list(known.level_sizes):
        sizes = list(known.level_sizes)
        return f"has levels of {fitted['level_sizes']} codes, semantic IDs now of {sizes}"
    if fitted["config"] != shape:
        other = sorted(name for name in shape if fitted["config"].get(name) != shape[name])
        return f"has another shape: {', '.join(other)}"
    return ""


def _anew(reason: str) -> WarmStart:
    return WarmStart(None, {"day": None, "digest": None, "reason": reason})
