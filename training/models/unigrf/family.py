"""unigrf as a family of recommenders: how it is fitted, saved and loaded."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.data.splits import Split
from training.data.vocabulary import Vocabulary
from training.fitting import FitReport, Fitting
from training.loop import fit_model
from training.models.interface import Family
from training.models.unigrf.alarms import alarms
from training.models.unigrf.model import Unigrf
from training.settings.unigrf import UnigrfConfig


def fit(
    split: Split,
    config: UnigrfConfig,
    fitting: Fitting,
    vocabulary: Vocabulary,
    *,
    begin_with: Mapping[str, Tensor] | None = None,
) -> tuple[Unigrf, FitReport]:
    """Train on every event of the training histories and its feedback.

    Args:
        split: trains, stops, tests.
        config: the shape; `max_history` and `positive_strength` are taken from `fitting`.
        fitting: how.
        vocabulary: the catalogue.
        begin_with: weights of a model of the same shape, of whichever task; what it has not keeps
            its first weights.
    Raises:
        ValueError: the fit is to stop by what the model does not learn.
    """
    settings = fitting.settings
    learnt = {"ndcg@10": config.retrieves, "auc": config.ranks, "loss": True}
    if not learnt[settings.validation_metric]:
        wanted = " or ".join(metric for metric, is_learnt in learnt.items() if is_learnt)
        raise ValueError(
            f"a model with tasks={config.tasks} can't stop by {settings.validation_metric}; set"
            f" training.overrides.unigrf.validation_metric to {wanted}"
        )
    config = replace(
        config,
        max_history=settings.max_history,
        positive_strength=fitting.positive_strength,
    )
    torch.manual_seed(settings.seed)
    model = Unigrf(config, vocabulary.num_items)
    share = float((split.train.strengths >= config.positive_strength).mean())
    if begin_with is not None:
        model.load_state_dict(begin_with, strict=False)
    model.base_rate.fill_(share)
    if model.enhancer is not None:
        model.enhancer.prepare(split.train.num_events)
    report = fit_model(model, split, fitting)
    facts = {"positive_share": share, "alarms": alarms(report.epochs)}
    return model, replace(report, facts={**report.facts, **facts})


def save(model: Unigrf, directory: Path) -> None:
    """Write the weights as safetensors and the shape as JSON."""
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, directory / "unigrf.safetensors")
    shape = {"num_items": model.num_items, "config": asdict(model.config)}
    (directory / "unigrf.json").write_text(json.dumps(shape), encoding="utf-8")


def load(directory: Path, device: str = "cpu") -> Unigrf:
    """Read what `save` wrote."""
    shape = json.loads((directory / "unigrf.json").read_text(encoding="utf-8"))
    model = Unigrf(UnigrfConfig(**shape["config"]), shape["num_items"])
    model.load_state_dict(load_file(directory / "unigrf.safetensors"))
    return model.to(device).eval()


FAMILY = Family("unigrf", UnigrfConfig, fit, save, load)
