"""Whom a model of feedback serves: GAUC of people with few, some and many events, and the gap.

    cold_gap = GAUC of frequent people - GAUC of light people

One draw of people gives all of them, so that the gap has an interval of its own.

U people, M metrics.
"""

import numpy as np

from training.data.histories import Histories
from training.evaluation.boards.feedback import MANY_EVENTS
from training.evaluation.ranking import Predictions
from training.experiments.ratios import Ratios

_GROUPS = ("gauc_light", "gauc_middle", "gauc_frequent")
COLD_GAP = "cold_gap"
METRICS = (*_GROUPS, COLD_GAP)
"""What a table may ask for beside the metrics of the board of feedback."""


def gauc_by_history(answers: Predictions, train: Histories, light_user_events: int) -> Ratios:
    """GAUC of each group of people, and the gap between the last and the first.

    Args:
        answers: of the board of feedback; its users are numbers in `train`.
        train: what weights may have seen.
        light_user_events: most training events of a light person.
    """
    users = np.unique(answers.user_T)
    events_U, found = train.lengths[users], answers.by_user
    sums_U, counts_U = np.zeros(len(users)), np.zeros(len(users))
    sums_U[found.row], counts_U[found.row] = found.auc * found.num_events, found.num_events
    edges = (light_user_events, max(MANY_EVENTS, light_user_events))
    group_U = np.searchsorted(np.array(edges), events_U, side="left")
    inside_UM = group_U[:, None] == np.arange(len(_GROUPS))
    return Ratios(
        users,
        _GROUPS,
        np.where(inside_UM, sums_U[:, None], 0.0),
        np.where(inside_UM, counts_U[:, None], 0.0),
        differences={COLD_GAP: (_GROUPS[-1], _GROUPS[0])},
    )
