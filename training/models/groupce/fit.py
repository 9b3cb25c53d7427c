"""How groupce is fitted."""

import logging
from dataclasses import replace

import numpy as np
import torch

from training.data.impressions import Impressions
from training.data.splits import NO_DATA, Data, Split
from training.data.vocabulary import Vocabulary
from training.fit.distributed import processes
from training.fit.fitting import FitReport, Fitting
from training.fit.loop import fit_objective
from training.models.groupce.alarms import alarms, too_small_batches
from training.models.groupce.batches import Rows, of_known_values, split_impressions
from training.models.groupce.fields import begin_with_values, require_codes
from training.models.groupce.model import Groupce
from training.models.groupce.objective import ImpressionObjective
from training.models.groupce.ranking_loss import expected_informative_share
from training.settings.groupce import GroupceConfig

log = logging.getLogger(__name__)
LEARNT = ("auc", "gauc", "logloss", "loss")
"""What can stop a fit."""


def fit(
    split: Split,
    config: GroupceConfig,
    fitting: Fitting,
    vocabulary: Vocabulary,
    data: Data = NO_DATA,
) -> tuple[Groupce, FitReport]:
    """Train on every impression before the split's validation.

    Args:
        split: whose borders say which impressions train and which stop the fit; of its histories
            din reads what came before an impression.
        config: the shape; `max_history` and `positive_strength` are taken from `fitting`.
        fitting: how.
        vocabulary: the catalogue.
        data: `impressions`.
    Raises:
        ValueError: there are no impressions, or of one label only; a code is of no field; the fit
            is to stop by what the model does not learn, or is told of fewer events than features
            count.
    """
    settings = fitting.settings
    impressions = _required(data, settings.validation_metric)
    counted = impressions.features.counting.history_events
    if settings.max_history < counted:
        raise ValueError(
            f"max_history is {settings.max_history}, and impressions count the last {counted}"
            f" events: a question would not bring them; set training.overrides.groupce.max_history"
            f" to {counted}, or lower impressions.history_events"
        )
    config = replace(
        config, max_history=settings.max_history, positive_strength=fitting.positive_strength
    )
    torch.manual_seed(settings.seed)
    model = Groupce(config, impressions.features)
    histories = split.test.histories if model.backbone.reads_history else None
    learnt, held_out = split_impressions(impressions, split)
    _require_known(learnt)
    train, validation = (
        Rows.of(part, config.positive_strength, histories, config.max_history)
        for part in (learnt, of_known_values(held_out))
    )
    share = _positive_share(train)
    model.base_rate.fill_(share)
    model.prepare(*_users(train.impressions, split.test.histories.num_users))
    first_weights = fitting.first_weights
    if first_weights is not None:
        begin_with_values(model, model.table, first_weights)
        fitting = replace(fitting, first_weights=None)
    objective = ImpressionObjective(model, train, validation, settings, first_weights)
    with processes(fitting.device) as group:
        rows = objective.rows_per_step(group.world_size) // group.world_size
    facts, warnings = _expected(rows, share, config)
    report = fit_objective(model, objective, fitting)
    facts |= {
        "positive_share": share,
        "train_impressions": len(train),
        "validation_impressions": len(validation),
        "alarms": [*report.facts["alarms"], *warnings, *alarms(report.epochs, config)],
    }
    return model, replace(report, facts={**report.facts, **facts})


def _required(data: Data, metric: str) -> Impressions:
    if metric not in LEARNT:
        raise ValueError(
            f"groupce can't stop by {metric}; set training.overrides.groupce.validation_metric to"
            f" {' or '.join(LEARNT)}"
        )
    impressions: Impressions | None = data.get("impressions")
    if impressions is None:
        raise ValueError(
            "groupce learns impressions, and there are none; run build_impressions for the day"
        )
    return impressions


def _require_known(learnt: Impressions) -> None:
    """What trains has the codes that features have; what is held out may have later ones."""
    require_codes(
        learnt.features, user=learnt.user_NF, item=learnt.item_NF, context=learnt.context_NF
    )


def _positive_share(train: Rows) -> float:
    """Share of positives, of both labels."""
    if not len(train):
        raise ValueError(
            "no impression may be trained on: all are of the days that validate or are held out;"
            " wait for more days"
        )
    share = float(train.label_N.mean())
    if share in (0.0, 1.0):
        raise ValueError(
            f"all {len(train):,} training impressions are {'positive' if share else 'negative'},"
            " expected both; change evaluation.positive_strength"
        )
    return share


def _users(train: Impressions, num_users: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each user the codes of the last training impression, [U, F]; and who has any, [U]."""
    user_UF = np.zeros((num_users, train.user_NF.shape[1]), dtype=np.int32)
    user_UF[train.user] = train.user_NF  # rows are by time: the last one stays
    present_U = np.zeros(num_users, dtype=bool)
    present_U[train.user] = True
    return user_UF, present_U


def _expected(
    rows: int, share: float, config: GroupceConfig
) -> tuple[dict[str, object], list[str]]:
    """How many rows may be expected in groups with both labels, and what to say of it."""
    if not config.has_codes:
        return {}, []
    shares = [
        expected_informative_share(rows, config.codes**depth, share)
        for depth in range(1, config.levels + 1)
    ]
    warning = too_small_batches(rows, shares, config)
    if warning:
        log.warning("%s", warning)
    facts = {"expected_informative_shares": shares, "rows_per_step_and_process": rows}
    return facts, [warning] if warning else []
