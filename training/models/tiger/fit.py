"""How tiger is fitted."""

from dataclasses import replace

from training.data.splits import NO_DATA, Data, Split
from training.data.vocabulary import Vocabulary
from training.fit.fitting import FitReport, Fitting
from training.fit.loop import fit_model
from training.models.coded.fit import begun
from training.models.tiger.model import Tiger
from training.settings.families import TigerConfig


def fit(
    split: Split,
    config: TigerConfig,
    fitting: Fitting,
    vocabulary: Vocabulary,
    data: Data = NO_DATA,
) -> tuple[Tiger, FitReport]:
    """Train on every training event whose item has a semantic ID.

    Raises:
        ValueError: the vocabulary has no semantic IDs, or not what they were made of.
    """
    model, known, facts = begun(Tiger, split, config, fitting, vocabulary)
    report = fit_model(model, known, fitting)
    return model, replace(report, facts={**report.facts, **facts})
