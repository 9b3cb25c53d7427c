"""How popularity is fitted."""

from dataclasses import asdict

from training.data.splits import NO_DATA, Data, Split
from training.data.vocabulary import Vocabulary
from training.fit.fitting import FitReport, Fitting
from training.models.popularity.model import Popularity, popularity_scores
from training.settings.families import PopularityConfig


def fit(
    split: Split,
    config: PopularityConfig,
    fitting: Fitting,
    vocabulary: Vocabulary,
    data: Data = NO_DATA,
) -> tuple[Popularity, FitReport]:
    """Count the training events."""
    scores_V = popularity_scores(split, vocabulary.num_items, config.half_life_days)
    facts = {"config": asdict(config), "items_with_events": int((scores_V > 0).sum())}
    return Popularity(scores_V, config), FitReport(facts=facts)
