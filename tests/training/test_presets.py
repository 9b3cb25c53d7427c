"""Presets that we ship, as training reads them."""

import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from feature_store.preset import load
from training.config import PART
from training.evaluation.metrics import FEEDBACK, metric_of
from training.fit.fitting import LoopSettings
from training.models import MODELS
from training.programs.training_data import READERS
from training.settings import FAMILIES
from training.settings import TOKENIZERS as KINDS
from training.tokenizers import TOKENIZERS

FOLDER = Path(__file__).resolve().parents[2] / "presets"
RANKS_ONLY = ("gate.primary_metric=auc", "gate.guard_metrics=[]")
"""What a preset's gate asks of a challenger that recommends nothing."""
LISTS_ONLY = ("gate.primary_metric=ndcg@10", "gate.guard_metrics=[]")
"""And of one that may not rank, where the preset is for rankers."""
PRESETS = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("family", sorted(MODELS))
@pytest.mark.parametrize("preset", PRESETS)
def test_every_family_can_be_the_challenger(preset, family):
    others = [f"models.challenger={family}"]
    if "lists" not in MODELS[family].answers:
        others += [*RANKS_ONLY, f"training.overrides.{family}.validation_metric=gauc"]
        others += [f"training.overrides.{family}.minimum_strength=-1"]
    elif metric_of(load(PART, preset, folder=FOLDER).gate.primary_metric).board == FEEDBACK:
        others += LISTS_ONLY
    config = load(PART, preset, folder=FOLDER, overrides=others)
    settings = config.models.settings.get(family, {})
    shape = MODELS[family].configure(settings)
    assert settings.items() <= {name: getattr(shape, name) for name in settings}.items()
    assert isinstance(shape, MODELS[family].config_class)
    loop = config.training_for(family)
    named = {field.name: getattr(loop, field.name) for field in fields(LoopSettings)}
    assert asdict(LoopSettings(**named)) == named


@pytest.mark.parametrize("preset", PRESETS)
def test_settings_are_of_families_that_there_are(preset):
    config = load(PART, preset, folder=FOLDER)
    assert set(config.models.settings) <= set(MODELS)
    assert set(config.training.overrides) <= set(MODELS)


@pytest.mark.parametrize("preset", ["kuairand", "movielens-100k"])
def test_unigrf_learns_both_kinds_of_feedback_and_is_guarded_on_both_tasks(preset):
    config = load(PART, preset, folder=FOLDER)
    evaluation, loop = config.evaluation, config.training_for("unigrf")
    assert loop.minimum_strength < evaluation.positive_strength
    assert evaluation.ranking_minimum_strength < evaluation.positive_strength
    assert {"hr@10", "mrr", "auc", "gauc", "logloss"} <= set(config.gate.guard_metrics)
    assert "unigrf" in config.training.overrides


def test_what_presets_can_set_is_what_there_is():
    assert list(MODELS) == list(FAMILIES)
    for name, family in MODELS.items():
        assert {key: getattr(family, key) for key in vars(FAMILIES[name])} == vars(FAMILIES[name])
        assert family.model_class.family == name
        assert set(family.reads) <= set(READERS)
    assert {kind: each.config_class for kind, each in TOKENIZERS.items()} == KINDS


def test_settings_of_families_are_known_without_torch():
    code = "import sys, training.config; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
