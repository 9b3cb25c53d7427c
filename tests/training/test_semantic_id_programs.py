import shutil
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
import torch

from feature_store.arrow import arrow_schema
from feature_store.errors import TableRefused
from feature_store.settings import Settings
from feature_store.store import FeatureStore
from feature_store.tables import CATALOG
from training.config import TrainingConfig
from training.programs import build_semantic_ids, train_tokenizer
from training.programs.errors import ProgramError
from training.programs.interface import Task
from training.registry.client import Registry
from training.tokenizers import load_tokenizer

MONDAY, TUESDAY, NEXT_MONDAY = date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 8)
TOKENIZER = {
    "num_levels": 2,
    "codebook_size": 8,
    "iterations": 10,
    "retrain_days": 7,
    "collisions": "suffix",
}


def vectors(num_items, *, width=6):
    generator = np.random.default_rng(0)
    return generator.standard_normal((200, width)).astype(np.float32)[:num_items]


def publish_items(settings, day, num_items):
    rows = {
        "item_id": [f"item-{number}" for number in range(num_items)],
        "item_index": pa.array(range(num_items), pa.int32()),
        "first_day": pa.array([day] * num_items, pa.date32()),
        "first_listed_day": pa.nulls(num_items, pa.date32()),
        "last_listed_day": pa.nulls(num_items, pa.date32()),
        "title": [None] * num_items,
        "text": [None] * num_items,
        "attributes": [[]] * num_items,
    }
    publish(settings, "items", day, rows)


def publish_vectors(settings, day, embeddings, *, encoder="text@1", skip=()):
    kept = [number for number in range(len(embeddings)) if number not in skip]
    rows = {
        "encoder": [encoder] * len(kept),
        "item_id": [f"item-{number}" for number in kept],
        "item_index": pa.array(kept, pa.int32()),
        "content_digest": ["-"] * len(kept),
        "embedding": [list(map(float, embeddings[number])) for number in kept],
    }
    publish(settings, "item_embeddings", day, rows)


def publish_pairs(settings, day, pairs):
    rows = {
        "day": pa.array([day] * len(pairs), pa.date32()),
        "item_index": pa.array([item for item, _ in pairs], pa.int32()),
        "other_index": pa.array([other for _, other in pairs], pa.int32()),
        "together": [2] * len(pairs),
        "score": [0.5] * len(pairs),
    }
    publish(settings, "item_cooccurrence", day, rows)


def publish(settings, table, day, rows):
    store = FeatureStore.open(settings, "small")
    stage = store.stage(table, day=day, job="test")
    stage.write(pa.table(rows, schema=arrow_schema(CATALOG[table])))
    store.publish(stage)


def task(settings, step, day, /, **tokenizer):
    config = TrainingConfig(name="small", tokenizer={**TOKENIZER, **tokenizer})
    return Task(settings, config, day, step=step)


def train(settings, day, /, **tokenizer):
    return train_tokenizer.run(task(settings, "train_tokenizer", day, **tokenizer))


def build(settings, day, /, **tokenizer):
    return build_semantic_ids.run(task(settings, "build_semantic_ids", day, **tokenizer))


def ids(settings, generation, at=None):
    rows = FeatureStore.open(settings, "small").read("semantic_ids", at=at, partition=generation)
    return dict(
        zip(rows["item_id"].to_pylist(), map(tuple, rows["codes"].to_pylist()), strict=True)
    )


@pytest.fixture(scope="module")
def deployments(tmp_path_factory):
    """Makes empty deployments; MLflow's tables, which take seconds to make, are copied."""
    made = Settings(home=tmp_path_factory.mktemp("template"))
    Registry.open(made, "unused")

    def deploy():
        home = tmp_path_factory.mktemp("home")
        shutil.copytree(made.home / "mlflow", home / "mlflow")
        return Settings(home=home, device="cpu")

    return deploy


@pytest.fixture
def settings(deployments):
    return deployments()


@pytest.fixture(scope="module")
def week(deployments):
    """A week of one deployment: 60 items, 70 from Tuesday on, item 65 without a vector."""
    settings = deployments()
    facts = {}
    for day, num_items in ((MONDAY, 60), (TUESDAY, 70), (NEXT_MONDAY, 70)):
        publish_items(settings, day, num_items)
        publish_vectors(settings, day, vectors(num_items), skip=(65,))
        facts[day] = (train(settings, day), build(settings, day))
    return settings, facts


def test_the_first_day_trains_a_generation_named_by_day_and_digest(week):
    settings, facts = week
    trained, built = facts[MONDAY]
    assert trained["reason"] == "there is no generation yet"
    assert trained["generation"].startswith("2024-01-01-")
    assert len(trained["generation"]) == len("2024-01-01-") + 12
    assert trained["encoder"] == "text@1"
    assert trained["quality"]["held_out"]["items"] == 6
    assert len(trained["points"]) == 60
    registry = task(settings, "x", MONDAY).registry
    tokenizer = load_tokenizer(registry.fetch_tokenizer(trained["generation"]))
    assert tokenizer.digest == trained["digest"]
    assert (built["status"], built["new_items"], built["rows"]) == ("done", 60, 60)


def test_ids_are_the_tokenizers_codes_with_a_resolving_level(week):
    settings, facts = week
    trained, built = facts[MONDAY]
    found = ids(settings, trained["generation"], at=MONDAY)
    registry = task(settings, "x", MONDAY).registry
    tokenizer = load_tokenizer(registry.fetch_tokenizer(trained["generation"]))
    codes = tokenizer.encode(torch.from_numpy(vectors(60))).tolist()
    assert [found[f"item-{n}"][:2] for n in range(60)] == [tuple(code) for code in codes]
    assert len(set(found.values())) == 60
    served = built["quality"]["served"]
    assert served["codes_per_item"] == 3
    assert served["collision"]["share"] == 0
    assert built["quality"]["held_out"] == trained["quality"]["held_out"]


def test_a_younger_generation_serves_on_and_new_items_get_ids_under_it(week):
    settings, facts = week
    trained, built = facts[TUESDAY]
    assert trained["status"] == "unchanged"
    assert "trained 1 days ago" in trained["message"]
    assert built["generation"] == facts[MONDAY][0]["generation"]
    assert (built["new_items"], built["rows"], built["new_items_without_embedding"]) == (10, 70, 1)
    before = ids(settings, built["generation"], at=MONDAY)
    after = ids(settings, built["generation"], at=TUESDAY)
    assert {item: after[item] for item in before} == before
    assert len(set(after.values())) == 70
    assert "item-65" in after


def test_what_the_tokenizer_read_stands_beside_the_codes(week):
    settings, facts = week
    store = FeatureStore.open(settings, "small")
    rows = store.read("semantic_ids", partition=facts[TUESDAY][1]["generation"])
    kept = np.array(rows.sort_by("item_index")["vector"].to_pylist(), dtype=np.float32)
    assert np.array_equal(kept[:65], vectors(65))
    assert not kept[65].any()


def test_an_old_generation_is_followed_by_a_new_one_and_both_stay_readable(week):
    settings, facts = week
    trained, built = facts[NEXT_MONDAY]
    assert "was trained 7 days ago" in trained["reason"]
    assert trained["generation"].startswith("2024-01-08-")
    assert built["new_items"] == 70
    store = FeatureStore.open(settings, "small")
    assert store.partitions("semantic_ids") == [
        facts[MONDAY][0]["generation"],
        trained["generation"],
    ]
    assert store.row_count("semantic_ids", at=TUESDAY) == 70


@pytest.mark.parametrize("day", [MONDAY, TUESDAY, NEXT_MONDAY])
def test_a_rerun_trains_nothing_and_changes_no_row(week, day):
    settings, facts = week
    trained, _ = facts[day]
    head = FeatureStore.open(settings, "small").snapshot_id("semantic_ids")
    tagged = FeatureStore.open(settings, "small").snapshot_id("semantic_ids", at=day)
    again = train(settings, day)
    assert again["status"] == "unchanged"
    assert again["generation"] == trained["generation"]
    assert again["quality"] == trained["quality"]
    rebuilt = build(settings, day)
    assert (rebuilt["status"], rebuilt["changed"]) == ("unchanged", False)
    assert rebuilt["new_items"] == 0
    assert FeatureStore.open(settings, "small").snapshot_id("semantic_ids") == head
    assert FeatureStore.open(settings, "small").snapshot_id("semantic_ids", at=day) == tagged


def test_the_same_items_give_the_same_generation_in_another_place(week, settings):
    _, facts = week
    publish_items(settings, MONDAY, 60)
    publish_vectors(settings, MONDAY, vectors(60))
    assert train(settings, MONDAY)["generation"] == facts[MONDAY][0]["generation"]
    assert build(settings, MONDAY)["content_hash"] == facts[MONDAY][1]["content_hash"]


def test_nothing_new_to_learn_keeps_the_generation(settings):
    publish_items(settings, MONDAY, 30)
    publish_vectors(settings, MONDAY, vectors(30))
    first = train(settings, MONDAY)
    build(settings, MONDAY)
    later = train(settings, NEXT_MONDAY)
    assert "was trained 7 days ago" in later["reason"]
    assert later["generation"] == first["generation"]
    assert build(settings, NEXT_MONDAY)["changed"] is False
    assert train(settings, NEXT_MONDAY)["status"] == "unchanged"


def test_other_settings_or_another_encoder_make_a_generation_due(settings):
    publish_items(settings, MONDAY, 30)
    publish_vectors(settings, MONDAY, vectors(30))
    first = train(settings, MONDAY)
    for changes in ({"codebook_size": 4}, {"collisions": "reassign"}):
        other = train(settings, TUESDAY, **changes)
        assert "asks for another tokenizer" in other["reason"]
        assert other["generation"] != first["generation"]
    built = build(settings, TUESDAY, collisions="reassign")
    assert built["quality"]["served"]["codes_per_item"] == 2
    assert built["quality"]["served"]["collision"]["share"] == 0
    with pytest.raises(ProgramError, match=r"IDs of this generation have \[2\] codes"):
        build(settings, TUESDAY, collisions="suffix")
    publish_vectors(settings, NEXT_MONDAY, vectors(30, width=4), encoder="other@2")
    with pytest.raises(ProgramError, match=r"holds vectors of other@2, text@1, wanted is"):
        train(settings, NEXT_MONDAY)
    switched = train(settings, NEXT_MONDAY, encoder="other", collisions="reassign", retrain_days=30)
    assert "encoded by other@2 now, no longer by text@1" in switched["reason"]
    assert build(settings, NEXT_MONDAY, collisions="reassign")["rows"] == 30


@pytest.mark.parametrize("day", [MONDAY, TUESDAY])
def test_items_that_were_moved_apart_still_count_as_not_told_apart(settings, day):
    for each in (MONDAY, TUESDAY):
        publish_items(settings, each, 60)
        publish_vectors(settings, each, vectors(60))
    trained = train(settings, MONDAY, collisions="reassign")
    build(settings, MONDAY, collisions="reassign")
    built = build(settings, day, collisions="reassign")
    assert built["new_items"] == 0
    assert built["quality"]["collision"] == trained["quality"]["collision"]
    assert built["quality"]["collision"]["share"] > 0.1
    assert built["quality"]["served"]["collision"]["share"] == 0


def test_items_may_share_ids_where_the_preset_says_so(settings):
    publish_items(settings, MONDAY, 30)
    publish_vectors(settings, MONDAY, np.ones((30, 6), dtype=np.float32))
    trained = train(settings, MONDAY, collisions="bucket")
    built = build(settings, MONDAY, collisions="bucket")
    assert set(ids(settings, trained["generation"]).values()) == {(0, 0)}
    assert any("not told apart" in alarm for alarm in built["alarms"])


@pytest.mark.parametrize("num_items", [1, 3])
def test_a_tiny_catalogue_gets_ids(settings, num_items):
    publish_items(settings, MONDAY, num_items)
    publish_vectors(settings, MONDAY, vectors(num_items))
    trained = train(settings, MONDAY)
    assert "held_out" not in trained["quality"]
    assert any("can't fill 8 codes" in alarm for alarm in trained["alarms"])
    assert build(settings, MONDAY)["rows"] == num_items


def test_what_is_missing_is_said(settings):
    with pytest.raises(ProgramError, match="'item_embeddings' has no rows for 2024-01-01"):
        train(settings, MONDAY)
    with pytest.raises(ProgramError, match="no tokenizer of 2024-01-01 or before"):
        build(settings, MONDAY)
    publish_vectors(settings, MONDAY, [np.ones(6), np.ones(5)])
    with pytest.raises(ProgramError, match=r"vectors of 'text@1' have 5, 6 numbers"):
        train(settings, MONDAY)
    broken = vectors(30)
    broken[3, 2] = np.nan
    publish_vectors(settings, TUESDAY, broken)
    with pytest.raises(ProgramError, match="1 of 30 embeddings hold NaN"):
        train(settings, TUESDAY)


def test_more_items_than_ids_are_refused(settings):
    publish_items(settings, MONDAY, 30)
    publish_vectors(settings, MONDAY, vectors(30))
    small = {"num_levels": 1, "codebook_size": 8, "collisions": "reassign"}
    train(settings, MONDAY, **small)
    with pytest.raises(ProgramError, match="new item 8 finds no free semantic ID: 8 items have"):
        build(settings, MONDAY, **small)
    assert not FeatureStore.open(settings, "small").exists("semantic_ids")


def test_unsound_ids_are_not_published(settings, monkeypatch):
    publish_items(settings, MONDAY, 30)
    publish_vectors(settings, MONDAY, np.ones((30, 6), dtype=np.float32))
    train(settings, MONDAY)
    honest = build_semantic_ids.resolve

    def careless(*arguments, **named):
        found = honest(*arguments, **named)
        found.codes[:, -1] = 0
        return found

    monkeypatch.setattr(build_semantic_ids, "resolve", careless)
    with pytest.raises(TableRefused, match=r"codes_are_unique: .*Here 26 of 30 rows") as refused:
        build(settings, MONDAY)
    assert "e.g. generation=" in str(refused.value)
    assert not refused.value.facts["validation"]["success"]
    assert not FeatureStore.open(settings, "small").exists("semantic_ids")


def with_rows(monkeypatch, change):
    """Let the program build other rows for its new items."""
    honest = build_semantic_ids._rows
    monkeypatch.setattr(build_semantic_ids, "_rows", lambda *given: change(honest(*given)))


def replaced(table, name, values):
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(name), [values])


UNSOUND = {
    "key_is_unique": lambda rows: pa.concat_tables([rows, rows.slice(3, 1)]),
    "every_item_is_there": lambda rows: rows.slice(1),
    "item_is_known": lambda rows: replaced(
        rows, "item_id", pa.array(["nobody", *rows["item_id"].to_pylist()[1:]])
    ),
    "item_index_is_the_catalogues": lambda rows: replaced(
        rows, "item_index", pa.array([1, *range(1, 30)], pa.int32())
    ),
    "assigned_day_is_past": lambda rows: replaced(
        rows, "assigned_day", pa.array([TUESDAY] * 30, pa.date32())
    ),
    "codes_have_equal_size": lambda rows: replaced(
        rows, "codes", pa.array([[n] * (2 + n % 2) for n in range(30)], rows["codes"].type)
    ),
}
"""Defects by the rule that finds them."""


@pytest.mark.parametrize("rule", UNSOUND)
def test_broken_ids_are_refused_by_the_tables_rules(settings, monkeypatch, rule):
    publish_items(settings, MONDAY, 30)
    publish_vectors(settings, MONDAY, vectors(30))
    train(settings, MONDAY)
    with_rows(monkeypatch, UNSOUND[rule])
    with pytest.raises(TableRefused, match=f"  {rule}: "):
        build(settings, MONDAY)
    store = FeatureStore.open(settings, "small")
    assert not store.exists("semantic_ids")


def test_a_refused_day_leaves_yesterdays_ids_and_a_page_that_says_why(settings, monkeypatch):
    publish_items(settings, MONDAY, 30)
    publish_vectors(settings, MONDAY, vectors(30))
    train(settings, MONDAY)
    first = build(settings, MONDAY)
    assert first["validation"]["success"]
    publish_items(settings, TUESDAY, 40)
    publish_vectors(settings, TUESDAY, vectors(40))
    with_rows(monkeypatch, lambda rows: pa.concat_tables([rows, rows.slice(3, 1)]))
    with pytest.raises(TableRefused, match="semantic_ids of 2024-01-02 refused by"):
        build(settings, TUESDAY)
    store = FeatureStore.open(settings, "small")
    assert store.snapshot_id("semantic_ids") == first["snapshot_id"]
    docs = settings.data_docs_of("small")
    assert "semantic_ids/2024-01-02.html" in (docs / "index.html").read_text()
    page = (docs / "semantic_ids" / "2024-01-02.html").read_text()
    assert "<code>key_is_unique</code>" in page
    assert "item_id=item-33, rows=2" in page


CONTRASTIVE = {
    "kind": "crq_vae",
    "settings": {
        "crq_vae": {"latent_width": 4, "hidden_width": 8, "warmup_epochs": 2, "epochs": 2}
    },
}


def test_pairs_of_the_day_reach_the_tokenizer_and_the_report(settings):
    publish_items(settings, MONDAY, 60)
    publish_vectors(settings, MONDAY, vectors(60), skip=(7,))
    pairs = [(item, item + 1) for item in range(59)]
    publish_pairs(settings, MONDAY, pairs)
    publish_pairs(settings, TUESDAY, pairs[:3])
    trained = train(settings, MONDAY, **CONTRASTIVE)
    # Item 7 has no vector, and stood in two pairs.
    assert trained["cooccurrence"] == {"pairs": 57, "pairs_without_vector": 2}
    assert trained["fit"]["positives"]["pairs_given"] == 57
    assert trained["inputs"]["item_cooccurrence"]["content_hash"]
    held_out = trained["quality"]["held_out"]
    assert 0 < held_out["pairs_given"] <= 2 * held_out["items"]
    assert len(held_out["consistency_given"]) == 2
    assert len(trained["quality"]["consistency_given"]) == 2
    built = build(settings, MONDAY, **CONTRASTIVE)
    assert (built["rows"], built["new_items_without_embedding"]) == (60, 1)
    assert train(settings, MONDAY, **CONTRASTIVE)["status"] == "unchanged"


def test_a_day_without_pairs_is_told_and_neighbours_are_contrasted(settings):
    publish_items(settings, MONDAY, 30)
    publish_vectors(settings, MONDAY, vectors(30))
    trained = train(settings, MONDAY, **CONTRASTIVE)
    assert trained["cooccurrence"]["pairs"] == 0
    assert trained["cooccurrence"]["note"].startswith(
        "'item_cooccurrence' has no rows for 2024-01-01"
    )
    assert trained["fit"]["positives"] == {
        "pairs_given": 0,
        "items_with_given": 0,
        "items_with_neighbours": 30,
        "items_without_positive": 0,
    }
    assert "item_cooccurrence" not in trained["inputs"]
    assert "consistency_given" not in trained["quality"]


@pytest.mark.parametrize("kind", ["rq_vae", "crq_vae"])
def test_a_tiny_catalogue_gets_ids_of_every_kind(settings, kind):
    publish_items(settings, MONDAY, 3)
    publish_vectors(settings, MONDAY, vectors(3))
    trained = train(settings, MONDAY, kind=kind)
    assert any("can't fill 8 codes" in alarm for alarm in trained["alarms"])
    assert build(settings, MONDAY, kind=kind)["rows"] == 3


def test_small_work_runs_on_one_thread_and_the_setting_comes_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with train_tokenizer._threads_for(1_000):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with train_tokenizer._threads_for(10**12):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
