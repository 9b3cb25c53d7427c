"""What it costs to look at candidates again: refined scoring beside the beam that found them.

Ours is the second phase over 100 candidates of histories that were read, which includes the keys
that candidates look at; the peer is the constrained beam search of as many semantic IDs, without
the cosines that rankgr adds to it. They take turns, so that both see the same weather on the
machine.
"""

from typing import Any

import torch

from benchmarks.constrained_beam_step import take_turns
from benchmarks.rankgr_answers import LEVELS, device_of, model_of
from benchmarks.slate_decode import HISTORY, questions
from feature_store.settings import Settings
from training.decoding.beam import beam_search, top_items

GOAL = 0.2
CANDIDATES = 100


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Median milliseconds per history of refined scoring, and of the beam.

    Args:
        settings: the device.
        quick: a tenth of the items, two rows and a round, to see that it runs.
    Returns:
        The measure; `parts` has the milliseconds of scoring, of the keys beside it, of the beam,
        and of a whole answer, which includes reading.
    """
    device = device_of(settings)
    num_items, rows, rounds = (10_000, 2, 1) if quick else (100_000, 64, 9)
    model = model_of(num_items, device, candidates=CANDIDATES)
    assert model.scorer is not None and model.decoder is not None
    scorer, decoder, queries = model.scorer, model.decoder, questions(rows, num_items)
    state = model.read(queries)
    seen_BE = torch.from_numpy(queries.excluded_BE).to(device)
    _, y_BTD, _ = model.read_all(queries)

    def beam() -> torch.Tensor:
        step = decoder.step(state.expected.y_BD, model.items)
        found = beam_search(
            step,
            model.trie,
            num_rows=rows,
            beam_width=CANDIDATES,
            seen_BE=seen_BE,
            normalisation="all",
        )
        return top_items(found, model.trie, CANDIDATES, seen_BE=seen_BE)[0]

    with torch.inference_mode():
        items_BC = beam()
        log_probs_BC = torch.zeros(items_BC.shape, device=device)
        events_BTD = torch.zeros_like(y_BTD)
        seconds = take_turns(
            {
                "scoring": lambda: model.refine(state, items_BC, log_probs_BC),
                "keys": lambda: scorer.remember(y_BTD, events_BTD),
                "beam": beam,
                "answer": lambda: model.recommend(model.read(queries), CANDIDATES),
            },
            rounds=rounds,
        )
    parts = {name: 1000 * taken / rows for name, taken in seconds.items()}
    ours = parts["scoring"] + parts["keys"]
    return {
        "name": "rsp_share",
        "work": f"{CANDIDATES} candidates of {rows} histories of {HISTORY} events, {LEVELS} levels"
        f" of codes, {num_items:,} items; width {model.config.width}; {device},"
        f" {torch.get_num_threads()} threads",
        "unit": "ms",
        "ours": ours,
        "peers": {"beam": parts["beam"]},
        "ratio": ours / parts["beam"],
        "goal": GOAL,
        "parts": parts,
    }
