"""The number that stops a training: measured on events that the weights did not see."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from training import inference
from training.data.batches import BatchPlan
from training.data.queries import Queries, queries_of
from training.data.splits import Targets
from training.evaluation.metrics import FEEDBACK, FIT, LISTS, parse
from training.evaluation.ranking import auc, auc_influences, log_loss, user_auc
from training.fit.distributed import Processes
from training.fit.fitting import Fitting

CUTOFF = 10
NOTHING = np.empty(0)
COIN = 0.5
"""AUC of an answer that knows nothing."""


def validate(
    model: nn.Module,
    plan: BatchPlan,
    targets: Targets,
    popularity_V: np.ndarray,
    fitting: Fitting,
    group: Processes,
) -> dict[str, float]:
    """What the weights are worth, over all processes; each measures a share of the targets.

    Args:
        model: what is trained, a `TrainableModel` and `Model`.
        plan: how histories become batches; used by the metric `loss`.
        targets: of these `max_validation_targets` are measured, evenly spread.
        popularity_V: training events of each item, up to the last that has any.
        fitting: the metric and whether seen items are filtered.
        group: the processes.
    Returns:
        `validation`, the metric that decides: mean NDCG@10 over targets, AUC or GAUC (larger is
        better), mean LogLoss or loss in nats (smaller is better). Beside NDCG and AUC
        `validation_error`, the standard error over people (none of one); beside all but the loss
        `validation_floor`, what the most popular items are worth on the same targets, a coin, or
        the share of positives. Of a model that can rank, what
        `feedback_points` says, too: that one task gets worse while the other decides must be seen.
        Nothing without targets, no AUC without both kinds of feedback.
    """
    settings = fitting.settings
    model.eval()
    count = min(len(targets), settings.max_validation_targets)
    if not count:
        return {}
    chosen = np.linspace(0, len(targets) - 1, count).astype(np.int64)
    own = targets.where(chosen[group.rank :: group.world_size])
    found: dict[str, float] = {}
    asked = parse(settings.validation_metric)
    if asked.metric.board == FIT:
        measured = _loss(model, plan, targets.where(chosen), group)
        total, num_measured = group.sum(np.array(measured)).tolist()
        found["validation"] = total / num_measured
    ranks, lists = FEEDBACK in model.answers, asked.metric.board == LISTS
    if not (ranks or lists):
        return found
    gain_T, prediction_T = _asked(model, own, fitting, ranks=ranks, lists=lists)
    if lists:
        floor_T = popularity_gains(popularity_V, own, exclude_seen=fitting.exclude_seen)
        gain_T, floor_T, user_T = group.gather(np.stack([gain_T, floor_T, own.user]))
        found["validation"] = float(gain_T.mean())
        found["validation_floor"] = float(floor_T.mean())
        error = standard_error(gain_T - gain_T.mean(), user_T)
        found |= {} if np.isnan(error) else {"validation_error": error}
    if ranks:
        found |= _feedback(prediction_T, own, fitting, group)
    if asked.metric.board == FEEDBACK:
        found |= deciding(found, asked.metric.name)
    return found


def standard_error(influence_T: np.ndarray, user_T: np.ndarray) -> float:
    """Standard error of a mean over events whose people are the draw; NaN of a single person.

    `sqrt( U / (U - 1) sum_u ( sum of u's influences )^2 ) / T`: events of one person are no
    independent draws.

    Args:
        influence_T: what each event adds to the mean times T, less the mean.
        user_T: whose event it is.
    Example:
        Two people, one with two events: sqrt(2 / 1 * (0.5^2 + 0.5^2)) / 3.

        >>> values = np.array([0.0, 0.0, 1.0])
        >>> round(standard_error(values - values.mean(), np.array([0, 0, 1])), 4)
        0.4444
    """
    users, row_T = np.unique(user_T, return_inverse=True)
    if len(users) < 2:
        return float("nan")
    sum_U = np.bincount(row_T, weights=influence_T)
    variance = len(users) / (len(users) - 1) * np.square(sum_U).sum()
    return float(np.sqrt(variance)) / len(influence_T)


def popularity_gains(
    popularity_V: np.ndarray, targets: Targets, *, exclude_seen: bool
) -> np.ndarray:
    """NDCG@10 of each target in the list of the most popular items, float64, [T].

    Args:
        popularity_V: training events of each item; items beyond have none, and are in no list.
        targets: T events.
        exclude_seen: whether items of the history are left out of the list.
    """
    num_items = 1 + max(len(popularity_V) - 1, int(targets.histories.items.max(initial=0)))
    count_V = np.pad(popularity_V, (0, num_items - len(popularity_V)))
    rank_V = np.empty(num_items, dtype=np.int64)
    rank_V[np.argsort(-count_V, kind="stable")] = np.arange(num_items)
    gains, row = [np.empty(0)], 0
    for queries in queries_of(targets, max_history=1, exclude_seen=exclude_seen):
        item_B = targets.items[row : row + len(queries)]
        row += len(queries)
        # Each item that a person has seen once, however often it was seen.
        seen = np.unique(queries.excluded_rows * num_items + queries.excluded)
        row_S, item_S = seen // num_items, seen % num_items
        before_B = np.bincount(
            row_S, weights=rank_V[item_S] < rank_V[item_B][row_S], minlength=len(item_B)
        )
        is_seen_B = np.isin(np.arange(len(item_B)) * num_items + item_B, seen)
        place_B = rank_V[item_B] - before_B
        is_listed_B = (place_B < CUTOFF) & ~is_seen_B & (count_V[item_B] > 0)
        gains.append(is_listed_B / np.log2(place_B + 2))
    return np.concatenate(gains)


@torch.inference_mode()
def _loss(
    model: nn.Module, plan: BatchPlan, targets: Targets, group: Processes
) -> tuple[float, int]:
    """Summed loss of this process's share of the targets, and how many they are."""
    total, count = 0.0, 0
    for batch in plan.only(targets, rank=group.rank, world_size=group.world_size):
        with group.mixed_precision():
            total += float(model(batch.to(group.device)))
        count += int(batch.is_target_BL.sum())
    return total, count


def _asked(
    model: nn.Module, targets: Targets, fitting: Fitting, *, ranks: bool, lists: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Of each target NDCG@10, 1 / log2(rank + 1) of the one right item, and p(positive feedback).

    Either is empty where it isn't asked for; where both are, at one moment, histories are read
    once. Feedback is always asked for at the event: it is what someone thinks who meets the item.
    """
    if lists and targets.asked_at != "event":
        at_event = replace(targets, asked_at="event")
        said_T = _asked(model, at_event, fitting, ranks=True, lists=False)[1] if ranks else NOTHING
        return _gains(model, targets, fitting), said_T
    gains, said = [np.empty(0)], [np.empty(0, dtype=np.float32)]
    row, items = 0, targets.items
    questions = queries_of(
        targets, max_history=fitting.settings.max_history, exclude_seen=fitting.exclude_seen
    )
    for queries in questions:
        item_B1 = items[row : row + len(queries), None]
        row += len(queries)
        if ranks and lists:
            top, said_B1 = inference.recommend_and_rank(model, queries, CUTOFF, item_B1)
        elif lists:
            top = inference.recommend(model, queries, CUTOFF)
        else:
            said_B1 = inference.rank(model, queries, item_B1)
        if lists:
            gains.append(ndcg(top.items_Bk, item_B1))
        if ranks:
            said.append(said_B1[:, 0])
    return np.concatenate(gains), np.concatenate(said)


def _gains(model: nn.Module, targets: Targets, fitting: Fitting) -> np.ndarray:
    """NDCG@10 of each target, whose list answers other targets, too: each list is made once."""
    questions, how = targets.questions, fitting.settings
    queries = Queries.of(
        targets.histories,
        questions,
        max_history=how.max_history,
        exclude_seen=fitting.exclude_seen,
    )
    items_Gk = inference.recommend(model, queries, CUTOFF).items_Bk
    return ndcg(items_Gk[questions.question_T], targets.items[:, None])


def ndcg(items_Bk: np.ndarray, item_B1: np.ndarray) -> np.ndarray:
    """1 / log2(rank + 1) of the item in its list, 0 where it is not there; float64, [B]."""
    gain_B: np.ndarray = ((items_Bk == item_B1) / np.log2(np.arange(2, CUTOFF + 2))).sum(axis=1)
    return gain_B


def _feedback(
    prediction_T: np.ndarray, targets: Targets, fitting: Fitting, group: Processes
) -> dict[str, float]:
    """What `feedback_points` says of all processes' targets."""
    positive_T = targets.histories.strengths[targets.events] >= fitting.positive_strength
    answers = [prediction_T.astype(np.float64), positive_T, targets.user]
    prediction_T, positive_T, user_T = group.gather(np.stack(answers))
    return feedback_points(prediction_T, positive_T > 0, user_T)


def feedback_points(
    prediction_T: np.ndarray, label_T: np.ndarray, user_T: np.ndarray
) -> dict[str, float]:
    """What probabilities of feedback are worth, as points of a fit's curves.

    Args:
        prediction_T: probabilities.
        label_T: whether feedback was positive, bool; at least one.
        user_T: whose it was.
    Returns:
        `validation_logloss`, a mean over events, and `validation_logloss_floor`, that of the share
        of positives; and of events with both labels `validation_auc` with its standard error over
        people, and `validation_gauc`, if somebody has both.
    Example:
        >>> said, happened = np.array([0.8, 0.2]), np.array([True, False])
        >>> {name: round(value, 3) for name, value in
        ...  feedback_points(said, happened, np.array([0, 0])).items()}
        {'validation_logloss': 0.223, 'validation_logloss_floor': 0.693, 'validation_auc': 1.0,
         'validation_gauc': 1.0}
    """
    share_T = np.full(len(label_T), label_T.mean())
    found = {
        "validation_logloss": float(log_loss(prediction_T, label_T).mean()),
        "validation_logloss_floor": float(log_loss(share_T, label_T).mean()),
    }
    if not label_T.any() or label_T.all():
        return found
    found["validation_auc"] = auc(prediction_T, label_T)
    error = standard_error(auc_influences(prediction_T, label_T), user_T)
    found |= {} if np.isnan(error) else {"validation_auc_error": error}
    by_user = user_auc(np.unique(user_T, return_inverse=True)[1], prediction_T, label_T)
    if len(by_user.row):
        found["validation_gauc"] = float(np.average(by_user.auc, weights=by_user.num_events))
    return found


def deciding(points: Mapping[str, float], metric: str) -> dict[str, float]:
    """The point that stops a fit by feedback, what knows nothing gets, and its standard error.

    Args:
        points: of `feedback_points`.
        metric: `auc`, `gauc` or `logloss`.
    Returns:
        `validation`, `validation_floor` and, of AUC, `validation_error`; nothing where the metric
        is not defined.
    """
    if f"validation_{metric}" not in points:
        return {}
    found = {"validation": points[f"validation_{metric}"], "validation_floor": COIN}
    if metric == "logloss":
        found["validation_floor"] = points["validation_logloss_floor"]
    if metric == "auc" and "validation_auc_error" in points:
        found["validation_error"] = points["validation_auc_error"]
    return found
