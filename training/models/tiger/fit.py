"""How tiger is fitted."""

from dataclasses import replace

import torch

from training.data.splits import NO_DATA, Data, Split
from training.data.vocabulary import Vocabulary
from training.fit.fitting import FitReport, Fitting
from training.fit.loop import fit_model
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
    level_sizes, codes_VQ = vocabulary.level_sizes, vocabulary.require_codes()
    content_VE = torch.from_numpy(vocabulary.require_vectors())
    config = replace(config, max_history=fitting.settings.max_history)
    known = split.keeping(lambda histories: codes_VQ[histories.items, 0] >= 0)
    torch.manual_seed(fitting.settings.seed)
    model = Tiger(config, torch.from_numpy(codes_VQ), content_VE, level_sizes)
    report = fit_model(model, known, fitting)
    facts = {
        "generation": vocabulary.generation,
        "level_sizes": list(level_sizes),
        "train_events_without_code": split.train.num_events - known.train.num_events,
        "validation_targets_without_code": len(split.validation) - len(known.validation),
    }
    return model, replace(report, facts={**report.facts, **facts})
