"""higr as a family of recommenders: how it is fitted, saved and loaded."""

from pathlib import Path

from training.data.splits import Split
from training.data.vocabulary import Vocabulary
from training.fitting import FitReport, Fitting
from training.models.alignment import align
from training.models.higr.config import HigrConfig
from training.models.higr.model import Higr
from training.models.interface import Family
from training.models.slate_fit import fit_slates, load_slate_model, save_slate_model


def fit(
    split: Split, config: HigrConfig, fitting: Fitting, vocabulary: Vocabulary
) -> tuple[Higr, FitReport]:
    """Train on the split's slates, as `fit_slates` says."""
    return fit_slates(Higr, split, config, fitting, vocabulary)


def save(model: Higr, directory: Path) -> None:
    """Write weights and codes as safetensors, the shape as JSON."""
    save_slate_model(model, directory)


def load(directory: Path, device: str = "cpu") -> Higr:
    """Read what `save` wrote."""
    return load_slate_model(Higr, HigrConfig, directory, device)


FAMILY = Family(
    "higr",
    HigrConfig,
    fit,
    save,
    load,
    uses_semantic_ids=True,
    uses_slates=True,
    align=align,
)
