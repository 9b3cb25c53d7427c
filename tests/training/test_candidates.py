import pytest
import torch

from training.losses import candidates
from training.losses.candidates import candidate_logits, unit


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


def test_unit_vectors_have_length_one_and_nothing_stays_nothing():
    torch.testing.assert_close(unit(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.6, 0.8]]))
    assert unit(torch.zeros(1, 2)).tolist() == [[0.0, 0.0]]
