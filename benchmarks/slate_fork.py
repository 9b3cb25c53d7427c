"""How far two copies of HiGR grow apart that began as good as equal, and two of the flat decoder.

A fit whose steps enlarge what rounding does gives other weights on another machine, and its last
epochs go nowhere. After some epochs the weights are copied, each moved by about a millionth of
itself, and both copies take the same steps: the same batches, the same dropout. What is measured is
the distance between them over what it was at first. 1: a difference stays what
it was.

MovieLens-100K cut into sessions as in `slate_epoch`, small models, the learning rate and the clip
of the preset movielens-100k.
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.constrained_beam_step import CONTENT, uneven_codes
from benchmarks.sasrec_epoch import read_movielens
from benchmarks.slate_epoch import CODES, LEVELS, sessions
from feature_store.preset import load
from feature_store.settings import Settings
from training.config import PART
from training.data.slate_batches import SlateBatch, SlatePlan
from training.data.slates import Slates
from training.fit.clip import GradientClip
from training.fit.fitting import LoopSettings
from training.fit.optimizer import make_optimizer
from training.models.flat_slate.model import FlatSlate
from training.models.higr.model import Higr
from training.models.slate.model import SlateModel
from training.settings.families import FlatSlateConfig
from training.settings.higr import HigrConfig

GOAL = 1.2
APART = 1e-6
"""By what share of itself a weight is moved, as a standard deviation."""
BEFORE, AFTER = 300, 80
"""Steps before the weights are copied, some two epochs, and after."""
PLAN = SlatePlan(20, 1024, 5, positions_per_item=LEVELS + 1, draws_ties=True)
SHAPE: dict[str, Any] = {"width": 32, "max_history": PLAN.max_history}
MODELS: dict[str, tuple[type[SlateModel], Any]] = {
    "higr": (Higr, HigrConfig(**SHAPE)),
    "flat_slate": (FlatSlate, FlatSlateConfig(**SHAPE)),
}


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """By what factor the distance of two copies has grown after the steps.

    Args:
        settings: where the data lies or is fetched to.
        quick: ten steps before and after, to see that it runs.
    """
    from pipelines.sources.fetch import fetch

    slates = sessions(read_movielens(fetch("movielens-100k", settings))).targets()
    before, after = (10, 10) if quick else (BEFORE, AFTER)
    # HiGR as the preset fits it, its rival alike.
    training = load(PART, "movielens-100k", folder=settings.presets).training_for("higr")
    loop = LoopSettings(
        learning_rate=training.learning_rate,
        warmup_steps=training.warmup_steps,
        weight_decay=training.weight_decay,
        gradient_clip_factor=training.gradient_clip_factor,
    )
    growth = {family: grown(family, slates, loop, before, after) for family in MODELS}
    return {
        "name": "slate_fork",
        "work": f"MovieLens-100K, {len(slates):,} sessions; width {SHAPE['width']}, {before} steps,"
        f" copied {APART:g} apart, {after} steps more; learning rate {loop.learning_rate:g}, clip"
        f" {loop.gradient_clip_factor:g} times the mean; one copy against the other, cpu",
        "unit": "×",
        "ours": growth["higr"],
        "peers": {"flat decoder": growth["flat_slate"]},
        "ratio": growth["higr"] / growth["flat_slate"],
        "goal": GOAL,
    }


def grown(family: str, slates: Slates, loop: LoopSettings, before: int, after: int) -> float:
    """The distance of two copies of a model after the steps, over that when they were made.

    Args:
        family: a key of `MODELS`.
        slates: what is learnt.
        loop: learning rate, warm-up, decay and clip.
        before: steps before the weights are copied.
        after: steps of both copies.
    """
    model_class, config = MODELS[family]
    codes_VQ = uneven_codes(int(slates.histories.items.max()) + 1)[:, :LEVELS] % CODES
    torch.manual_seed(0)
    codes, content = torch.from_numpy(codes_VQ).int(), torch.randn(len(codes_VQ), CONTENT)
    model = model_class(config, codes, content, (CODES,) * LEVELS).train()
    optimizer, clip = make_optimizer(model, loop), GradientClip(model, loop.gradient_clip_factor)
    batches = _endless(slates)
    for step in range(before):
        _step(model, optimizer, clip, next(batches), step, loop)
    other = copy.deepcopy(model)
    its_optimizer, its_clip = make_optimizer(other, loop), GradientClip(other, clip.times)
    its_clip.restore(clip.state())
    its_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    with torch.no_grad():
        torch.manual_seed(0)
        for parameter in other.parameters():
            parameter.mul_(1 + APART * torch.randn_like(parameter))
    first = _distance(model, other)
    for step in range(before, before + after):
        batch = next(batches)
        _step(model, optimizer, clip, batch, step, loop)
        _step(other, its_optimizer, its_clip, batch, step, loop)
    return _distance(model, other) / first


def _endless(slates: Slates) -> Iterator[SlateBatch]:
    epoch = 0
    while True:
        yield from PLAN.batches(slates, epoch)
        epoch += 1


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    clip: GradientClip,
    batch: SlateBatch,
    step: int,
    loop: LoopSettings,
) -> None:
    """One step of training as `training.fit.loop` makes it; its chance is that of the step."""
    torch.manual_seed(step)
    for group in optimizer.param_groups:
        group["lr"] = loop.learning_rate * min(1.0, (step + 1) / max(1, loop.warmup_steps))
    (model(batch) / batch.num_targets).backward()
    clip.cut()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _distance(model: nn.Module, other: nn.Module) -> float:
    def weights(each: nn.Module) -> Tensor:
        return torch.cat([parameter.detach().double().flatten() for parameter in each.parameters()])

    return float((weights(model) - weights(other)).norm())
