"""How unigrf is fitted."""

from dataclasses import replace

import torch
from safetensors.torch import load_file
from torch import nn

from training.data.splits import NO_DATA, Data, Split
from training.data.vocabulary import Vocabulary
from training.fit.distributed import Processes
from training.fit.fitting import FitReport, Fitting
from training.fit.loop import fit_objective
from training.fit.objective import NextItems
from training.models.unigrf.alarms import alarms
from training.models.unigrf.model import Unigrf
from training.settings.unigrf import UnigrfConfig


class _BothTasks(NextItems):
    """The next item and its feedback; the latter rests once it is no longer learnt."""

    def validate(self, model: nn.Module, fitting: Fitting, group: Processes) -> dict[str, float]:
        """What `training.fit.validation` measures; the model takes note of its AUC."""
        found: dict[str, float] = super().validate(model, fitting, group)
        if model.rest is not None and "validation_auc_error" in found:
            auc, error = found["validation_auc"], found["validation_auc_error"]
            model.rest.note(auc, error, fitting.settings.patience_epochs)
        return found


def fit(
    split: Split,
    config: UnigrfConfig,
    fitting: Fitting,
    vocabulary: Vocabulary,
    data: Data = NO_DATA,
) -> tuple[Unigrf, FitReport]:
    """Train on every event of the training histories and its feedback.

    Args:
        split: trains, stops, tests.
        config: the shape; `max_history` and `positive_strength` are taken from `fitting`.
        fitting: how; `first_weights` are of a model of the same shape, of whichever task: what it
            has not keeps weights of its own.
        vocabulary: the catalogue.
        data: none is read.
    Raises:
        ValueError: the fit is to stop by what the model does not learn.
    """
    settings = fitting.settings
    learnt = {"ndcg@10": config.retrieves, "loss": True}
    learnt |= dict.fromkeys(("auc", "gauc", "logloss"), config.ranks)
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
    if fitting.first_weights is not None:
        model.load_state_dict(load_file(fitting.first_weights), strict=False)
        fitting = replace(fitting, first_weights=None)
    model.base_rate.fill_(share)
    if model.enhancer is not None:
        model.enhancer.prepare(split.train.num_events)
    if model.weighter is not None:
        model.weighter.prepare(settings.warmup_steps)
    report = fit_objective(model, _BothTasks(split, settings, model.positions_per_event), fitting)
    facts = {"positive_share": share, "alarms": [*report.facts["alarms"], *alarms(report.epochs)]}
    return model, replace(report, facts={**report.facts, **facts})
