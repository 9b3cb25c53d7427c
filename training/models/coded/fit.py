"""How the families that say the next item by its codes begin a fit, and what they tell of it."""

from dataclasses import replace
from typing import Any, TypeVar

import torch

from training.data.splits import Split
from training.data.vocabulary import Vocabulary
from training.fit.fitting import Fitting
from training.models.coded.model import CodedModel

Model = TypeVar("Model", bound=CodedModel)


def begun(
    model_class: type[Model], split: Split, config: Any, fitting: Fitting, vocabulary: Vocabulary
) -> tuple[Model, Split, dict[str, Any]]:
    """A model with its first weights, the events that it can read, and the fit's facts.

    Args:
        model_class: of the family.
        split: all events.
        config: the shape; `max_history` is taken from `fitting`.
        fitting: how.
        vocabulary: the catalogue with its codes.
    Raises:
        ValueError: the vocabulary has no semantic IDs, or not what they were made of.
    """
    level_sizes, codes_VQ = vocabulary.level_sizes, vocabulary.require_codes()
    content_VE = torch.from_numpy(vocabulary.require_vectors())
    config = replace(config, max_history=fitting.settings.max_history)
    known = split.keeping(lambda histories: codes_VQ[histories.items, 0] >= 0)
    torch.manual_seed(fitting.settings.seed)
    model = model_class(config, torch.from_numpy(codes_VQ), content_VE, level_sizes)
    facts = {
        "generation": vocabulary.generation,
        "level_sizes": list(level_sizes),
        "train_events_without_code": split.train.num_events - known.train.num_events,
        "validation_targets_without_code": len(split.validation) - len(known.validation),
    }
    return model, known, facts
