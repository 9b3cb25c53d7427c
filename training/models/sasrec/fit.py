"""How sasrec is fitted."""

from dataclasses import replace

import torch

from training.data.splits import NO_DATA, Data, Split
from training.data.vocabulary import Vocabulary
from training.fit.fitting import FitReport, Fitting
from training.fit.loop import fit_model
from training.models.sasrec.model import Sasrec
from training.settings.families import SasrecConfig


def fit(
    split: Split,
    config: SasrecConfig,
    fitting: Fitting,
    vocabulary: Vocabulary,
    data: Data = NO_DATA,
) -> tuple[Sasrec, FitReport]:
    """Train on every event of the training histories."""
    config = replace(config, max_history=fitting.settings.max_history)
    torch.manual_seed(fitting.settings.seed)
    model = Sasrec(config, vocabulary.num_items)
    report = fit_model(model, split, fitting)
    return model, report
