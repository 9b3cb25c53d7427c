"""align_recommender over the small world: from a trained bundle and pairs to an aligned one."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from feature_store.settings import Settings
from feature_store.store import FeatureStore
from tests.recommender_world import DAY, EVENTS, NUM_ITEMS, NUM_USERS, histories
from tests.training.test_train_recommender import _NAMES, config, publish, publish_world
from training.evaluation.record import PRETRAINED
from training.programs import (
    align_recommender,
    build_semantic_ids,
    evaluate_recommender,
    fits,
    promote_recommender,
    train_recommender,
    train_tokenizer,
)
from training.programs.errors import ProgramError
from training.programs.interface import Task
from training.report.sections.fits import alignment

SHOWN = 4
SMALL = {"width": 16, "planner_layers": 1, "num_heads": 1}


def _slates():
    """Every user's history as slates of four, day by day; all was liked."""
    items = np.array(histories()["item_indices"].to_pylist()).reshape(-1, SHOWN)
    noon = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
    last_places = np.tile(np.arange(SHOWN, EVENTS + 1, SHOWN), NUM_USERS)
    ends = [noon - timedelta(days=int(EVENTS - place)) for place in last_places]
    users = np.repeat(np.arange(NUM_USERS), EVENTS // SHOWN)
    return items, ends, [f"user-{user:03d}" for user in users]


def slates():
    """Rows of `slates`."""
    items, ends, users = _slates()
    return {
        "day": [end.date() for end in ends],
        "slate_id": [f"slate-{number:04d}" for number in range(len(items))],
        "user_id": users,
        "started_at": [end - timedelta(days=SHOWN - 1) for end in ends],
        "ended_at": ends,
        "item_indices": items.tolist(),
        "strengths": [[2] * SHOWN] * len(items),
        "dwell_seconds": [[float(SHOWN - place) for place in range(SHOWN)]] * len(items),
        "source": ["gap"] * len(items),
    }


def pairs():
    """Rows of `preference_pairs`: what was chosen beside items of the next kind."""
    rows = slates()
    chosen = np.array(rows["item_indices"])
    rejected = (chosen + 1) % NUM_ITEMS
    return {
        "day": rows["day"],
        "slate_id": rows["slate_id"],
        "user_id": rows["user_id"],
        "context_until": rows["started_at"],
        "kind": ["interest"] * len(chosen),
        "pair": [0] * len(chosen),
        "chosen": chosen.tolist(),
        "rejected": rejected.tolist(),
        "source": ["another kind"] * len(chosen),
        "newest_source": rows["ended_at"],
    }


def of_slates(name, **sections):
    return config(
        name,
        models={
            "challenger": "higr",
            "baselines": ["popularity"],
            "settings": {"higr": SMALL},
        },
        training={
            "max_epochs": 6,
            "tokens_per_batch": 1024,
            "max_history": 20,
            "learning_rate": 0.01,
            "warmup_steps": 5,
            "validation_metric": "loss",
        },
        evaluation={
            "holdout_days": 8,
            "validation_days": 4,
            "slate_cutoffs": [2, 4],
            "slate_minimum_items": 2,
            "bootstrap_samples": 200,
        },
        gate={"primary_metric": "slate_ndcg@4", "guard_metrics": ["hr@10"], "minimum_users": 5},
        **sections,
    )


@pytest.fixture(scope="module")
def settings(mlflow_settings, tmp_path_factory):
    """Addresses; presets publish tables of their own."""
    place = tmp_path_factory.mktemp("tables")
    return Settings(
        home=mlflow_settings.home,
        warehouse=str(place / "warehouse"),
        catalog_uri=f"sqlite:///{place}/catalog.db",
        device="cpu",
    )


def publish_slates(settings, made):
    """Publish a preset's tables, with slates and pairs."""
    store = FeatureStore.open(settings, made.name)
    publish_world(store)
    publish(store, "slates", slates())
    publish(store, "preference_pairs", pairs())


def step(settings, made, module, families=()):
    name = module.__name__.rsplit(".", 1)[-1]
    return module.run(Task(settings, made, DAY, step=name, families=families))


@pytest.fixture(scope="module")
def aligned(settings):
    """A preset with a challenger that was trained and aligned, and its baseline."""
    made = of_slates(f"aligned-{next(_NAMES)}")
    publish_slates(settings, made)
    for module in (train_tokenizer, build_semantic_ids):
        step(settings, made, module)
    trained = step(settings, made, train_recommender, ("higr", "popularity"))
    return made, trained, step(settings, made, align_recommender)


def test_alignment_begins_with_the_trained_and_keeps_its_own(settings, aligned):
    made, trained, facts = aligned
    assert facts["trained_digest"] == trained["families"]["higr"]["digest"] != facts["digest"]
    registry = Task(settings, made, DAY, step="").registry
    day = DAY.isoformat()
    assert registry.find_candidate(day, "higr").digest == facts["digest"]
    before = registry.find_candidate(day, "higr", is_aligned=False)
    assert before.digest == facts["trained_digest"]
    document = registry.fetch(registry.find_candidate(day, "higr")).document("training")
    assert document["trained"] == before.digest
    assert document["alignment"]["train_pairs"] == facts["train_pairs"]


def test_what_is_learnt_is_which_slate_is_better(aligned):
    _, _, facts = aligned
    after = facts["epochs"][-1]
    assert facts["collapsed"] == ""
    assert after["preference_accuracy"] >= facts["before"]["preference_accuracy"]
    assert after["chosen_log_prob"] - after["rejected_log_prob"] > (
        facts["before"]["chosen_log_prob"] - facts["before"]["rejected_log_prob"]
    )
    assert "higr learnt" in facts["message"]


def test_only_pairs_of_training_slates_train(aligned):
    _, trained, facts = aligned
    split = trained["families"]["higr"]
    assert facts["train_pairs"] == {"interest": split["train_slates"]}
    assert facts["watched_pairs"] == split["validation_slates"]


def test_what_was_aligned_is_not_aligned_again_nor_trained_again(settings, aligned):
    made, _, facts = aligned
    again = step(settings, made, align_recommender)
    assert (again["status"], again["digest"]) == ("unchanged", facts["digest"])
    assert again["before"] == facts["before"]
    trained = step(settings, made, train_recommender, ("higr",))
    assert trained["families"]["higr"]["status"] == "unchanged"


def test_the_challenger_faces_itself_from_before(settings, aligned):
    made, _, facts = aligned
    found = step(settings, made, evaluate_recommender)
    assert list(found["entrants"]) == ["higr", "popularity", PRETRAINED]
    assert found["entrants"]["higr"]["digest"] == facts["digest"]
    assert found["entrants"][PRETRAINED]["digest"] == facts["trained_digest"]
    assert found["baselines"] == ["popularity", PRETRAINED]
    judged = step(settings, made, promote_recommender)
    assert f"higr against {PRETRAINED}" in str(judged["verdict"]["reasons"])
    assert found["entrants"]["higr"]["boards"]["slates"]["facts"]["repeated_share"] == 0


def test_contexts_of_pairs_hold_what_the_training_read(settings, aligned, monkeypatch):
    class Seen(Exception):
        pass

    def seen(model, slates, pairs, *rest, **named):
        raise Seen((slates.train.histories.num_events, pairs.chosen.histories.num_events))

    monkeypatch.setattr(fits, "align", seen)
    # All events have strength 2; an alignment that there was not yet is made.
    strict = of_slates(aligned[0].name, alignment={"max_epochs": 7})
    for minimum, num_events in ((2, NUM_USERS * EVENTS), (3, 0)):
        training = strict.training.model_copy(update={"minimum_strength": minimum})
        with pytest.raises(Seen) as found:
            step(settings, strict.model_copy(update={"training": training}), align_recommender)
        assert found.value.args == ((num_events, num_events),)


def test_an_alignment_that_ruins_the_model_leaves_it_as_it_was(settings, aligned):
    # Any change of the chosen slates' probability is too much: the fit must stop and go back.
    ruinous = of_slates(
        aligned[0].name,
        alignment={"settings": {"max_chosen_fall": -100.0}, "max_epochs": 3},
    )
    facts = step(settings, ruinous, align_recommender)
    assert facts["collapsed"].startswith("chosen_log_prob went from")
    assert len(facts["epochs"]) == 1
    assert facts["message"].startswith("higr stays as it was trained: chosen_log_prob went from")
    registry = Task(settings, ruinous, DAY, step="").registry
    day = DAY.isoformat()
    weights = [
        registry.fetch(registry.find_candidate(day, "higr", is_aligned=which)).directory
        / "model/higr.safetensors"
        for which in (True, False)
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    said = alignment({"align_recommender": facts})
    assert any("stopped: chosen_log_prob" in str(block) for block in said.blocks)


def test_the_report_shows_what_moved(aligned):
    section = alignment({"align_recommender": aligned[2]})
    table = next(block for block in section.blocks if block.kind == "table")
    assert table.head[:2] == ["watched on later slates", "before"]
    assert "preference accuracy" in [row.cells[0] for row in table.rows]
    assert alignment({}) is None


def test_a_family_that_learns_no_preferences_is_left_alone(settings, aligned):
    models = {"challenger": "popularity", "baselines": []}
    other = aligned[0].model_copy(update={"models": aligned[0].models.model_validate(models)})
    facts = step(settings, other, align_recommender)
    assert facts["message"] == "popularity learns no preferences between slates"


def test_what_is_missing_is_said(settings):
    made = of_slates(f"aligned-{next(_NAMES)}")
    with pytest.raises(ProgramError, match="no candidate of higr for 2024-03-31; run train_rec"):
        step(settings, made, align_recommender)
