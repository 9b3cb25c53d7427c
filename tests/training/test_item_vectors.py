"""The vectors of a catalogue: kept while a model answers, and never those of other weights."""

import copy

import pytest
import torch

from training.models.coded.items import ItemVectors

ITEMS, WIDTH = 9, 4


@pytest.fixture
def items():
    torch.manual_seed(0)
    codes_VQ = torch.stack([torch.arange(ITEMS) // 3, torch.arange(ITEMS) % 3], 1)
    return ItemVectors(codes_VQ, torch.randn(ITEMS, 5), (3, 3), WIDTH).eval()


@torch.no_grad()
def made_anew(items):
    """The equation, of the weights as they are."""
    codes = items.code_vectors(items.codes_VQ.long()).sum(-2)
    return codes + items.content_VE @ items.content.weight.T + items.own_VD


def steps(items):
    optimizer = torch.optim.AdamW(items.parameters(), lr=0.1, fused=True)
    items.train()
    items.of(torch.arange(3)).square().sum().backward()
    optimizer.step()
    items.eval()


def loads(items):
    items.load_state_dict({k: v + 1 if v.is_floating_point() else v
                           for k, v in items.state_dict().items()})  # fmt: skip


@torch.no_grad()
def averages(items):
    torch._foreach_lerp_(list(items.parameters()), [torch.ones_like(p) for p in items.parameters()],
                         0.5)  # fmt: skip


def moves(items):
    items.double()


@pytest.mark.parametrize("change", [steps, loads, averages, moves])
def test_other_weights_have_other_vectors(items, change):
    with torch.inference_mode():
        before = items().clone()
    change(items)
    with torch.inference_mode():
        torch.testing.assert_close(items(), made_anew(items))
        torch.testing.assert_close(items.of(torch.tensor([7, 2])), made_anew(items)[[7, 2]])
        assert not torch.allclose(items().float(), before) or change is moves


def test_while_a_model_answers_the_catalogue_is_gone_through_once(items, monkeypatch):
    products = []
    product = items.content.forward
    monkeypatch.setattr(items.content, "forward", lambda x: products.append(len(x)) or product(x))
    with torch.inference_mode():
        one, other, some = items(), items(), items.of(torch.tensor([4]))
    assert products == [ITEMS]
    assert one is other
    torch.testing.assert_close(some, one[[4]])


def test_where_gradients_are_asked_for_they_reach_the_weights(items):
    with torch.no_grad():
        items()
    items.of(torch.arange(ITEMS)).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in items.parameters())


def test_a_model_that_has_answered_can_be_copied(items):
    with torch.inference_mode():
        items()
    other = copy.deepcopy(items)
    averages(other)
    with torch.inference_mode():
        torch.testing.assert_close(other(), made_anew(other))
        torch.testing.assert_close(items(), made_anew(items))
