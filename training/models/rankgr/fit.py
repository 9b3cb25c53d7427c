"""How rankgr is fitted."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from training import inference
from training.data.preference_lists import PreferenceLists
from training.data.queries import queries_of
from training.data.splits import NO_DATA, Data, Split, Targets
from training.data.vocabulary import Vocabulary
from training.fit.distributed import Processes
from training.fit.first_weights import begin_with
from training.fit.fitting import FitReport, Fitting
from training.fit.loop import fit_objective
from training.fit.objective import Curves, NextItems
from training.fit.validation import CUTOFF, ndcg, standard_error
from training.models.coded.fit import begun
from training.models.rankgr.apart import fit_apart
from training.models.rankgr.contexts import EventLists
from training.models.rankgr.model import Rankgr
from training.settings.rankgr import RankgrConfig

WATCHED = 500
"""Validation targets whose codes' perplexity is watched after each epoch."""
MOST_PERPLEXITY = 2.0
"""So many times the best epoch's is a collapse: preferences have taken the place of language."""
SURE = 1.96
"""Standard errors beyond which the second phase is said to make lists worse."""


class BothPhases(NextItems):
    """The next item, and lists beside it; what preferences may ruin is watched."""

    def validate(self, model: nn.Module, fitting: Fitting, group: Processes) -> dict[str, float]:
        """What `training.fit.validation` measures, and `perplexity` of a code."""
        found: dict[str, float] = super().validate(model, fitting, group)
        if found:
            found["perplexity"] = self._perplexity(model, group)
        return found

    @torch.inference_mode()
    def _perplexity(self, model: nn.Module, group: Processes) -> float:
        targets = self.split.validation
        count = min(len(targets), WATCHED)
        chosen = targets.where(np.linspace(0, len(targets) - 1, count).astype(np.int64))
        nats = 0.0
        plan = self.plan(group.world_size)
        for batch in plan.only(chosen, rank=group.rank, world_size=group.world_size):
            nats += float(model.code_loss(batch.to(group.device)))
        codes = len(chosen) * len(model.level_sizes)
        return math.exp(float(group.sum(np.array([nats]))[0]) / codes)

    def objection(self, curves: Curves) -> str:
        """That codes have become a foreign language; empty where they have not."""
        perplexities = [curve["perplexity"] for curve in curves if "perplexity" in curve]
        if not perplexities or perplexities[-1] <= MOST_PERPLEXITY * min(perplexities):
            return ""
        return (
            f"perplexity of a code went from {min(perplexities):.4g} to {perplexities[-1]:.4g}:"
            " preferences take the place of what comes next; lower preference_weight"
        )


def fit(
    split: Split,
    config: RankgrConfig,
    fitting: Fitting,
    vocabulary: Vocabulary,
    data: Data = NO_DATA,
) -> tuple[Rankgr, FitReport]:
    """Train both phases on every training event whose item has a semantic ID.

    Args:
        split: trains, stops.
        config: the shape and the losses; `max_history` is taken from `fitting`.
        fitting: how.
        vocabulary: the catalogue with its codes.
        data: `preference_lists`, over before anything is held out; without them own candidates
            alone are compared.
    Raises:
        ValueError: the vocabulary has no semantic IDs, or not what they were made of.
    """
    model, known, facts = begun(Rankgr, split, config, fitting, vocabulary)
    is_known_V = vocabulary.require_codes()[:, 0] >= 0
    lists: PreferenceLists | None = data.get("preference_lists")
    listed = None
    if lists is not None:
        listed = EventLists.of(lists, lists.of_events(known.train), is_known_V)
    if fitting.first_weights is not None:  # before the loop does it: a reference is made of them
        begin_with(model, fitting.first_weights)
    objective = BothPhases(known, fitting.settings, model.positions_per_event)
    if config.refinement_share:
        report = fit_apart(model, objective, listed, fitting)
    else:
        model.prepare(listed)
        report = fit_objective(model, objective, fitting)
    facts["preference_lists"] = 0 if listed is None else len(listed.items_SM)
    added = phases(model, known.validation, fitting)
    alarms = [*report.facts["alarms"], *_alarms(added)]
    return model, replace(report, facts={**report.facts, **facts, **added, "alarms": alarms})


def phases(model: Rankgr, targets: Targets, fitting: Fitting) -> dict[str, float]:
    """What the second phase adds on validation targets, and the most that it could.

    Returns:
        `assessed`, NDCG@10 by the first phase alone; `refined`, by both; `refined_error`, the
        standard error of their difference over people; `candidate_recall`, the share of targets
        among the candidates. Nothing without a second phase or targets.
    """
    count = min(len(targets), fitting.settings.max_validation_targets)
    if model.scorer is None or not count:
        return {}
    targets = targets.where(np.linspace(0, len(targets) - 1, count).astype(np.int64))
    targets = replace(targets, asked_at="event")
    first, second, held, row = [], [], [], 0
    for queries in queries_of(
        targets, max_history=fitting.settings.max_history, exclude_seen=fitting.exclude_seen
    ):
        for _, state in inference.states(model, queries, k=CUTOFF):
            item_B1 = targets.items[row : row + len(state.queries), None]
            row += len(item_B1)
            count = max(CUTOFF, model.config.candidates)
            offered_BC = model.assess(state, count).items_Bk
            first.append(ndcg(offered_BC[:, :CUTOFF], item_B1))
            second.append(ndcg(model.recommend(state, CUTOFF).items_Bk, item_B1))
            held.append((offered_BC == item_B1).any(1))
    assessed_T, refined_T = np.concatenate(first), np.concatenate(second)
    gain_T = refined_T - assessed_T
    error = standard_error(gain_T - gain_T.mean(), targets.user)
    return {
        "assessed": float(assessed_T.mean()),
        "refined": float(refined_T.mean()),
        "refined_error": error,
        "candidate_recall": float(np.concatenate(held).mean()),
    }


def _alarms(facts: Mapping[str, float]) -> list[str]:
    lost = facts.get("assessed", 0.0) - facts.get("refined", 0.0)
    if not lost > SURE * facts.get("refined_error", math.nan):
        return []
    return [
        f"refined scoring takes NDCG@10 from {facts['assessed']:.4f} to {facts['refined']:.4f}:"
        " set refinement_weight to 0, or lower it"
    ]
