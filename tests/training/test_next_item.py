import math

import pytest
import torch

from training.losses import next_item
from training.losses.next_item import (
    chunked_softmax_loss,
    full_softmax_loss,
    position_softmax_loss,
    sampled_softmax_loss,
)


def some(N=7, D=4, V=9, dtype=torch.float64):
    torch.manual_seed(0)
    return (
        torch.randn(N, D, dtype=dtype, requires_grad=True),
        torch.randn(V, D, dtype=dtype, requires_grad=True),
        torch.randint(V, (N,)),
    )


def test_two_items_by_hand():
    x_ND = torch.tensor([[1.0, 0.0]])
    items_VD = torch.tensor([[2.0, 5.0], [0.0, 7.0]])
    expected = math.log(1 + math.exp(-2))
    for loss in (
        full_softmax_loss(x_ND, items_VD, torch.tensor([0]))[0],
        chunked_softmax_loss(x_ND, items_VD, torch.tensor([0])),
        sampled_softmax_loss(x_ND, items_VD, torch.tensor([0]), torch.tensor([0, 1]))[0],
        position_softmax_loss(x_ND, items_VD, torch.tensor([0]), torch.tensor([[0, 1]])),
    ):
        assert float(loss) == pytest.approx(expected)


@pytest.mark.parametrize("rows", [1, 2, 7, 100])
def test_chunks_sum_to_the_plain_form_in_value_and_gradient(rows):
    x_ND, items_VD, target_N = some()
    plain = full_softmax_loss(x_ND, items_VD, target_N).sum() * 3
    expected = torch.autograd.grad(plain, (x_ND, items_VD))
    chunked = chunked_softmax_loss(x_ND, items_VD, target_N, rows=rows) * 3
    found = torch.autograd.grad(chunked, (x_ND, items_VD))
    torch.testing.assert_close(chunked, plain)
    torch.testing.assert_close(found, expected)


def test_chunked_gradients_are_those_of_finite_differences():
    x_ND, items_VD, target_N = some(N=3, V=5)
    assert torch.autograd.gradcheck(
        lambda x, items: chunked_softmax_loss(x, items, target_N, rows=2), (x_ND, items_VD)
    )


def test_sampled_gradients_are_those_of_finite_differences():
    x_ND, items_VD, target_N = some(N=3, V=5)
    negative_R = torch.tensor([0, 2, 4])
    assert torch.autograd.gradcheck(
        lambda x, items: sampled_softmax_loss(x, items, target_N, negative_R).sum(),
        (x_ND, items_VD),
    )


def test_all_items_as_negatives_are_the_full_softmax():
    x_ND, items_VD, target_N = some()
    sampled = sampled_softmax_loss(x_ND, items_VD, target_N, torch.arange(9))
    torch.testing.assert_close(sampled, full_softmax_loss(x_ND, items_VD, target_N))


def test_a_target_drawn_as_its_own_negative_changes_nothing():
    x_ND, items_VD, _ = some(N=1)
    target_N = torch.tensor([3])
    without = sampled_softmax_loss(x_ND, items_VD, target_N, torch.tensor([1, 5]))
    with_it = sampled_softmax_loss(x_ND, items_VD, target_N, torch.tensor([1, 3, 5, 3]))
    torch.testing.assert_close(without, with_it)


def test_items_that_were_not_drawn_get_no_gradient():
    x_ND, items_VD, _ = some(N=1)
    loss = sampled_softmax_loss(x_ND, items_VD, torch.tensor([3]), torch.tensor([1, 5])).sum()
    (gradient,) = torch.autograd.grad(loss, items_VD)
    assert gradient.any(1).nonzero().flatten().tolist() == [1, 3, 5]


def test_no_positions_cost_nothing():
    x_ND, items_VD, target_N = some(N=0)
    loss = chunked_softmax_loss(x_ND, items_VD, target_N)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not items_VD.grad.any()


def test_extreme_scores_stay_finite():
    x_ND = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    items_VD = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    loss = chunked_softmax_loss(x_ND, items_VD, torch.tensor([1, 1]))
    loss.backward()
    assert loss.item() == 2e4
    assert x_ND.grad.isfinite().all()
    assert items_VD.grad.isfinite().all()


def test_half_precision_products_are_summed_in_full_precision():
    x_ND, items_VD, target_N = some(N=200, D=16, V=50, dtype=torch.float32)
    plain = full_softmax_loss(x_ND, items_VD, target_N).sum()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = chunked_softmax_loss(x_ND, items_VD, target_N)
    mixed.backward()
    assert mixed.dtype == items_VD.grad.dtype == x_ND.grad.dtype == torch.float32
    torch.testing.assert_close(mixed, plain, rtol=0.01, atol=0.0)


BOTH_WAYS = pytest.mark.parametrize("dense", [64, 0], ids=["dense", "fetched"])


@BOTH_WAYS
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_a_draw_for_each_position_is_the_sampled_loss_of_each(dense, rows, monkeypatch):
    monkeypatch.setattr(next_item, "DENSE_ITEMS_PER_NEGATIVE", dense)
    x_ND, items_VD, target_N = some()
    negative_NR = torch.randint(9, (7, 6))  # with repeats, and targets among them
    each = [
        sampled_softmax_loss(x_ND[n : n + 1], items_VD, target_N[n : n + 1], negative_NR[n]).sum()
        for n in range(7)
    ]
    plain = torch.stack(each).sum() * 3
    expected = torch.autograd.grad(plain, (x_ND, items_VD))
    chunked = position_softmax_loss(x_ND, items_VD, target_N, negative_NR, rows=rows) * 3
    found = torch.autograd.grad(chunked, (x_ND, items_VD))
    torch.testing.assert_close(chunked, plain)
    torch.testing.assert_close(found, expected)


@BOTH_WAYS
def test_the_gradients_of_a_draw_for_each_are_those_of_finite_differences(dense, monkeypatch):
    monkeypatch.setattr(next_item, "DENSE_ITEMS_PER_NEGATIVE", dense)
    x_ND, items_VD, target_N = some(N=3, V=5)
    negative_NR = torch.tensor([[0, 2, 2], [4, 1, 3], [1, 1, 0]])
    assert torch.autograd.gradcheck(
        lambda x, items: position_softmax_loss(x, items, target_N, negative_NR, rows=2),
        (x_ND, items_VD),
    )


def test_a_draw_for_each_position_stays_at_full_precision():
    x_ND, items_VD, target_N = some(dtype=torch.float32)
    negative_NR = torch.randint(9, (7, 6))
    exact = position_softmax_loss(x_ND, items_VD, target_N, negative_NR)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(position_softmax_loss(x_ND, items_VD, target_N, negative_NR), exact)


def test_no_position_with_a_draw_for_each_costs_nothing():
    x_ND, items_VD, target_N = some(N=0)
    loss = position_softmax_loss(x_ND, items_VD, target_N, torch.zeros(0, 4, dtype=torch.int64))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not items_VD.grad.any()
