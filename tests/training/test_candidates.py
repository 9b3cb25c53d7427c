import pytest
import torch

from training.losses import candidates
from training.losses.candidates import candidate_logits, favourites_loss, unit
from training.losses.next_item import full_softmax_loss


@pytest.fixture
def drawn():
    torch.manual_seed(0)
    x_ND, items_VD = torch.randn(5, 8), torch.randn(11, 8)
    return x_ND, items_VD, torch.randint(11, (5, 4))


def test_both_ways_to_the_logits_give_the_same_and_the_same_gradient(drawn, monkeypatch):
    x_ND, items_VD, candidate_NR = drawn
    found = []
    for per_candidate in (64, 0):
        monkeypatch.setattr(candidates, "DENSE_PER_CANDIDATE", per_candidate)
        own = [t.clone().requires_grad_() for t in (x_ND, items_VD)]
        logits = candidate_logits(*own, candidate_NR)
        logits.logsumexp(1).sum().backward()
        found.append((logits.detach(), own[0].grad, own[1].grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_logits_are_made_at_full_precision_under_autocast(drawn):
    x_ND, items_VD, candidate_NR = drawn
    exact = candidate_logits(x_ND, items_VD, candidate_NR)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(candidate_logits(x_ND, items_VD, candidate_NR), exact)


def test_what_does_not_count_gets_no_gradient():
    negative_NR = torch.zeros(2, 4, requires_grad=True)
    favourite_NR = torch.tensor([[False, False, False, True], [False, False, True, False]])
    counts_NR = torch.tensor([[True, False, True, False], [False, False, False, False]])
    loss_N = favourites_loss(negative_NR, counts_NR, favourite_NR)
    loss_N.sum().backward()
    assert loss_N.tolist() == pytest.approx([torch.log(torch.tensor(3.0)).item(), 0.0])
    touched_NR = counts_NR | favourite_NR & counts_NR.any(1, keepdim=True)
    assert (negative_NR.grad != 0).tolist() == touched_NR.tolist()
    assert torch.isfinite(negative_NR.grad).all()


def test_the_loss_is_finite_at_extremes():
    far_NR = torch.tensor([[1e4, -1e4], [-1e4, 1e4]])
    marks_NR = torch.tensor([[True, False], [True, False]])
    loss_N = favourites_loss(far_NR, ~marks_NR, marks_NR)
    assert loss_N.tolist() == [0.0, 2e4]


def test_gradients_are_those_of_the_formula():
    torch.manual_seed(1)
    counts_NR = torch.tensor([[True, True, False], [True, False, False]])
    favourite_NR = torch.tensor([[False, False, True], [False, False, False]])
    negative_NR = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda n: favourites_loss(n, counts_NR, favourite_NR), (negative_NR,)
    )


def test_favourites_are_right_items_of_their_own():
    negative_NR = torch.tensor([[0.0, 1.0, 2.0, -1.0], [0.0, 1.0, 2.0, -1.0]])
    favourite_NR = torch.tensor([[False, True, True, False], [False] * 4])
    counts_NR = torch.tensor([[True, False, False, True], [True] * 4])
    found_N = favourites_loss(negative_NR, counts_NR, favourite_NR)
    # Each favourite alone against the two negatives, 0 and -1.
    alone = [full_softmax_loss(torch.eye(3)[:1], torch.tensor([[s, 0, 0], [0.0, 0, 0], [-1, 0, 0]]),
                               torch.tensor([0])) for s in (1.0, 2.0)]  # fmt: skip
    assert found_N[0] == pytest.approx(float(sum(alone)) / 2)
    assert found_N[1] == 0


def test_unit_vectors_have_length_one_and_nothing_stays_nothing():
    torch.testing.assert_close(unit(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.6, 0.8]]))
    assert unit(torch.zeros(1, 2)).tolist() == [[0.0, 0.0]]
