"""What makes a fit again: every setting of a preset stands in one of the lists below."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from feature_store.validation import Validation
from tests.recommender_world import DAY
from tests.training.test_align_recommender import of_slates, publish_slates
from tests.training.test_align_recommender import settings as slate_settings  # noqa: F401
from tests.training.test_train_recommender import _NAMES
from tests.training.test_warm_start import NEXT_DAY
from tests.training.test_warm_start import fit as fit_warm  # noqa: F401
from tests.training.test_warm_start import made as made_warm
from training.config import TrainingConfig
from training.data.queries import NO_ITEMS
from training.fit.fitting import LoopSettings
from training.models import MODELS
from training.programs import (
    align_recommender,
    build_semantic_ids,
    evaluate_recommender,
    train_recommender,
    train_tokenizer,
)
from training.programs.entrants import entrants
from training.programs.evaluate_recommender import evaluation_digest
from training.programs.interface import Task

FITS_AGAIN = {
    "models.settings": {"popularity": {"half_life_days": 2.0}},
    "training.seed": 1,
    "training.max_epochs": 7,
    "training.patience_epochs": 4,
    "training.tokens_per_batch": 256,
    "training.learning_rate": 0.02,
    "training.warmup_steps": 6,
    "training.weight_decay": 0.02,
    "training.gradient_clip_factor": 2.0,
    "training.weight_average_decay": 0.9,
    "training.max_history": 10,
    "training.window_overlap": 5,
    "training.validation_metric": "ndcg@10",
    "training.max_validation_targets": 10,
    "training.minimum_strength": 2,
    "training.overrides": {"popularity": {"max_history": 11}},
    "evaluation.protocol": "leave_last_out",
    "evaluation.asked_at": "event",
    "evaluation.holdout_days": 6,
    "evaluation.validation_days": 3,
    "evaluation.exclude_seen": False,
    "evaluation.target_minimum_strength": 2,
    "evaluation.positive_strength": 1,
}
"""What trains, in which steps, and what stops it."""

FITS_AGAIN_WHERE_A_FIT_BEGINS_WITH_WEIGHTS = {
    "training.warm_start_epochs": 3,
    "training.warm_start_learning_rate_share": 0.4,
    "training.warm_start_days": 2,
}
"""As many epochs and such steps as they come to; that earlier weights are looked for is nothing."""

ANOTHER_GENERATION = {
    "tokenizer.kind": "rq_vae",
    "tokenizer.num_levels": 3,
    "tokenizer.codebook_size": 16,
    "tokenizer.iterations": 9,
    "tokenizer.seed": 1,
    "tokenizer.collisions": "bucket",
    "tokenizer.settings": {"rq_vae": {"epochs": 1}},
}
"""Whose semantic IDs are others: what reads them is fitted again, and nothing else."""

NO_OTHER_GENERATION = {
    "tokenizer.encoder": "text",
    "tokenizer.vectors": "text",
    "tokenizer.retrain_days": 8,
}
"""The encoder is the only one there is, named; and this world has no collaborative vectors."""

ALIGNS_AGAIN = {
    "alignment.max_epochs": 1,
    "alignment.learning_rate_share": 0.05,
    "alignment.settings": {"method": "dpo"},
}

MEASURES_AGAIN = {
    "evaluation.cutoffs": (5, 10),
    "evaluation.max_targets_per_user": 3,
    "evaluation.ranking_minimum_strength": 1,
    "evaluation.slate_cutoffs": (4,),
    "evaluation.slate_minimum_items": 3,
    "evaluation.slate_minimum_strength": 2,
    "evaluation.bootstrap_samples": 100,
    "evaluation.light_user_events": 3,
    "evaluation.seed": 1,
    "gate.primary_metric": "mrr",
    "gate.guard_metrics": ("mrr",),
    "gate.confidence": 0.9,
    "gate.floor": "higr",
}
"""How candidates are measured; nothing is fitted for it."""

WHO_IS_FITTED = ("models.challenger", "models.baselines", "models.blend")
"""Which families there are; each is fitted, or is there."""

CHANGES_NEITHER = {
    "training.checkpoint_every_steps": 7,
    "training.compile_backbone": True,
    "gate.max_guard_loss": 0.1,
    "gate.champion_rule": "better",
    "gate.max_primary_loss": 0.1,
    "gate.max_reference_loss": 0.1,
    "gate.reference_weeks": 2,
    "gate.on_baseline_win": "refuse",
    "gate.minimum_users": 2,
    "recommendations.num_items": 3,
    "recommendations.exclude_seen": False,
    "recommendations.ranked_candidates": 5,
    "recommendations.active_days": 3,
    "preference_lists.pseudo_exposures_from": "beams",
    "preference_lists.beam_items": 8,
    **dict.fromkeys((f"validation.{name}" for name in Validation.model_fields), None),
}
"""How a fit runs, what is decided from the measurement, what is checked and written in the end."""

LISTS = (
    FITS_AGAIN,
    FITS_AGAIN_WHERE_A_FIT_BEGINS_WITH_WEIGHTS,
    ANOTHER_GENERATION,
    NO_OTHER_GENERATION,
    ALIGNS_AGAIN,
    MEASURES_AGAIN,
    WHO_IS_FITTED,
    CHANGES_NEITHER,
)


def settings_of(config: type[BaseModel]) -> Iterator[str]:
    """Every setting as `section.name`."""
    for section, field in config.model_fields.items():
        if section not in ("name", "description"):
            yield from (f"{section}.{name}" for name in field.annotation.model_fields)


def changed(config, path, value):
    """The config with one setting changed."""
    section, _, name = path.rpartition(".")
    if not section:
        return config.model_copy(update={name: value})
    part = getattr(config, section).model_copy(update={name: value})
    return config.model_copy(update={section: part})


def task_of(settings, made, program, families=()):
    name = program.__name__.rsplit(".", 1)[-1]
    return Task(settings, made, DAY, step=name, families=families)


def run(settings, made, program, families=()):
    return {"status": "done"} | program.run(task_of(settings, made, program, families))


def new_preset(settings):
    """A preset that no other test has, with its tables."""
    made = of_slates(f"digests-{next(_NAMES)}")
    publish_slates(settings, made)
    return made


@pytest.fixture(scope="module")
def fitted(slate_settings):  # noqa: F811
    """Published tables with slates and pairs; a preset whose candidates are fitted and measured."""
    made = new_preset(slate_settings)
    for program in (train_tokenizer, build_semantic_ids):
        run(slate_settings, made, program)
    run(slate_settings, made, train_recommender, ("higr", "popularity"))
    run(slate_settings, made, align_recommender)
    run(slate_settings, made, evaluate_recommender)
    return slate_settings, made


@pytest.fixture(scope="module")
def counted(slate_settings):  # noqa: F811
    """A preset of its own with the cheapest fit there is, and that fit's digest."""
    made = new_preset(slate_settings)
    run(slate_settings, made, train_recommender, ("popularity",))
    return slate_settings, made, digest_of_candidate(slate_settings, made)


def digest_of_candidate(settings, made, family="popularity"):
    task = task_of(settings, made, train_recommender)
    return task.registry.find_candidate(DAY.isoformat(), family).inputs_digest


def test_every_setting_stands_in_one_list():
    listed = [path for paths in LISTS for path in paths]
    assert sorted(listed) == sorted(settings_of(TrainingConfig))


def one_of_each(*kinds):
    """All settings of some kinds; beyond the first of a kind they are exhaustive."""
    rest = pytest.mark.exhaustive
    return [
        pytest.param(path, marks=() if place == 0 else rest)
        for kind in kinds
        for place, path in enumerate(kind)
    ]


@pytest.mark.parametrize("path", FITS_AGAIN)
def test_what_determines_a_fit_fits_again(counted, path):
    settings, made, first = counted
    other = changed(made, path, FITS_AGAIN[path])
    assert run(settings, other, train_recommender, ("popularity",))["status"] == "done"
    # Not only unlike the fit before it, which was of another setting.
    assert digest_of_candidate(settings, other) != first


def test_the_number_of_processes_fits_again(counted, monkeypatch):
    settings, made, first = counted
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(settings, made, train_recommender, ("popularity",))["status"] == "done"
    assert digest_of_candidate(settings, made) != first


@pytest.mark.parametrize("path", one_of_each(MEASURES_AGAIN, CHANGES_NEITHER))
def test_what_is_asked_afterwards_fits_nothing_again(fitted, path):
    settings, made = fitted
    other = changed(made, path, {**MEASURES_AGAIN, **CHANGES_NEITHER}[path])
    facts = run(settings, other, train_recommender, ("higr", "popularity"))
    told = {name: fit["status"] for name, fit in facts["families"].items()}
    assert told == {"higr": "unchanged", "popularity": "unchanged"}
    assert run(settings, other, align_recommender)["status"] == "unchanged"
    bundles = entrants(task_of(settings, made, evaluate_recommender))
    digests = [evaluation_digest(config, bundles, {}, NO_ITEMS) for config in (made, other)]
    assert (digests[0] != digests[1]) == (path in MEASURES_AGAIN)


def test_the_way_back_measures_again_since_the_gate_reads_the_latest(fitted):
    settings, made = fitted
    assert run(settings, made, evaluate_recommender)["status"] == "unchanged"
    other = changed(made, "evaluation.max_targets_per_user", 3)
    assert run(settings, other, evaluate_recommender)["status"] == "done"
    assert run(settings, made, evaluate_recommender)["status"] == "done"


def test_who_challenges_determines_the_evaluation():
    one, other = (
        TrainingConfig(name="shop", models={"challenger": a, "baselines": (b,)})
        for a, b in (("sasrec", "popularity"), ("popularity", "sasrec"))
    )
    assert evaluation_digest(one, {}, {}, NO_ITEMS) != evaluation_digest(other, {}, {}, NO_ITEMS)


@pytest.mark.parametrize("path", one_of_each(ALIGNS_AGAIN))
def test_how_slates_are_taught_aligns_again_and_fits_nothing(fitted, path):
    settings, made = fitted
    other = changed(made, path, ALIGNS_AGAIN[path])
    assert run(settings, other, train_recommender, ("higr",))["status"] == "unchanged"
    assert run(settings, other, align_recommender)["status"] == "done"
    assert run(settings, made, align_recommender)["status"] == "done"


def test_steps_of_the_alignment_are_those_of_the_preset_now(fitted):
    settings, made = fitted
    other = changed(made, "training.tokens_per_batch", 512)
    assert run(settings, other, align_recommender)["status"] == "done"
    assert run(settings, made, align_recommender)["status"] == "done"


@pytest.mark.parametrize("path", {**ANOTHER_GENERATION, **NO_OTHER_GENERATION})
def test_another_tokenizer_fits_what_reads_its_ids_again(slate_settings, path):  # noqa: F811
    made = new_preset(slate_settings)
    made = changed(made, "training.max_epochs", 1)
    # The settings of a kind count for that kind.
    made = changed(made, "tokenizer.kind", "rq_vae") if path == "tokenizer.settings" else made

    def fit(config):
        for program in (train_tokenizer, build_semantic_ids):
            run(slate_settings, config, program)
        facts = run(slate_settings, config, train_recommender, ("higr", "popularity"))
        return [fit["status"] for fit in facts["families"].values()]

    assert fit(made) == ["done", "done"]
    other = changed(made, path, {**ANOTHER_GENERATION, **NO_OTHER_GENERATION}[path])
    expected = "done" if path in ANOTHER_GENERATION else "unchanged"
    assert fit(other) == [expected, "unchanged"]


@pytest.mark.parametrize("path", FITS_AGAIN_WHERE_A_FIT_BEGINS_WITH_WEIGHTS)
def test_a_warm_start_counts_as_what_it_comes_to(fit_warm, path):  # noqa: F811
    name = path.removeprefix("training.")
    value = FITS_AGAIN_WHERE_A_FIT_BEGINS_WITH_WEIGHTS[path]
    fit_warm(NEXT_DAY)
    assert fit_warm(DAY, preset=made_warm(**{name: value}))[1]["tiger"]["status"] == "unchanged"
    warm = fit_warm(NEXT_DAY, preset=made_warm(**{name: value}))[1]["tiger"]
    assert warm["status"] == ("unchanged" if name == "warm_start_days" else "done")


def test_a_default_that_is_written_out_is_no_change(counted):
    settings, made, _ = counted
    run(settings, made, train_recommender, ("popularity",))
    default = MODELS["popularity"].config_class().half_life_days
    other = changed(made, "models.settings", {"popularity": {"half_life_days": default}})
    assert run(settings, other, train_recommender, ("popularity",))["status"] == "unchanged"


def test_a_window_that_is_left_open_is_as_long_as_one_that_is_written_out(slate_settings):  # noqa: F811
    made = new_preset(slate_settings)
    for path in ("evaluation.holdout_days", "evaluation.validation_days"):
        made = changed(made, path, None)
    facts = run(slate_settings, made, train_recommender, ("popularity",))
    other = changed(made, "evaluation.holdout_days", facts["split"]["holdout_days"])
    assert run(slate_settings, other, train_recommender, ("popularity",))["status"] == "unchanged"


def test_all_of_the_loop_determines_but_how_it_runs():
    left_out = set(LoopSettings.__dataclass_fields__) - set(LoopSettings().determining())
    assert left_out == {"checkpoint_every_steps", "compile_backbone"}
    listed = {path.removeprefix("training.") for path in FITS_AGAIN}
    assert set(LoopSettings().determining()) <= listed
