import math

import pytest
import torch

from training.losses.tiered import tiered_loss
from training.models.rankgr.prefixes import each_prefix_loss


def by_hand(scores, tiers):
    """The equation, term by term, with exponentials."""
    terms = []
    for score, tier in zip(scores, tiers, strict=True):
        lower = [s for s, t in zip(scores, tiers, strict=True) if t > tier]
        if tier and lower:
            total = math.exp(score) + sum(map(math.exp, lower))
            terms.append(-math.log(math.exp(score) / total))
    return sum(terms) / max(1, len(terms))


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_the_equation(seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn((6, 9), generator=generator)
    tiers = torch.randint(0, 5, (6, 9), generator=generator)
    expected = [by_hand(s, t) for s, t in zip(scores.tolist(), tiers.tolist(), strict=True)]
    torch.testing.assert_close(tiered_loss(scores, tiers), torch.tensor(expected))


def test_one_item_above_one_tier_is_the_loss_of_s_dpo():
    scores = torch.tensor([[0.3, -1.0, 2.0]])
    differences = scores[:, 1:] - scores[:, :1]
    expected = -torch.nn.functional.logsigmoid(-differences.logsumexp(1))
    torch.testing.assert_close(tiered_loss(scores, torch.tensor([[1, 4, 4]])), expected)


def test_items_of_one_tier_never_compete():
    scores = torch.tensor([[1.0, 5.0, 0.0]], requires_grad=True)
    tiers = torch.tensor([[1, 1, 4]])
    tiered_loss(scores, tiers).sum().backward()
    alone = torch.tensor([[1.0, 0.0]], requires_grad=True)
    (tiered_loss(alone, torch.tensor([[1, 4]])) / 2).sum().backward()
    torch.testing.assert_close(scores.grad[0, 0], alone.grad[0, 0])


@pytest.mark.parametrize("tiers", [[0, 0, 0], [1, 1, 1], [4, 4, 0], [0, 3, 0]])
def test_a_list_of_one_tier_has_no_loss_and_no_gradient(tiers):
    scores = torch.tensor([[1e4, -1e4, 3.0]], requires_grad=True)
    loss = tiered_loss(scores, torch.tensor([tiers]))
    loss.sum().backward()
    assert loss.tolist() == [0.0]
    assert scores.grad.eq(0).all()


def test_large_scores_stay_finite():
    scores = torch.tensor([[-1e4, 1e4, 1e4]], requires_grad=True)
    loss = tiered_loss(scores, torch.tensor([[1, 2, 4]]))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert scores.grad.isfinite().all()


def test_an_empty_list_is_no_loss():
    assert tiered_loss(torch.zeros((2, 0)), torch.zeros((2, 0), dtype=torch.int64)).tolist() == [
        0.0,
        0.0,
    ]


def test_a_shared_prefix_is_compared_once_in_its_best_tier():
    # Items 0 and 1 share their first code: at that length only item 2 is below item 0.
    rewards = torch.tensor([[[-1.0, -2.0], [-1.0, -0.5], [-3.0, -0.1]]], requires_grad=True)
    codes = torch.tensor([[[5, 1], [5, 2], [6, 1]]])
    tiers = torch.tensor([[1, 4, 4]])
    first = tiered_loss(torch.tensor([[-1.0, -3.0]]), torch.tensor([[1, 4]]))
    whole = tiered_loss(torch.tensor([[-3.0, -1.5, -3.1]]), tiers)
    loss = each_prefix_loss(rewards, codes, tiers)
    torch.testing.assert_close(loss, (first + whole) / 2)
    loss.sum().backward()
    first_only = torch.autograd.grad(
        each_prefix_loss(rewards[:, :, :1], codes[:, :, :1], tiers).sum(), rewards
    )[0]
    assert first_only[0, 1].eq(0).all()


def test_items_of_one_id_and_tier_count_as_one_prefix():
    rewards, codes = torch.tensor([[[-1.0], [-1.0], [-2.0]]]), torch.tensor([[[5], [5], [6]]])
    once = tiered_loss(torch.tensor([[-1.0, -2.0]]), torch.tensor([[1, 4]]))
    torch.testing.assert_close(each_prefix_loss(rewards, codes, torch.tensor([[1, 1, 4]])), once)
