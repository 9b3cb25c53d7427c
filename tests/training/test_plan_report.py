import pytest
import torch

from tests import worlds
from training.fit.fitting import Fitting, LoopSettings
from training.models.higr import FAMILY
from training.models.higr.diagnostics import plan_report
from training.models.higr.model import Higr
from training.settings.higr import HigrConfig


@pytest.fixture(scope="module")
def world():
    return worlds.continued(num_users=200)


@pytest.fixture(scope="module")
def fitted(world):
    config = HigrConfig(width=32, num_heads=1, dropout=0.0, order="exposed")
    loop = LoopSettings(
        max_epochs=15,
        tokens_per_batch=1024,
        learning_rate=1e-2,
        warmup_steps=10,
        max_history=20,
        validation_metric="loss",
    )
    return FAMILY.fit(world.split, config, Fitting(loop), world.vocabulary, world.data)[0]


def report(model, world):
    return plan_report(model, world.slates.test, max_history=20)


def test_a_plan_that_is_heeded_can_not_be_replaced(fitted, world):
    found = report(fitted, world)
    assert found.loss < found.loss_of_shuffled_plans
    assert found.loss < found.loss_of_mean_plan
    assert not found.is_ignored
    assert found.slate_log_prob == pytest.approx(-4 * found.loss, rel=1e-4)


def test_a_plan_that_is_not_heeded_is_found_out(fitted, world):
    deaf = Higr(fitted.config, fitted.codes_VQ, fitted.level_sizes)
    deaf.load_state_dict(fitted.state_dict())
    torch.nn.init.zeros_(deaf.to_generator.weight)
    found = report(deaf, world)
    assert found.loss == found.loss_of_shuffled_plans == found.loss_of_mean_plan
    assert found.is_ignored


@torch.no_grad()
def test_the_rank_of_the_true_item_is_among_the_items_that_have_codes(world, monkeypatch):
    codes_VQ = torch.from_numpy(world.vocabulary.codes_VQ.copy())
    codes_VQ[20:] = -1
    model = Higr(HigrConfig(width=16, num_heads=1), codes_VQ, (4, 4, 4)).eval()
    torch.nn.init.normal_(model.tokens.weight)
    slates = world.slates.test
    slates = slates.keeping_items(slates.items < 20)

    def plan(batch, slate_BWM):
        return model.item_vectors(slate_BWM), torch.zeros(len(slate_BWM), 16)

    monkeypatch.setattr(model, "plan", plan)
    right = plan_report(model, slates, max_history=20)
    assert (right.rank_share, right.median_rank) == (0.0, 1.0)
    monkeypatch.setattr(model, "plan", lambda *given: (-plan(*given)[0], plan(*given)[1]))
    wrong = plan_report(model, slates, max_history=20)
    assert (wrong.rank_share, wrong.median_rank) == (1.0, 20.0)


def test_one_slate_has_nobody_to_exchange_plans_with(fitted, world):
    with pytest.raises(ValueError, match="1 slates, expected at least 2 to exchange plans"):
        plan_report(fitted, world.slates.test.where([0]), max_history=20)
