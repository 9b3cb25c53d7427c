"""How rates is fitted."""

from dataclasses import asdict

import numpy as np

from training.data.splits import NO_DATA, Data, Split
from training.data.vocabulary import Vocabulary
from training.fit.fitting import FitReport, Fitting
from training.models.rates.model import Rates
from training.settings.families import RatesConfig


def fit(
    split: Split,
    config: RatesConfig,
    fitting: Fitting,
    vocabulary: Vocabulary,
    data: Data = NO_DATA,
) -> tuple[Rates, FitReport]:
    """Count the training events of each item, and the positive ones among them."""
    train = split.train
    is_positive_N = train.strengths >= fitting.positive_strength
    events_V, positive_V = (
        np.bincount(items, minlength=vocabulary.num_items)
        for items in (train.items, train.items[is_positive_N])
    )
    share = float(is_positive_N.mean())
    model = Rates(config, fitting.positive_strength, share, events_V, positive_V)
    facts = {"config": asdict(config), "positive_share": share}
    return model, FitReport(facts={**facts, "items_with_events": int((events_V > 0).sum())})
