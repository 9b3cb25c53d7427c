import math

import pytest
import torch

from training.losses.preference import dpo_loss, log1mexp, log_odds, orpo_loss, simpo_loss


def tensor(*values, **how):
    return torch.tensor(values, dtype=torch.float64, **how)


def test_odds_ratio_by_hand():
    # p = e^-0.5 = 0.60653, odds 1.54149; q = e^-1 = 0.36788, odds 0.58198; ratio 2.64872.
    expected = math.log(1 + 1 / 2.648721270700128)
    assert float(orpo_loss(tensor(-0.5), tensor(-1.0))) == pytest.approx(expected, rel=1e-12)


def test_dpo_by_hand():
    loss = dpo_loss(tensor(-10.0), tensor(-14.0), tensor(-11.0), tensor(-12.0), beta=0.1)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-0.1 * (1 - -2))), rel=1e-12)


def test_simpo_by_hand():
    loss = simpo_loss(tensor(-1.2), tensor(-1.5), beta=2.0, margin=0.5)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-(2 * 0.3 - 0.5))), rel=1e-12)


def test_equal_answers_cost_log_two():
    one = tensor(-0.7, -3.0)
    for loss in (
        orpo_loss(one, one),
        dpo_loss(one, one, one, one, beta=0.3),
        simpo_loss(one, one, beta=1.0, margin=0.0),
    ):
        torch.testing.assert_close(loss, tensor(math.log(2), math.log(2)))


def test_odds_of_unlikely_answers_are_their_probabilities():
    torch.testing.assert_close(log_odds(tensor(-60.0)), tensor(-60.0))
    # What summed log-probabilities would make of ORPO: no odds are left in it.
    loss = orpo_loss(tensor(-60.0), tensor(-62.0))
    torch.testing.assert_close(loss, tensor(math.log(1 + math.exp(-2.0))))


@pytest.mark.parametrize("x", [-1e-9, -1e-5, -0.6931, -0.6932, -1.0, -40.0])
def test_log1mexp_keeps_its_digits(x):
    found = float(log1mexp(tensor(x)))
    expected = math.log(-math.expm1(x)) if x > -0.7 else math.log1p(-math.exp(x))
    assert found == pytest.approx(expected, rel=1e-12)


def test_certain_and_impossible_answers_have_finite_losses_and_gradients():
    chosen = torch.tensor([0.0, -1e-9, -1e4, -1e-3], requires_grad=True)
    rejected = torch.tensor([-1e4, 0.0, 0.0, -1e-9], requires_grad=True)
    losses = orpo_loss(chosen, rejected)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert chosen.grad.isfinite().all()
    assert rejected.grad.isfinite().all()


def test_odds_are_of_full_precision_in_a_half_precision_model():
    half = torch.tensor([-0.5], dtype=torch.bfloat16)
    loss = orpo_loss(half, torch.tensor([-1.0], dtype=torch.bfloat16))
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(0.3203, abs=1e-5)


def test_gradients_are_right():
    chosen = tensor(-0.3, -1.5, -4.0, requires_grad=True)
    rejected = tensor(-0.9, -0.2, -5.0, requires_grad=True)
    assert torch.autograd.gradcheck(orpo_loss, (chosen, rejected))
    frozen = tensor(-0.5, -1.0, -4.5)
    assert torch.autograd.gradcheck(
        lambda one, two: dpo_loss(one, two, frozen, frozen, beta=0.2), (chosen, rejected)
    )
    assert torch.autograd.gradcheck(
        lambda one, two: simpo_loss(one, two, beta=2.0, margin=0.5), (chosen, rejected)
    )


def test_every_loss_lifts_the_chosen_and_lowers_the_rejected():
    for loss in (
        orpo_loss,
        lambda one, two: dpo_loss(one, two, tensor(-1.0), tensor(-1.0), beta=0.1),
        lambda one, two: simpo_loss(one, two, beta=2.0, margin=1.0),
    ):
        chosen, rejected = tensor(-1.0, requires_grad=True), tensor(-1.1, requires_grad=True)
        loss(chosen, rejected).backward()
        assert float(chosen.grad) < 0 < float(rejected.grad)


def test_wrong_arguments_are_refused():
    one, two = torch.tensor([-1.0]), torch.tensor([-1.0, -2.0])
    with pytest.raises(ValueError, match=r"shapes \[\(1,\), \(2,\)\], expected one shape"):
        orpo_loss(one, two)
    with pytest.raises(ValueError, match=r"a log-probability is 0\.5, expected none above 0"):
        simpo_loss(-0.5 * one, one, beta=1.0, margin=0.0)
    with pytest.raises(ValueError, match=r"\{'beta': 0\} is not above 0"):
        dpo_loss(one, one, one, one, beta=0)
    with pytest.raises(ValueError, match=r"\{'beta': -1.0\} is not above 0"):
        simpo_loss(one, one, beta=-1.0, margin=0.0)
    with pytest.raises(ValueError, match=r"margin is -0\.1, expected 0 or above"):
        simpo_loss(one, one, beta=1.0, margin=-0.1)
