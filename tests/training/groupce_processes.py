"""Fits groupce in each process of a torchrun and writes what each came to; run by test_groupce."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.impressions_world import world
from training.fit.fitting import Fitting, LoopSettings
from training.models import MODELS

SHAPE = {
    "field_width": 8,
    "hidden_width": 16,
    "levels": 2,
    "codes": 3,
    "dropout": 0.0,
    "network": "deepfm",
}
LOSSES = {"none": {}, "groupce": {"batches": "by_prefix", "code_expiry": 0.5}}
LOOP = LoopSettings(max_epochs=3, max_history=20, validation_metric="gauc", learning_rate=5e-3)


def fit(loss, tokens):
    """The model and its report."""
    made, family = world(num_users=30), MODELS["groupce"]
    config = family.configure({**SHAPE, "ranking_loss": loss, **LOSSES[loss]})
    loop = replace(LOOP, tokens_per_batch=tokens)
    return family.fit(made.split, config, Fitting(loop), made.vocabulary, made.data)


def main(out):
    torch.set_num_threads(1)
    for loss in LOSSES:
        model, report = fit(loss, 64)
        tensors = dict(model.state_dict())
        if model.roster is not None:
            tensors["roster"] = model.roster.state()["codes"]
        points = [[e["loss_click"], e["validation"]] for e in report.epochs]
        tensors["points"] = torch.tensor(points)
        save_file(tensors, Path(out) / f"{loss}-{os.environ.get('RANK', '0')}.safetensors")


if __name__ == "__main__":
    main(sys.argv[1])
