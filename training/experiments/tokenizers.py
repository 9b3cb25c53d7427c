"""Cells of tokenizers: fitted without a fifth of the items, and asked about those.

N items, D embedding width, Q levels, P pairs, U unseen items, M metrics.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.evaluation.tokenizer import (
    fit_without,
    held_out_items,
    measure_codes,
    measure_unseen,
    neighbour_pairs,
)
from training.experiments.cells import (
    Measured,
    machine,
    made,
    read_json,
    read_measured,
    write_json,
    write_measured,
)
from training.experiments.ratios import Ratios
from training.experiments.request import Request
from training.experiments.table import Fit
from training.programs.tokenizer_input import tokenizer_input
from training.registry.bundle import digest_of
from training.tokenizers import TOKENIZERS
from training.tokenizers.interface import Tokenizer

LOG = logging.getLogger(__name__)
VERSION = 1
"""Of how a cell is fitted and asked; cells of another version are made anew."""
UNSEEN_SHARE = 0.2
ITEM_SEED = 1
"""Which items are unseen: those of seed 0 had been looked at."""


class Tokenizers:
    """The ground of a table of tokenizers."""

    def __init__(self, request: Request) -> None:
        self._request = request
        task = request.task(request.config())
        self._device = task.device
        vectors = tokenizer_input(task, task.tables.vectors()).vectors
        self._embeddings_ND = vectors.embeddings_ND
        pairs = task.tables.item_pairs(vectors)
        self._pairs_P2 = torch.zeros((0, 2), dtype=torch.int64) if pairs is None else pairs.rows_P2
        self._inputs = task.tables.inputs
        self._vectors = task.config.tokenizer.vectors

    @property
    def inputs(self) -> dict[str, str]:
        """Content of every table that was read, by name."""
        return {name: read["content_hash"] for name, read in self._inputs.items()}

    def seeds_of(self, fit: Fit, seeds: Sequence[int]) -> Sequence[int]:
        """All of them: every kind draws."""
        return seeds

    def measure(self, fit: Fit, seed: int) -> Measured:
        """What a cell is worth; it is fitted and asked where that is not kept."""
        config = self._config(fit, seed)
        digest = digest_of(
            {
                "kind": fit.of,
                "config": asdict(config),
                "inputs": self.inputs,
                "vectors": self._vectors,
                "unseen": [UNSEEN_SHARE, ITEM_SEED],
                "version": VERSION,
            }
        )
        folder = self._request.cells / f"{fit.of}-{seed}-{digest[:12]}"
        made(folder, lambda partial: self._make(fit, config, partial))
        sample, facts = read_measured(folder)
        document = read_json(folder / "fit.json")
        return Measured(
            {"codes": sample}, {**facts, "fit.seconds": document["seconds"]}, document["machine"]
        )

    def _config(self, fit: Fit, seed: int) -> Any:
        section = self._request.config_of(fit, seed).tokenizer
        return TOKENIZERS[fit.of].config_from(section.model_dump())

    def _make(self, fit: Fit, config: Any, folder: Path) -> None:
        LOG.info("%s, seed %d: fitting", fit.of, config.seed)
        started = time.perf_counter()
        tokenizer = fit_without(
            TOKENIZERS[fit.of],
            self._embeddings_ND.to(self._device),
            config,
            self._is_unseen_N,
            self._pairs_P2,
        ).to("cpu")
        seconds = round(time.perf_counter() - started, 1)
        write_json(folder / "fit.json", {"seconds": seconds, "machine": machine(self._device)})
        write_measured(folder, self._agreement(tokenizer), self._facts(tokenizer))

    @cached_property
    def _is_unseen_N(self) -> Tensor:
        return held_out_items(len(self._embeddings_ND), UNSEEN_SHARE, seed=ITEM_SEED)

    def _agreement(self, tokenizer: Tokenizer) -> Ratios:
        """Of each unseen item its pairs, and how many of them share a prefix, by depth."""
        codes_NQ = tokenizer.encode(self._embeddings_ND)
        unseen_U = torch.nonzero(self._is_unseen_N).squeeze(1)
        pairs = {
            "near": neighbour_pairs(self._embeddings_ND, unseen_U),
            "together": self._pairs_P2[self._is_unseen_N[self._pairs_P2].any(1)],
        }
        sums, counts = {}, {}
        for source, pairs_P2 in pairs.items():
            # Draws are over unseen items: a pair of two belongs to its first.
            first_P, second_P = pairs_P2.unbind(1)
            owner_P = torch.where(self._is_unseen_N[first_P], first_P, second_P)
            row_P = torch.searchsorted(unseen_U, owner_P).numpy()
            same_PQ = (codes_NQ[first_P] == codes_NQ[second_P]).long().cumprod(1).numpy()
            for depth in _depths(tokenizer) if len(row_P) else ():
                name, size = f"{source}_{depth}", len(unseen_U)
                sums[name] = np.bincount(row_P, same_PQ[:, depth - 1], minlength=size)
                counts[name] = np.bincount(row_P, minlength=size).astype(np.float64)
        return Ratios(
            unseen_U.numpy(),
            tuple(sums),
            np.stack(list(sums.values()), axis=1),
            np.stack(list(counts.values()), axis=1),
        )

    def _facts(self, tokenizer: Tokenizer) -> dict[str, float]:
        codes_NQ = tokenizer.encode(self._embeddings_ND)
        quality = measure_codes(tokenizer, self._embeddings_ND, codes_NQ)
        unseen = measure_unseen(
            tokenizer, self._embeddings_ND, self._is_unseen_N, seed=0, pairs_P2=self._pairs_P2
        )
        return {**_of_codes(quality), **_of_unseen(unseen, _depths(tokenizer))}


def _depths(tokenizer: Tokenizer) -> range:
    """Prefix lengths at which to agree is not to collide; the one there is of a single level."""
    return range(1, max(2, tokenizer.num_levels))


def _of_codes(quality: Mapping[str, Any]) -> dict[str, float]:
    """How a catalogue fills its codes."""
    collision, levels = quality["collision"], quality["levels"]
    facts = {
        "codes.unique": 1 - collision["share"],
        "codes.largest_bucket": float(collision["largest_bucket"]),
        "codes.gini": collision["gini"],
        "codes.dead": max(level["dead_share"] for level in levels),
        "codes.reconstruction_mse": quality["reconstruction_mse"],
    }
    for depth, level in enumerate(levels, start=1):
        facts[f"codes.residual_{depth}"] = level["residual_share"]
        facts[f"codes.entropy_{depth}"] = level["conditional_entropy_nats"]
    return facts


def _of_unseen(unseen: Mapping[str, Any], depths: range) -> dict[str, float]:
    """How much more often than random pairs pairs agree, and how alike items of a prefix are."""
    facts = {f"codes.purity_{depth}": unseen["purity"][depth - 1]["cosine"] for depth in depths}
    for name, source in (("consistency", "near"), ("consistency_given", "together")):
        for depth in depths if name in unseen else ():
            facts[f"lift.{source}_{depth}"] = unseen[name][depth - 1]["lift"]
    return facts
