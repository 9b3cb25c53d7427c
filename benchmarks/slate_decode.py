"""What the measures of slate decoding share: the models, the questions, and the flat decoder.

HiGR and the flat decoder have equally many weights, the depth of the paper's planner and the same
work: after queries that were read beforehand slates of 10 are said, only items that exist, none
twice. Inside each item there is the beam that a family has unless told otherwise: HiGR chooses by
cosines among 32 items, the flat decoder takes the first of 8. It is greedy over places like HiGR.
(Beams over whole slates, as it is usually run, would cost it as many steps and a cache per beam on
top.) They take turns, so that both see the same weather on the machine. To read the queries costs
both the same; with it the times are in `parts`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from benchmarks.constrained_beam_step import CODES, CONTENT, LEVELS, take_turns, uneven_codes
from training import inference
from training.data.queries import Queries
from training.models.flat_slate.model import FlatSlate
from training.models.higr.model import Higr
from training.models.slate.model import SlateModel
from training.settings.families import FlatSlateConfig
from training.settings.higr import HigrConfig

if TYPE_CHECKING:  # a bare GPU machine has no pydantic
    from feature_store.settings import Settings

SLATE, HISTORY, LAYERS = 10, 50, 14
WIDTH, HEADS = 128, 4
ALIKE = 0.05
"""Share by which the numbers of weights may differ."""


def measure_feedback(
    settings: "Settings", feedback: Literal["item", "latent"], goal: float, *, quick: bool
) -> dict[str, Any]:
    """Median milliseconds per slate of HiGR with this feedback and of the flat decoder.

    Args:
        settings: the device.
        feedback: what the planner is told of the place before.
        goal: of the ratio.
        quick: a tenth of the items, two rows and a round, to see that it runs.
    """
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    num_items, rows, _ = size(quick=quick)
    milliseconds = milliseconds_per_slate(feedback, device, quick=quick)
    ours, theirs = milliseconds["higr"], milliseconds["flat"]
    return {
        "name": f"slate_decode_{feedback}",
        "work": f"slates of {SLATE} after {HISTORY} events, {rows} at once, {LEVELS} levels of"
        f" {CODES} codes, {num_items:,} items, beam {HigrConfig().beam_width} against"
        f" {FlatSlateConfig().beam_width}; width {WIDTH}, {LAYERS} layers; {device},"
        f" {torch.get_num_threads()} threads",
        "unit": "ms",
        "ours": ours,
        "peers": {"flat decoder": theirs},
        "ratio": ours / theirs,
        "goal": goal,
        "parts": milliseconds,
    }


def size(*, quick: bool) -> tuple[int, int, int]:
    """Items, rows at once, and rounds."""
    return (10_000, 2, 1) if quick else (100_000, 64, 5)


def milliseconds_per_slate(
    feedback: Literal["item", "latent"], device: str, *, quick: bool
) -> dict[str, float]:
    """Medians of both decoders after queries that were read, and with the reading."""
    num_items, rows, rounds = size(quick=quick)
    higr, flat = models(num_items, feedback, device)
    queries = questions(rows, num_items)
    seconds = take_turns(
        {
            "higr": saying(higr, queries),
            "flat": saying(flat, queries),
            "higr with queries": lambda: inference.recommend(higr, queries, SLATE),
            "flat with queries": lambda: inference.recommend(flat, queries, SLATE),
        },
        rounds=rounds,
    )
    return {name: 1000 * taken / rows for name, taken in seconds.items()}


def saying(model: SlateModel, queries: Queries) -> Callable[[], object]:
    """Says slates after queries that are read now, once."""
    state = model.read(queries)
    seen_BE = torch.from_numpy(queries.excluded_BE).to(model.codes_VQ.device)

    def say() -> object:
        with torch.inference_mode():
            return model.say(state.read, SLATE, seen_BE)

    return say


def models(
    num_items: int, feedback: Literal["item", "latent"], device: str
) -> tuple[Higr, FlatSlate]:
    """Both models with random weights, equally many."""
    codes_VQ = torch.from_numpy(uneven_codes(num_items).astype(np.int32))
    sizes = (CODES,) * LEVELS
    torch.manual_seed(0)
    content_VE = torch.randn(num_items, CONTENT)
    shape: dict[str, Any] = {"width": WIDTH, "num_heads": HEADS}
    higr = Higr(
        HigrConfig(planner_layers=LAYERS, planner_feedback=feedback, **shape),
        codes_VQ,
        content_VE,
        sizes,
    )
    flat_shape = FlatSlateConfig(num_layers=LAYERS, **shape)
    flat = FlatSlate(flat_shape, codes_VQ, content_VE, sizes)
    ours, theirs = (sum(p.numel() for p in model.parameters()) for model in (higr, flat))
    if abs(ours / theirs - 1) > ALIKE:
        raise AssertionError(f"{ours:,} weights against {theirs:,}: not the same model size")
    return higr.to(device).eval(), flat.to(device).eval()


def questions(rows: int, num_items: int) -> Queries:
    """Histories of random events an hour apart; what was seen is left out."""
    draw = np.random.default_rng(0)
    items_BL = draw.integers(0, num_items, (rows, HISTORY), dtype=np.int32)
    return Queries(
        items_BL=items_BL,
        strengths_BL=draw.integers(-1, 4, (rows, HISTORY), dtype=np.int8),
        times_BL=np.tile(np.arange(HISTORY) * 3600, (rows, 1)),
        asked_at_B=np.full(rows, HISTORY * 3600),
        lengths_B=np.full(rows, HISTORY),
        excluded=items_BL.flatten(),
        excluded_offsets=np.arange(rows + 1) * HISTORY,
    )
