"""How a blend comes about: its parts are fitted, its weight is chosen on validation targets."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import product
from typing import get_args

import numpy as np

from training.data.queries import queries_of
from training.data.splits import NO_DATA, Data, Split, Targets
from training.data.vocabulary import Vocabulary
from training.fit.fitting import FitReport, Fitting
from training.fit.validation import CUTOFF, ndcg
from training.inference import states
from training.models.blend.model import Blend, BlendConfig, Normalisation, blended

MOST = 5000
"""Validation targets that are asked about, evenly spread over those there are."""
WEIGHTS = tuple(tenth / 10 for tenth in range(11))


def fit(
    split: Split,
    config: BlendConfig,
    fitting: Fitting,
    vocabulary: Vocabulary,
    data: Data = NO_DATA,
) -> tuple[Blend, FitReport]:
    """The blend of two fitted models with the best NDCG@10 on validation targets.

    Args:
        split: whose validation targets choose.
        config: kept where there is no such target.
        fitting: how histories are read, and whether seen items are filtered.
        vocabulary: the catalogue of both.
        data: `parts`, the two models, and `reads`, what each reads of a history.
    """
    model = Blend(config, data["parts"], data["reads"])
    count = min(len(split.validation), MOST)
    chosen = np.linspace(0, len(split.validation) - 1, count).astype(np.int64)
    targets = split.validation.where(chosen)
    names = [part.family for part in model.parts]
    found = dict(_worth(model, targets, fitting)) if count else {}
    if found:
        model.config = max(found, key=lambda each: found[each])
    return model, FitReport(
        facts={
            "config": asdict(model.config),
            "parts": names,
            "validation_targets": count,
            "best_validation": found.get(model.config),
            "validation_of_parts": [found.get(replace(config, weight=w)) for w in (1.0, 0.0)],
            "weight": model.config.weight,
        }
    )


def _worth(model: Blend, targets: Targets, fitting: Fitting) -> Iterator[tuple[BlendConfig, float]]:
    """Mean NDCG@10 of every weight and normalisation, equal weights first among equals."""
    settings = sorted(
        (BlendConfig(w, how) for w, how in product(WEIGHTS, get_args(Normalisation))),
        key=lambda each: abs(each.weight - 0.5),
    )
    gains, row = dict.fromkeys(settings, 0.0), 0
    questions = queries_of(
        targets, max_history=fitting.settings.max_history, exclude_seen=fitting.exclude_seen
    )
    for queries in questions:
        for rows, state in states(model, queries, k=CUTOFF):
            first, second = model.candidates(state, CUTOFF)
            item_B1 = targets.items[row + rows.start : row + rows.stop, None]
            for each in settings:
                top = blended(first, second, each, CUTOFF)
                gains[each] += float(ndcg(top.items_Bk, item_B1).sum())
        row += len(queries)
    for each in settings:
        yield each, gains[each] / len(targets)
