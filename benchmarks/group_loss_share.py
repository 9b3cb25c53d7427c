"""What lists in nested groups of users cost, as a share of a step of groupce.

A step is forward, backward, clip and optimizer on a batch. The group loss is: codes of the batch's
users, codebooks that follow them, and ListCE with its gradient on all levels. The LogLoss of the
quantised user is a second pass of the main network, and stands beside it in `parts`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.clicks import drawn
from benchmarks.constrained_beam_step import take_turns
from benchmarks.rankgr_answers import device_of
from feature_store.settings import Settings
from training.data.features import Group
from training.fit.clip import GradientClip
from training.fit.fitting import LoopSettings
from training.fit.optimizer import make_optimizer
from training.models.groupce.batches import ImpressionBatch, Rows
from training.models.groupce.model import Groupce
from training.settings.groupce import GroupceConfig

GOAL = 0.25
ROWS, LEVELS, CODES = 8192, 3, 16
USERS, ITEMS = 27_285, 7_551
"""KuaiRand-Pure's."""
SIZES: tuple[tuple[Group, int], ...] = (
    ("user", USERS + 1),
    *(("user", size) for size in (3, 9, 7, 8, 9, 8, 3, 8, 51, 6, 12, 17, 6)),
    ("item", ITEMS + 1),
    *(("item", size) for size in (6000, 4, 70, 17, 60)),
    *(("context", size) for size in (25, 8, 11, 11, 11, 11)),
)
"""Fields as its files have them: group, and codes of each."""


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Milliseconds of a step's group loss, over those of the step.

    Args:
        settings: the device.
        quick: a sixteenth of the rows and two rounds, to see that it runs.
    """
    device = device_of(settings)
    rows, rounds = (ROWS // 16, 2) if quick else (ROWS, 15)
    batch = batch_of(rows).to(device)
    whole, alone = (step_of(model_of(loss, device), batch) for loss in ("groupce", "none"))
    of_loss, of_quantised = _parts(model_of("groupce", device), batch)
    work: dict[str, Callable[[], object]] = {
        "step": whole,
        "without": alone,
        "loss": of_loss,
        "quantised": of_quantised,
    }
    parts = {name: 1000 * taken for name, taken in take_turns(work, rounds=rounds).items()}
    return {
        "name": "group_loss_share",
        "work": f"{rows:,} impressions of {len(SIZES)} fields, {CODES} codes on {LEVELS} levels;"
        f" dcn_v2, {device}, {torch.get_num_threads()} threads",
        "unit": "ms",
        "ours": parts["loss"],
        "peers": {"step": parts["step"]},
        "ratio": parts["loss"] / parts["step"],
        "goal": GOAL,
        "parts": parts,
    }


def batch_of(rows: int) -> ImpressionBatch:
    """A batch as the objective draws it."""
    impressions = drawn(4 * rows, SIZES, num_users=USERS)
    chosen = np.random.default_rng(1).permutation(4 * rows)[:rows]
    return Rows.of(impressions, 2, None, 0).batch(chosen, rows)


def model_of(loss: str, device: str) -> Groupce:
    """A model in training."""
    torch.manual_seed(0)
    config = GroupceConfig(ranking_loss=loss, levels=LEVELS, codes=CODES)  # type: ignore[arg-type]
    features = drawn(2, SIZES, num_users=2).features
    model: Groupce = Groupce(config, features).to(device).train()
    return model


def step_of(model: Groupce, batch: ImpressionBatch) -> Callable[[], None]:
    """A step, as the loop does it."""
    settings = LoopSettings()
    optimizer = make_optimizer(model, settings)
    clip = GradientClip(model, settings.gradient_clip_factor)

    def step() -> None:
        (model(batch) / batch.num_targets).backward()
        clip.cut()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _parts(model: Groupce, batch: ImpressionBatch) -> tuple[Callable[[], None], Callable[[], None]]:
    """The group loss by itself, forward and backward, and that of the quantised user."""
    assert model.codes is not None and model.ranking is not None
    model(batch)  # codebooks begin
    network, ranking = model.backbone, model.ranking
    with torch.no_grad():
        user_BD = network.user(batch.user_BF)
        item_BD = network.item(batch.item_BF, batch.context_BF, None)
        logits_B = network(user_BD, item_BD)[:, 0]
    logits_B.requires_grad_()

    def of_loss() -> None:
        codes_BQ, _ = model._coded(model.codes, user_BD, batch)  # type: ignore[arg-type]
        ranking(logits_B, batch, codes_BQ).backward()

    def of_quantised() -> None:
        vectors_BD: Tensor = user_BD.clone().requires_grad_()
        model._quantised_loss(
            vectors_BD, torch.zeros_like(user_BD), item_BD, batch.labels_B.float()
        ).backward()

    return of_loss, of_quantised
