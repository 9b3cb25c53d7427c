"""What determines a fit, and the digest of it: a fit is made again when something of it changed.

Settings are taken as the fit reads them: overrides applied, defaults filled in, those of a warm
start where there is one. How candidates are measured, promoted or served is no part of it, and
neither is how fast a fit runs.
"""

import os
from dataclasses import asdict
from typing import Any

from training.config import Training
from training.data.splits import fit_facts
from training.models.interface import Family
from training.programs.interface import Facts, Task
from training.programs.training_data import TrainingData, loop_settings
from training.registry.bundle import digest_of

OF_VALIDATION = ("exclude_seen", "positive_strength")
"""Fields of `evaluation` that stop a fit. Those that split are taken from the split, where windows
that the preset leaves open have their lengths."""


def config_document(task: Task, family: Family, shape: Any, training: Training) -> Facts:
    """The preset's part in what the weights are.

    Args:
        task: whose preset.
        family: what is fitted.
        shape: the family's config.
        training: the loop's settings of this fit.
    """
    evaluation = task.config.evaluation
    return {
        "family": family.name,
        "model": asdict(shape),
        "training": {
            **loop_settings(training).determining(),
            "minimum_strength": training.minimum_strength,
        },
        "evaluation": {name: getattr(evaluation, name) for name in OF_VALIDATION},
        **_of_lists(task, family),
    }


def _of_lists(task: Task, family: Family) -> Facts:
    """What decides beside the table which pseudo-exposures a fit reads."""
    if "preference_lists" not in family.reads:
        return {}
    return {"pseudo_exposures_from": task.config.preference_lists.pseudo_exposures_from}


def fit_digest(config: Facts, training_data: TrainingData, **begins_with: Any) -> str:
    """SHA-256 of what determines a fit.

    Args:
        config: of `config_document`.
        training_data: rows, by the content of the tables they were read from, and their split.
        begins_with: digests of the weights that the fit begins with, and what else it depends on.
    """
    return digest_of(
        {
            "inputs": {table: read["content_hash"] for table, read in training_data.inputs.items()},
            "generation": training_data.generation,
            "config": config,
            "split": fit_facts(training_data.split.facts),
            # `tokens_per_batch` is of each process.
            "processes": int(os.environ.get("WORLD_SIZE", "1")),
            **begins_with,
        }
    )
