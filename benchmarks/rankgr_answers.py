"""What the measures of rankgr's answers share: a model with random weights, and its questions.

Four levels of codes, so that a catalogue of this size is answered by a beam.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.constrained_beam_step import CODES, CONTENT, take_turns, uneven_codes
from training.models.rankgr.model import Rankgr
from training.settings.rankgr import RankgrConfig

if TYPE_CHECKING:  # a bare GPU machine has no pydantic
    from feature_store.settings import Settings

LEVELS = 4


def device_of(settings: "Settings") -> str:
    """Where is measured."""
    if settings.device != "auto":
        return settings.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def model_of(num_items: int, device: str, **shape: Any) -> Rankgr:
    """A rankgr whose second phase has something to say, of the default shape but for some fields.

    Args:
        num_items: of the catalogue.
        device: where it computes.
        shape: fields of `RankgrConfig`.
    """
    codes_VQ = torch.from_numpy(uneven_codes(num_items, levels=LEVELS).astype("int32"))
    torch.manual_seed(0)
    content_VE = torch.randn(num_items, CONTENT)
    model = Rankgr(RankgrConfig(**shape), codes_VQ, content_VE, (CODES,) * LEVELS)
    assert model.scorer is not None
    torch.nn.init.normal_(model.scorer.out.weight, std=0.1)  # it begins at zero
    model.to(device).eval()
    return model


def two_ways(
    name: str,
    work: str,
    ways: dict[str, Callable[[], object]],
    *,
    each: int,
    rounds: int,
    goal: float,
) -> dict[str, Any]:
    """The record of a measure of two ways to the same answers.

    Args:
        name: of the measure.
        work: what is done, on what.
        ways: ours, then the peer.
        each: histories that a call answers; milliseconds are of one.
        rounds: turns of each way.
        goal: of the ratio.
    """
    seconds = take_turns(ways, rounds=rounds)
    ours, peer = (1000 * seconds[way] / each for way in ways)
    return {
        "name": name,
        "work": work,
        "unit": "ms",
        "ours": ours,
        "peers": {list(ways)[1]: peer},
        "ratio": ours / peer,
        "goal": goal,
    }
