"""From whole slates of several recommenders to means, intervals and paired comparisons.

The same facts as `training.scoreboard` has for single targets, about what each recommender would
have shown in the place of each held-out slate: a slate is asked for once, before its first
exposure, and measured against all that was engaged with in it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from training.config import TrainingConfig
from training.data.histories import Histories
from training.data.slates import Slates
from training.evaluation.metric_names import SLATE_PREFIX
from training.evaluation.retrieval import ALL, UserMeans, UserMetrics
from training.evaluation.slate import coverage, intra_list_similarity, repeats, slate_metrics
from training.scoreboard import SliceBoard

Facts = dict[str, Any]


def asked_slates(test: Slates, config: TrainingConfig) -> Slates:
    """The held-out slates that are asked about, with only the items that were engaged with."""
    evaluation = config.evaluation
    shown = test.where(test.lengths >= evaluation.slate_minimum_items)
    return shown.targets("exposed", minimum_strength=evaluation.slate_minimum_strength)


def slate_scoreboard(
    config: TrainingConfig,
    said: Mapping[str, np.ndarray],
    engaged: Slates,
    train: Histories,
    vectors_VD: np.ndarray | None,
    num_items: int,
) -> tuple[dict[str, Facts], list[Facts]]:
    """Facts of each recommender by slice, and paired comparisons of all of them.

    Args:
        config: evaluation, gate, and who faces whom.
        said: by label, what each would have shown, int32, [S, k], `PAD` for an empty place.
        engaged: the S slates that were shown, with only what was engaged with.
        train: what weights may have seen; its users are those of the slates.
        vectors_VD: a vector per item, for how alike the items of a slate are; None: not measured.
        num_items: V, for the share of the catalogue that is shown at all.
    Returns:
        By label: `coverage`, `repeated_share`, `similarity` (mean cosine of a slate's pairs; None
        where not measured), and under `metrics` by slice what `SliceBoard.means` says; and a row
        per slice, pair and metric as `scoreboard` makes them.
    """
    cutoffs = config.evaluation.slate_cutoffs
    longest = max(cutoffs)
    masks = {ALL: np.ones(len(engaged), dtype=bool), **_slices(engaged, train, config)}
    facts: dict[str, Facts] = {}
    found: dict[str, dict[str, UserMetrics]] = {}
    for label, said_SM in said.items():
        shown_SM = said_SM[:, :longest]
        facts[label] = {
            "coverage": coverage(shown_SM, num_items),
            "repeated_share": repeats(shown_SM),
            "similarity": _similarity(shown_SM, vectors_VD),
            "metrics": {},
        }
        values = slate_metrics(said_SM, engaged, cutoffs)
        found[label] = {}
        for name, mask_S in masks.items():
            means = UserMeans(engaged.user, mask_S)
            for metric, values_S in values.items():
                means.add(SLATE_PREFIX + metric, values_S)
            found[label][name] = means.result()
    comparisons: list[Facts] = []
    for name in masks:
        board = SliceBoard(config, {label: by_slice[name] for label, by_slice in found.items()})
        for label in found:
            facts[label]["metrics"][name] = board.means(label)
        comparisons += [{"slice": name, **row} for row in board.comparisons()]
    return facts, comparisons


def _slices(slates: Slates, train: Histories, config: TrainingConfig) -> dict[str, np.ndarray]:
    """Named subsets of slates by what weights knew of the user, bool, [S]."""
    events_S = train.lengths[slates.user]
    is_light_S = events_S <= config.evaluation.light_user_events
    return {"light_users": is_light_S, "heavy_users": ~is_light_S, "new_users": events_S == 0}


def _similarity(said_SM: np.ndarray, vectors_VD: np.ndarray | None) -> float | None:
    if vectors_VD is None:
        return None
    similarity_S = intra_list_similarity(said_SM, vectors_VD)
    return float(np.nanmean(similarity_S)) if np.isfinite(similarity_S).any() else None
