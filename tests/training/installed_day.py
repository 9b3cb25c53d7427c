"""A day of the small world with an installed package's families; a process of test_installed.

python installed_day.py FOLDER: settings, presets and tables lie there, and facts come there.
"""

import json
import sys
from pathlib import Path

import torch

from feature_store.preset import PresetError, load
from feature_store.settings import Settings
from tests.recommender_world import DAY, histories
from tests.training.test_promotion_programs import publish, publish_items
from training.config import PART
from training.programs import (
    evaluate_recommender,
    promote_recommender,
    recommend,
    train_recommender,
)
from training.programs.errors import ProgramError
from training.programs.interface import Task
from training.tokenizers import TOKENIZERS, load_tokenizer

STEPS = {
    "train_recommender": train_recommender,
    "train_baselines": train_recommender,
    "evaluate_recommender": evaluate_recommender,
    "promote_recommender": promote_recommender,
    "recommend": recommend,
}


def run_day(settings, preset):
    config = load(PART, preset, folder=settings.presets)
    store = Task(settings, config, DAY, step="publish").store
    publish_items(store)
    publish(store, "user_sequences", histories(DAY, 1, opinions=True), DAY)
    families = {
        "train_recommender": (config.models.challenger,),
        "train_baselines": config.models.baselines,
    }
    found = {}
    for name, module in STEPS.items():
        task = Task(settings, config, DAY, step=name, families=families.get(name, ()))
        try:
            found[name] = module.run(task)
        except ProgramError as error:
            found[name] = {"refused": str(error)}
    return found


def refusal(settings, preset, override):
    try:
        load(PART, preset, folder=settings.presets, overrides=[override])
    except PresetError as error:
        return str(error)
    return ""


def tokenizer_of(folder):
    """Codes of the package's tokenizer, and of what is loaded of it."""
    vectors_ND = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    kind = TOKENIZERS["other_kmeans"]
    settings = {"num_levels": 2, "codebook_size": 4, "settings": {"other_kmeans": {}}}
    fitted = kind.fit(vectors_ND, kind.config_from(settings))
    fitted.save(folder / "tokenizer")
    loaded = load_tokenizer(folder / "tokenizer")
    return {
        "kind": loaded.kind,
        "codes": fitted.encode(vectors_ND).tolist(),
        "loaded": loaded.encode(vectors_ND).tolist(),
    }


def main():
    folder = Path(sys.argv[1])
    settings = Settings(home=folder, presets=folder, device="cpu")
    found = {preset: run_day(settings, preset) for preset in ("recommends", "ranks")}
    found["tokenizer"] = tokenizer_of(folder)
    found["refusals"] = [refusal(settings, "recommends", each) for each in sys.argv[2:]]
    (folder / "facts.json").write_text(json.dumps(found, default=str))


if __name__ == "__main__":
    main()
