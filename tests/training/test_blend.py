"""Two models that answer together: how lists are added up, how the weight is chosen, the bundle."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from feature_store.preset import PresetError, load
from feature_store.settings import REPOSITORY, Settings
from tests import worlds
from tests.recommender_world import DAY, NUM_KINDS, NUM_USERS, tables_of
from tests.suites.recommender import RecommenderSuite
from tests.training.grid_world import SASREC, TABLE, request_on_a_world
from tests.training.test_train_recommender import publish_world
from training.config import PART, TrainingConfig
from training.data.queries import Queries, queries_of
from training.data.vocabulary import Vocabulary
from training.evaluation.record import Evaluation
from training.experiments.cell_tables import CellTables
from training.experiments.measure import measure, tables_read
from training.experiments.recommenders import cell_of
from training.experiments.search import Effort
from training.experiments.table import Fit, Row
from training.models import MODELS, blend
from training.models.blend import Reads
from training.models.blend.fit import WEIGHTS
from training.models.blend.model import CANDIDATES, Blend, BlendConfig, blended
from training.models.interface import PAD, TopK
from training.programs import (
    blend_recommenders,
    evaluate_recommender,
    promote_recommender,
    recommend,
    train_recommender,
)
from training.programs.errors import ProgramError
from training.programs.interface import Task
from training.registry.predictor import BundlePredictor

_NAMES = itertools.count()
KNN, POPULARITY = Fit(of="item_knn"), Fit(of="popularity")
BLEND = Fit(of="blend", parts=(KNN, POPULARITY))


def part(world, fitting, family):
    return MODELS[family].fit(world.split, MODELS[family].configure({}), fitting, world.vocabulary)[
        0
    ]


def alike(parts):
    """What a fit of a blend is given: parts that read the same."""
    return {"parts": parts, "reads": (Reads(50, -1),) * 2}


class TestBlend(RecommenderSuite):
    family = "blend"

    def fit(self, world, **changes):
        parts = tuple(part(world, self.fitting, name) for name in ("item_knn", "popularity"))
        config = BlendConfig(**changes)
        return blend.FAMILY.fit(world.split, config, self.fitting, world.vocabulary, alike(parts))[
            0
        ]


class TestRescored(TestBlend):
    """A second part that ranks alone, of a history of which the first reads the strong events."""

    def fit(self, world, **changes):
        first, second = (part(world, self.fitting, name) for name in ("item_knn", "rates"))
        config, histories = BlendConfig(**changes), (Reads(5, 1), Reads(20, -1))
        data = {"parts": (first, second), "reads": histories}
        return blend.FAMILY.fit(world.split, config, self.fitting, world.vocabulary, data)[0]


def top(items, scores):
    return TopK(np.array([items], np.int32), np.array([scores], np.float32))


def test_standardised_scores_are_added_and_an_item_that_one_lacks_has_its_lowest():
    first, second = top([7, 8, 9], [3.0, 2.0, 1.0]), top([9, 5, 6], [1.0, 0.0, -1.0])
    answer = blended(first, second, BlendConfig(0.5, "standardised"), 3)
    high = np.sqrt(1.5)  # (1, 0, -1) over its deviation
    assert answer.items_Bk.tolist() == [[7, 9, 8]]
    # 7: (high - high) / 2; 9: (-high + high) / 2; 8: (0 - high) / 2
    np.testing.assert_allclose(answer.scores_Bk, [[0, 0, -high / 2]], atol=1e-6)


def test_softmax_scores_are_shares_and_an_item_that_one_lacks_has_none():
    first, second = top([1, 2], [np.log(3.0), 0.0]), top([2, 3], [5.0, 5.0])
    answer = blended(first, second, BlendConfig(0.4, "softmax"), 2)
    assert answer.items_Bk.tolist() == [[2, 1]]
    np.testing.assert_allclose(answer.scores_Bk, [[0.4 * 0.25 + 0.6 * 0.5, 0.4 * 0.75]], rtol=1e-6)


@pytest.mark.parametrize("normalisation", ["standardised", "softmax"])
@pytest.mark.parametrize(("weight", "of"), [(1.0, 0), (0.0, 1)])
def test_all_of_the_weight_is_the_order_of_one_part(normalisation, weight, of):
    parts = top([4, 2, 9], [3.0, 1.0, 0.5]), top([2, 3, 4], [0.9, 0.8, 0.1])
    answer = blended(*parts, BlendConfig(weight, normalisation), 2)
    assert answer.items_Bk.tolist() == [parts[of].items_Bk[0, :2].tolist()]


@pytest.mark.parametrize("normalisation", ["standardised", "softmax"])
def test_empty_places_and_equal_scores_are_no_trouble(normalisation):
    none, equal = top([PAD, PAD], [-np.inf, -np.inf]), top([3, 4], [2.0, 2.0])
    config = BlendConfig(0.5, normalisation)
    assert blended(none, equal, config, 2).items_Bk.tolist() == [[3, 4]]
    assert blended(none, none, config, 2).items_Bk.tolist() == [[PAD, PAD]]
    assert np.isfinite(blended(none, equal, config, 2).scores_Bk).all()


def test_the_weight_is_the_best_on_validation_targets():
    world = worlds.chain(num_users=60)
    parts = tuple(part(world, TestBlend.fitting, name) for name in ("popularity", "item_knn"))
    model, report = blend.FAMILY.fit(
        world.split, BlendConfig(), TestBlend.fitting, world.vocabulary, alike(parts)
    )
    alone = report.facts["validation_of_parts"]
    assert alone[1] > alone[0]  # neighbours know what comes next
    assert report.facts["best_validation"] >= max(alone)
    assert model.config.weight in WEIGHTS[:6]
    assert report.facts["validation_targets"] == len(world.split.validation)


def test_without_validation_targets_the_weight_stays():
    world = worlds.chain(num_users=20)
    nobody = world.split.validation.where(np.empty(0, dtype=np.int64))
    parts = tuple(part(world, TestBlend.fitting, name) for name in ("item_knn", "popularity"))
    split = replace(world.split, validation=nobody)
    given = BlendConfig(0.3)
    model, report = blend.FAMILY.fit(split, given, TestBlend.fitting, Vocabulary(30), alike(parts))
    assert model.config == given
    assert report.facts["best_validation"] is None


def config(name, **models):
    return TrainingConfig.model_validate(
        {
            "name": name,
            "models": {
                "challenger": "popularity",
                "baselines": ["item_knn"],
                "blend": ["item_knn", "popularity"],
                **models,
            },
            "evaluation": {"holdout_days": 7, "validation_days": 2, "bootstrap_samples": 200},
            "recommendations": {"num_items": 5},
        }
    )


@pytest.fixture
def task(mlflow_settings, tmp_path):
    settings = Settings(
        home=mlflow_settings.home,
        warehouse=str(tmp_path / "warehouse"),
        catalog_uri=f"sqlite:///{tmp_path}/catalog.db",
        device="cpu",
    )
    made = Task(settings, config(f"blends-{next(_NAMES)}"), DAY, step="blend_recommenders")
    publish_world(tables_of(made))
    return made


def run(task, program, **changes):
    made = replace(task, step=program.__name__.rsplit(".", 1)[-1], **changes)
    made.__dict__.update(registry=task.registry)
    return program.run(made)


def test_a_blend_is_kept_evaluated_promoted_and_served(task):
    run(task, train_recommender, families=("item_knn", "popularity"))
    facts = run(task, blend_recommenders)
    assert facts["parts"] == ["item_knn", "popularity"]
    assert facts["best_validation"] >= max(facts["validation_of_parts"])
    assert run(task, blend_recommenders)["status"] == "unchanged"
    record = Evaluation.from_json(run(task, evaluate_recommender))
    assert record.baselines == ("item_knn", "blend")
    hits = {label: record.entrants[label].value("hr@10").point for label in record.entrants}
    assert hits["blend"] > hits["popularity"]
    assert run(task, promote_recommender)["decision"] == "promote_baseline"
    candidate = task.registry.find_candidate(DAY.isoformat(), "blend")
    task.registry.promote(task.registry.register(candidate), day=DAY.isoformat(), reason="test")
    served = run(task, recommend)
    assert served["model_family"] == "blend"
    predictor = BundlePredictor.of(task.registry.fetch(task.registry.champion()), device="cpu")
    assert [part.family for part in predictor.model.parts] == ["item_knn", "popularity"]
    (items,), (scores,) = predictor.next_ids([["item-0", "item-4"]], 3, exclude_seen=True)
    assert len(items) == len(scores) == 3
    assert all(int(item.partition("-")[2]) % NUM_KINDS == 0 for item in items)
    evaluation = task.config.evaluation.model_copy(update={"exclude_seen": False})
    other = task.config.model_copy(update={"evaluation": evaluation})
    assert run(replace(task, config=other), blend_recommenders)["status"] == "done"


def test_a_part_that_was_not_trained_is_named_with_the_step_that_trains_it(task):
    run(task, train_recommender, families=("popularity",))
    with pytest.raises(ProgramError, match=r"no candidate of item_knn for .*; run train_baselines"):
        run(task, blend_recommenders)


def test_an_evaluation_waits_for_the_blend(task):
    run(task, train_recommender, families=("item_knn", "popularity"))
    with pytest.raises(ProgramError, match=r"no candidate of blend .*; run blend_recommenders for"):
        run(task, evaluate_recommender)


def test_a_preset_without_a_blend_makes_none(task):
    plain = replace(task, config=config(task.config.name, blend=None))
    facts = blend_recommenders.run(plain)
    assert facts["status"] == "unchanged"
    assert "models.blend" in facts["message"]


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        (
            ["models.blend=[unigrf, sasrec]"],
            "found the text 'unigrf', which is not trained, expected two of tiger, sasrec",
        ),
        (["models.blend=[sasrec, sasrec]"], "'sasrec' is there twice"),
        (["models.blend=[sasrec, blend]"], "blend"),
        (["models.blend=[sasrec]"], "blend"),
        (
            [
                "models.baselines=[rates, popularity]",
                "models.blend=[rates, popularity]",
            ],
            "rates does not recommend, expected first a family that recommends",
        ),
        (
            [
                "models.challenger=unigrf",
                "models.settings.unigrf={tasks: ranking}",
                "gate.primary_metric=auc",
                "models.blend=[unigrf, sasrec]",
            ],
            "unigrf does not recommend",
        ),
    ],
)
def test_a_blend_of_what_can_not_be_blended_is_refused(changes, refusal):
    with pytest.raises(PresetError, match=refusal):
        load(PART, "movielens-100k", folder=REPOSITORY / "presets", overrides=changes)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    home = tmp_path_factory.mktemp("blend")
    return Settings(home=home, presets=home / "presets", device="cpu")


def blend_table(fit=BLEND):
    rows = (
        Row(name="both", fits=(fit,)),
        *(Row(name=one.of, fits=(one,)) for one in fit.parts),
    )
    pairs = tuple(("both", one.of) for one in fit.parts)
    return replace(TABLE, rows=rows, comparisons=pairs, facts={"fit.weight": "weight"})


def test_a_row_of_a_blend_shares_the_fits_of_its_parts(settings, tmp_path):
    request = request_on_a_world(settings, tmp_path / "cells", blend_table())
    assert set(tables_read(request.table, request.table.rows)) == {"items", "user_sequences"}
    result = measure(request, request.table.rows, (0, 1), command="sidereal reproduce")
    rows = {row.name: row for row in result.rows}
    assert rows["both"].seeds == (0,)  # neither part draws
    assert 0 <= rows["both"].facts["fit.weight"].mean <= 1
    assert result.num_units == NUM_USERS
    names = sorted(path.name.partition("-")[0] for path in request.cells.iterdir())
    assert names == ["blend", "item_knn", "popularity"]


def test_a_search_chooses_for_the_parts_and_blends_what_it_chose(settings, tmp_path):
    request = request_on_a_world(settings, tmp_path / "cells", blend_table())
    result = measure(
        request, request.table.rows, (0,), command="sidereal reproduce", effort=Effort(2)
    )
    searched = {row.name: [one.family for one in row.searched] for row in result.rows}
    assert searched == {"both": [], "item_knn": ["item_knn"], "popularity": ["popularity"]}
    rows = request.table.chosen(("both",))
    alone = measure(request, rows, (0,), command="sidereal reproduce", effort=Effort(2))
    assert [one.family for one in alone.rows[0].searched] == ["item_knn", "popularity"]
    assert alone.rows[0].metrics == result.rows[0].metrics


def test_parts_that_read_other_histories_are_asked_each_its_own(settings, tmp_path):
    short = replace(SASREC, changes=("training.overrides.sasrec.max_history=5",))
    fit = Fit(of="blend", parts=(KNN, short))
    request = request_on_a_world(settings, tmp_path / "cells", blend_table(fit))
    cell = cell_of(CellTables(request), fit, 0)
    assert cell.training.max_history == cell.model().reads[0].max_history == 20
    assert [reads.max_history for reads in cell.model().reads] == [20, 5]


def test_what_a_part_reads_is_what_it_would_have_read_alone():
    strengths = [[3, 0, 2, -1, 3, 0, 2, 1]]
    histories = worlds.histories_of([[0, 1, 2, 3, 4, 5, 6, 7]], strengths=strengths)
    whole = Queries.at(histories, np.array([0]), np.array([8]), max_history=99, exclude_seen=True)
    for reads in (Reads(2, 1), Reads(3, -1), Reads(99, 3), Reads(1, 4)):
        strong = histories.where(histories.strengths >= reads.minimum_strength)
        alone = Queries.at(
            strong,
            np.array([0]),
            strong.lengths,
            max_history=reads.max_history,
            exclude_seen=False,
            asked_at=whole.asked_at_B,
        )
        narrowed = whole.narrowed(**reads._asdict())
        for name in ("items_BL", "strengths_BL", "times_BL", "lengths_B"):
            np.testing.assert_array_equal(getattr(narrowed, name), getattr(alone, name))
        assert narrowed.excluded.tolist() == list(range(8))


def test_a_ranker_puts_the_candidates_of_the_first_into_its_order():
    world = worlds.chain(num_users=60)
    first, second = (part(world, TestBlend.fitting, name) for name in ("item_knn", "rates"))
    model = Blend(BlendConfig(0.0), (first, second), (Reads(50, -1),) * 2)
    assert model.answers == {"lists", "slates", "feedback"}
    [queries] = queries_of(world.split.test, max_history=50, exclude_seen=True)
    state = model.read(queries)
    top, candidates = model.recommend(state, 5), first.recommend(state[0], CANDIDATES)
    said_BC = second.rank(state[1], candidates.items_Bk)
    for row, said_C in enumerate(said_BC):
        named = {
            item: said
            for item, said in zip(candidates.items_Bk[row], said_C, strict=True)
            if item != PAD
        }
        chosen = [named[item] for item in top.items_Bk[row] if item != PAD]
        assert chosen == sorted(named.values(), reverse=True)[: len(chosen)]
    items_BC = world.split.test.items[:, None]
    np.testing.assert_array_equal(model.rank(state, items_BC), second.rank(state[1], items_BC))


def test_a_ranker_is_no_champion_for_a_preset_that_decides_by_lists(task):
    run(task, train_recommender, families=("rates",))
    candidate = task.registry.find_candidate(DAY.isoformat(), "rates")
    task.registry.promote(task.registry.register(candidate), day=DAY.isoformat(), reason="test")
    with pytest.raises(ProgramError, match="the champion, rates version 1, ranks and does not"):
        run(task, recommend)
    ranks = task.config.gate.model_copy(update={"primary_metric": "gauc"})
    facts = run(replace(task, config=task.config.model_copy(update={"gate": ranks})), recommend)
    assert facts["status"] == "unchanged"
    assert facts["message"].startswith("no lists: the champion, rates version 1, ranks alone")
