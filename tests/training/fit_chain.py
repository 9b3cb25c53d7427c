"""Fits a model on the chain world and writes what came of it; run as a process by test_loop.

python fit_chain.py OUT [--kill-at N] [--tokens N] [--family F]
"""

import argparse
import json
import os
import signal
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests import worlds
from training.fit.fitting import Fitting, LoopSettings, Observer
from training.models import MODELS

SHAPES = {
    "sasrec": {"width": 16, "hidden_width": 16, "num_layers": 1},
    "tiger": {"width": 16, "num_layers": 1, "beam_width": 10},
    "unigrf": {
        "width": 16,
        "num_layers": 1,
        "num_heads": 1,
        "num_negatives": 12,
        "hard_negatives": 3,
        "favourite_share": 0.2,
        "weighter_temperature": 0.5,
    },
    # Draws nothing: the same on one process and on several.
    "unigrf_full": {"width": 16, "num_layers": 1, "num_heads": 1, "num_negatives": 0},
}


class Killer(Observer):
    """Ends the process as a power cut would, after a number of steps."""

    def __init__(self, at):
        self.left = at

    def on_step(self, epoch, step, num_steps, loss):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Recorder(Observer):
    """Keeps the loss of every step."""

    def __init__(self):
        self.losses = []

    def on_step(self, epoch, step, num_steps, loss):
        self.losses.append((epoch, step, loss))


def fit(
    out, *, family="sasrec", tokens=400, observers=(), dropout=0.2, exclude_seen=True, **changes
):
    """Fit with checkpoints in `out`; the model and its report."""
    world = worlds.taste(num_users=80)
    settings = LoopSettings(
        **{
            "max_epochs": 3,
            "tokens_per_batch": tokens,
            "max_history": 15,
            "window_overlap": 4,
            "checkpoint_every_steps": 2,
            "warmup_steps": 3,
            **changes,
        }
    )
    fitting = Fitting(
        settings,
        exclude_seen=exclude_seen,
        checkpoints=out / "checkpoints",
        observers=tuple(observers),
    )
    kind = MODELS[family.partition("_")[0]]
    config = kind.configure({**SHAPES[family], "dropout": dropout})
    model, report = kind.fit(world.split, config, fitting, world.vocabulary)
    return model, report


def write(out, model, report, losses):
    """What a test compares."""
    out.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), out / "model.safetensors")
    facts = {"losses": losses, "epochs": report.epochs, "facts": report.facts}
    (out / "report.json").write_text(json.dumps(facts))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--kill-at", type=int, default=0)
    parser.add_argument("--families", nargs="+", default=["sasrec"])
    parser.add_argument("--dropout", type=float, default=0.2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for family in options.families:
        out, recorder = options.out / family, Recorder()
        observers = [recorder, Killer(options.kill_at)]
        model, report = fit(out, family=family, dropout=options.dropout, observers=observers)
        if os.environ.get("RANK", "0") == "0":
            write(out, model, report, recorder.losses)


if __name__ == "__main__":
    main()
