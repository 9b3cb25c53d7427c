"""HiGR's first experiment (arXiv:2512.24787): CRQ-VAE against RQ-VAE and RQ-KMeans, no generator.

A fifth of the items tests: no fit sees them or a pair with one of them. Settings were chosen on a
quarter more, which validates, and is fitted on once they are chosen. Every kind is fitted under
several seeds. What is asked of an item is whether it shares its prefix with its nearest neighbour
by embedding, and with items that the same people took to soon before or after it. Large clusters
agree by chance, so the lift over random pairs stands beside it; at the last level to agree is to
collide, so consistency is read above it.

A cell is one kind under one seed; a cell that is there, of the same settings and data, is not
fitted again. The paper's own tables are not public.

Legend: N items, D embedding width, Q levels, P pairs, A anchors, C columns.
"""

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from training.data.histories import Histories
from training.evaluation.bootstrap import bootstrap_means, interval, over_seeds
from training.evaluation.projection import points_by_prefix
from training.evaluation.tokenizer import (
    fit_without,
    held_out_items,
    measure_codes,
    measure_unseen,
    neighbour_pairs,
)
from training.report.charts import prefix_clusters
from training.tokenizers import TOKENIZERS
from training.tokenizers.interface import Tokenizer
from training.tokenizers.positives import pairs_among

LOG = logging.getLogger(__name__)
TEST_SHARE = 0.2
VALIDATION_SHARE = 0.25
"""Of all items; taken from those that don't test."""
ITEM_SEED = 1
SAMPLES = 2000
CONFIDENCE = 0.95

KINDS = ("rq_kmeans", "rq_vae", "crq_vae")
_RQ_VAE = {"sphere": False, "warmup_epochs": 0, "epochs": 40, "ema_decay": 0.95}
_CRQ_VAE = {"given_share": 0.0}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "movielens-100k": {
        "all": {"num_levels": 3, "codebook_size": 64},
        "rq_vae": _RQ_VAE,
        "crq_vae": _CRQ_VAE,
    },
    "amazon-office": {
        "all": {"num_levels": 4, "codebook_size": 64},
        "rq_vae": _RQ_VAE,
        "crq_vae": _CRQ_VAE,
    },
}
"""Dataset → what all kinds share (the presets' shape), and what each has of its own."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One catalogue and where its cells are kept.

    Attributes:
        dataset: a key of `SETTINGS`.
        embeddings_ND: float32, on the CPU.
        pairs_P2: rows of items that people took to together.
        directory: of the cells.
        held_out: which items are asked; `validation` leaves the test items out altogether.
        device: where tokenizers are fitted.
    """

    dataset: str
    embeddings_ND: Tensor
    pairs_P2: Tensor
    directory: Path
    held_out: Literal["test", "validation"] = "test"
    device: str = "cpu"


def cooccurrence_pairs(
    histories: Histories,
    item_indices: np.ndarray,
    *,
    positive_strength: int = 2,
    window: int = 5,
    least_together: int = 2,
    neighbours: int = 10,
) -> Tensor:
    """Items that people took to soon after each other.

    Two items are together once for each time that a person's positive events hold them at most
    `window` places apart; an item's partners are those of largest `together / √(n_a n_b)`, n the
    positive events of an item, ties by row.

    Args:
        histories: what may be learnt from.
        item_indices: ascending, [N]; an item's row is its place here, others are passed over.
        positive_strength: weaker events don't count.
        window: places.
        least_together: a partner was met so often at least.
        neighbours: most partners of an item.
    Returns:
        Rows (anchor, positive), int64, [P,2], best partner first within an anchor.
    """
    place_E = np.searchsorted(item_indices, histories.items).clip(max=len(item_indices) - 1)
    is_known_E = item_indices[place_E] == histories.items
    counted_E = is_known_E & (histories.strengths >= positive_strength)
    user_E, row_E = histories.users[counted_E], place_E[counted_E].astype(np.int64)
    num_items = len(item_indices)
    count_N = np.bincount(row_E, minlength=num_items)
    cells = [np.zeros(0, dtype=np.int64)]
    for apart in range(1, window + 1):
        first, second = row_E[:-apart], row_E[apart:]
        meets = (user_E[:-apart] == user_E[apart:]) & (first != second)
        cells.append(first[meets] * num_items + second[meets])
        cells.append(second[meets] * num_items + first[meets])
    cell_P, together_P = np.unique(np.concatenate(cells), return_counts=True)
    cell_P, together_P = (
        cell_P[together_P >= least_together],
        together_P[together_P >= least_together],
    )
    anchor_P, other_P = cell_P // num_items, cell_P % num_items
    score_P = together_P / np.sqrt(count_N[anchor_P] * count_N[other_P])
    order = np.lexsort((other_P, -score_P, anchor_P))
    anchor_P, other_P = anchor_P[order], other_P[order]
    rank_P = np.arange(len(anchor_P)) - np.searchsorted(anchor_P, anchor_P)
    is_kept_P = rank_P < neighbours
    return torch.from_numpy(np.stack([anchor_P[is_kept_P], other_P[is_kept_P]], axis=1))


def run(experiment: Experiment, *, kinds: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """Fit and measure what is missing; returns the table.

    Raises:
        ValueError: a kind is not compared, or there is no seed.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ValueError(f"no tokenizer {unknown} is compared; there are {list(KINDS)}")
    if not seeds:
        raise ValueError("no seeds; a kind is fitted once for each")
    found = {kind: [_cell(experiment, kind, seed) for seed in seeds] for kind in kinds}
    catalogue = _catalogue(experiment)
    return {
        "dataset": experiment.dataset,
        "held_out": experiment.held_out,
        "items": len(catalogue.embeddings_ND),
        "unseen_items": int(catalogue.is_unseen_N.sum()),
        "pairs": len(catalogue.pairs_P2),
        "seeds": list(seeds),
        "settings": SETTINGS[experiment.dataset],
        "rows": [{"kind": kind, **_figures(cells)} for kind, cells in found.items()],
        "differences": _differences(found),
    }


def pictures(experiment: Experiment, *, kinds: Sequence[str], seed: int) -> dict[str, str]:
    """Each kind's unseen items in the plane, coloured by first code, as SVG."""
    drawn = {}
    for kind in kinds:
        points = _cell(experiment, kind, seed)[1]["points"]
        drawn[kind] = prefix_clusters([point[:2] for point in points], [int(p[2]) for p in points])
    return drawn


@dataclass(frozen=True)
class _Catalogue:
    embeddings_ND: Tensor
    pairs_P2: Tensor
    is_unseen_N: Tensor


def _catalogue(experiment: Experiment) -> _Catalogue:
    """The items that an experiment knows of, and which of them it asks about."""
    num_items = len(experiment.embeddings_ND)
    is_test_N = held_out_items(num_items, TEST_SHARE, seed=ITEM_SEED)
    if experiment.held_out == "test":
        return _Catalogue(experiment.embeddings_ND, experiment.pairs_P2, is_test_N)
    share = VALIDATION_SHARE / (1 - TEST_SHARE)
    num_rest = int((~is_test_N).sum())
    return _Catalogue(
        experiment.embeddings_ND[~is_test_N],
        pairs_among(experiment.pairs_P2, ~is_test_N),
        held_out_items(num_rest, share, seed=ITEM_SEED),
    )


def _config(experiment: Experiment, kind: str, seed: int) -> Any:
    settings = SETTINGS[experiment.dataset]
    shared = {**settings["all"], "seed": seed}
    return TOKENIZERS[kind].config_from({**shared, "settings": settings})


def _identity(experiment: Experiment, kind: str, seed: int) -> dict[str, Any]:
    """What determines a cell's figures; a kept cell of another identity is made anew."""
    return {
        "kind": kind,
        "config": asdict(_config(experiment, kind, seed)),
        "held_out": experiment.held_out,
        "item_seed": ITEM_SEED,
        "items": _digest(experiment.embeddings_ND),
        "pairs": _digest(experiment.pairs_P2),
    }


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


def _cell(experiment: Experiment, kind: str, seed: int) -> tuple[pa.Table, dict[str, Any]]:
    """Which unseen items agree with whom, and the facts of one fit."""
    stem = experiment.directory / f"{kind}-{experiment.held_out}-{seed}"
    values_path, facts_path = stem.with_suffix(".parquet"), stem.with_suffix(".json")
    identity = _identity(experiment, kind, seed)
    if values_path.is_file() and facts_path.is_file():
        facts = json.loads(facts_path.read_text(encoding="utf-8"))
        if facts["identity"] == identity:
            return pq.read_table(values_path), facts
    experiment.directory.mkdir(parents=True, exist_ok=True)
    catalogue = _catalogue(experiment)
    started = time.perf_counter()
    tokenizer = fit_without(
        TOKENIZERS[kind],
        catalogue.embeddings_ND.to(experiment.device),
        _config(experiment, kind, seed),
        catalogue.is_unseen_N,
        catalogue.pairs_P2,
    ).to("cpu")
    seconds = round(time.perf_counter() - started, 1)
    values, figures = _measured(tokenizer, catalogue)
    facts = {"identity": identity, "fit_seconds": seconds, "fit": tokenizer.report, **figures}
    pq.write_table(values, values_path)
    facts_path.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    LOG.info("%s, seed %d: fitted in %.0f s", kind, seed, seconds)
    return values, facts


def _measured(tokenizer: Tokenizer, catalogue: _Catalogue) -> tuple[pa.Table, dict[str, Any]]:
    """Per pair with an unseen item, at each depth, whether it agrees; and all figures."""
    embeddings_ND, is_unseen_N = catalogue.embeddings_ND, catalogue.is_unseen_N
    codes_NQ = tokenizer.encode(embeddings_ND)
    unseen = torch.nonzero(is_unseen_N).squeeze(1)
    near_P2 = neighbour_pairs(embeddings_ND, unseen)
    given_P2 = catalogue.pairs_P2[is_unseen_N[catalogue.pairs_P2].any(1)]
    pairs_P2 = torch.cat([near_P2, given_P2])
    same_PQ = (codes_NQ[pairs_P2[:, 0]] == codes_NQ[pairs_P2[:, 1]]).long().cumprod(1)
    # Draws are over unseen items: a pair of two belongs to its anchor.
    owner_P = torch.where(is_unseen_N[pairs_P2[:, 0]], pairs_P2[:, 0], pairs_P2[:, 1])
    columns = {f"depth_{depth}": same_PQ[:, depth - 1].numpy() for depth in _depths(tokenizer)}
    source = ["near"] * len(near_P2) + ["given"] * len(given_P2)
    values = pa.table({"item": owner_P.numpy(), "source": source, **columns})
    figures = measure_codes(tokenizer, embeddings_ND, codes_NQ, pairs_P2=catalogue.pairs_P2)
    figures["held_out"] = measure_unseen(
        tokenizer, embeddings_ND, is_unseen_N, seed=0, pairs_P2=catalogue.pairs_P2
    )
    points = points_by_prefix(embeddings_ND[is_unseen_N], codes_NQ[is_unseen_N])
    return values, {"quality": figures, "points": points}


def _depths(tokenizer: Tokenizer) -> range:
    """Prefix lengths at which to agree is not to collide; the one there is of a single level."""
    return range(1, max(2, tokenizer.num_levels))


def _figures(cells: Sequence[tuple[pa.Table, Mapping[str, Any]]]) -> dict[str, Any]:
    """Mean over seeds of each figure, and its deviation over seeds."""
    found = [_figures_of(facts["quality"]) for _, facts in cells]
    metrics = {name: over_seeds([figures[name] for figures in found]) for name in found[0]}
    return {"metrics": metrics, "fit_seconds": sum(facts["fit_seconds"] for _, facts in cells)}


def _figures_of(quality: Mapping[str, Any]) -> dict[str, float]:
    """What the table has of one fit, by name."""
    levels, held_out = quality["levels"], quality["held_out"]
    figures = {
        "unique": 1 - quality["collision"]["share"],
        "largest_bucket": quality["collision"]["largest_bucket"],
        "gini": quality["collision"]["gini"],
        "dead": max(level["dead_share"] for level in levels),
        "reconstruction_mse": quality["reconstruction_mse"],
    }
    for depth, level in enumerate(levels, start=1):
        figures[f"residual_{depth}"] = level["residual_share"]
        figures[f"conditional_entropy_{depth}"] = level["conditional_entropy_nats"]
        figures[f"largest_share_{depth}"] = level["largest_share"]
    for depth in range(1, max(2, len(levels))):
        figures[f"purity_{depth}"] = held_out["purity"][depth - 1]["cosine"]
        for name, short in (("consistency", "near"), ("consistency_given", "given")):
            if name in held_out:
                figures[f"{short}_{depth}"] = held_out[name][depth - 1]["agreement"]
                figures[f"{short}_lift_{depth}"] = held_out[name][depth - 1]["lift"]
    return figures


def _differences(
    found: Mapping[str, Sequence[tuple[pa.Table, Mapping[str, Any]]]],
) -> list[dict[str, Any]]:
    """CRQ-VAE's agreement minus each other kind's, by source and depth, with an interval.

    Seeds are averaged within a pair; draws are over unseen items with all their pairs.
    """
    if "crq_vae" not in found:
        return []
    kinds = [kind for kind in found if kind != "crq_vae"]
    first = found["crq_vae"][0][0]
    depths = [name for name in first.column_names if name.startswith("depth_")]
    rows = []
    for source in sorted(set(first["source"].to_pylist()), reverse=True):
        is_own = np.array(first["source"].to_pylist()) == source
        items, item_P = np.unique(first["item"].to_numpy()[is_own], return_inverse=True)
        for name in depths:
            means = {
                kind: np.mean([values[name].to_numpy()[is_own] for values, _ in cells], axis=0)
                for kind, cells in found.items()
            }
            columns = [np.bincount(item_P)]
            columns += [np.bincount(item_P, means["crq_vae"] - means[kind]) for kind in kinds]
            sums_UC = np.stack(columns, axis=1).astype(np.float64)
            draws_SC = bootstrap_means(sums_UC, samples=SAMPLES, seed=0)
            for place, kind in enumerate(kinds, start=1):
                point = float(sums_UC[:, place].sum() / sums_UC[:, 0].sum())
                bounds = interval(point, draws_SC[:, place] / draws_SC[:, 0], confidence=CONFIDENCE)
                rows.append(
                    {
                        "source": source, "depth": int(name.removeprefix("depth_")),
                        "theirs": kind, "items": len(items), **asdict(bounds),
                    }
                )  # fmt: skip
    return rows


_SOURCES = {"near": "nearest neighbour", "given": "taken to together"}


def markdown(found: Mapping[str, Any]) -> str:
    """The tables: collisions and codes, consistency by depth with its lift, differences."""
    rows, num_levels = found["rows"], found["settings"]["all"]["num_levels"]
    depths = range(1, max(2, num_levels))
    shape = f"{num_levels} levels of {found['settings']['all']['codebook_size']} codes"
    lines = [
        f"### Tokenizers on {found['dataset']}: {found['items']:,} items, {shape},"
        f" {found['unseen_items']:,} {found['held_out']} items unseen,"
        f" {len(found['seeds'])} seed(s)",
        "",
        "Before collisions are resolved; ± over seeds.",
        "",
        *_table(
            rows,
            {
                "unique": ("unique", 3), "dead": ("dead codes", 3),
                "largest_bucket": ("largest bucket", 1), "gini": ("Gini of buckets", 3),
                **{f"residual_{d}": (f"left after {d}", 3) for d in range(1, num_levels + 1)},
                **{
                    f"conditional_entropy_{d}": (f"H({d}), nats", 2)
                    for d in range(1, num_levels + 1)
                },
            },
        ),
        "",
        "Consistency of unseen items: share of pairs with the same prefix (times as often as random"
        " pairs), and mean cosine of unseen items within a prefix.",
        "",
        *_table(
            rows,
            {
                **{
                    f"{source}_{d}": (f"{name}, depth {d}", 3)
                    for source, name in _SOURCES.items()
                    for d in depths
                },
                **{f"purity_{d}": (f"cosine, depth {d}", 3) for d in depths},
            },
        ),
    ]  # fmt: skip
    if found["differences"]:
        lines += [
            "",
            f"crq_vae minus the others, {CONFIDENCE:.0%} intervals over unseen items:",
            "",
            "| pairs | depth | against | difference | interval |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {_SOURCES[row['source']]} | {row['depth']} | {row['theirs']} |"
            f" {row['point']:+.4f} | {row['low']:+.4f} to {row['high']:+.4f} |"
            for row in found["differences"]
        ]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[str, int]]) -> list[str]:
    shown = {name: about for name, about in columns.items() if name in rows[0]["metrics"]}
    lines = [
        "| tokenizer | " + " | ".join(title for title, _ in shown.values()) + " |",
        "|---|" + "---|" * len(shown),
    ]
    for row in rows:
        cells = [_shown(row["metrics"], name, digits) for name, (_, digits) in shown.items()]
        lines.append(f"| {row['kind']} | " + " | ".join(cells) + " |")
    return lines


def _shown(metrics: Mapping[str, Any], name: str, digits: int) -> str:
    value = metrics[name]
    spread = value["seed_deviation"]
    text = f"{value['mean']:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")
    source, _, depth = name.rpartition("_")
    lift = metrics.get(f"{source}_lift_{depth}")
    return text if lift is None else f"{text} ({lift['mean']:.1f}×)"
