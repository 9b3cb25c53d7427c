import copy

import pytest
import torch

from training.fit.average import WeightAverage, share_of_step


def moved(model, by):
    with torch.no_grad():
        for value in model.parameters():
            value.add_(by)


def test_the_average_is_the_weighted_mean_of_the_weights_after_each_step():
    model, decay = torch.nn.Linear(3, 2), 0.9
    average = WeightAverage(model, decay)
    expected = None
    for step in range(1, 301):
        moved(model, 0.01 * step)
        share = max(0.1, 10 / (9 + step))
        after = model.weight.detach().double()
        expected = after if expected is None else expected + share * (after - expected)
        average.update()
    torch.testing.assert_close(average.state()["weight"].double(), expected, rtol=1e-5, atol=1e-4)


def test_the_first_weights_are_forgotten_at_once():
    model = torch.nn.Linear(3, 2)
    average = WeightAverage(model, 0.999)
    moved(model, 100.0)
    average.update()
    assert torch.equal(average.state()["weight"], model.weight)
    # A tenth of the steps is what it is over: 18 of the first 20 are worth little.
    remembered = 1.0
    for step in range(2, 21):
        remembered *= 1 - share_of_step(step, 0.999)
    assert remembered < 1e-6


def test_without_decay_it_is_the_last_step():
    model = torch.nn.Linear(3, 2)
    average = WeightAverage(model, 0.0)
    for _ in range(50):
        moved(model, 0.1)
        average.update()
    assert torch.equal(average.state()["bias"], model.bias)


def test_the_model_has_the_average_only_for_a_while():
    model = torch.nn.BatchNorm1d(2)
    average = WeightAverage(model, 0.99)
    for _ in range(30):
        moved(model, 1.0)
        average.update()
    own, mean = copy.deepcopy(model.state_dict()), average.state()["weight"].clone()
    model.running_mean.fill_(7.0)
    with pytest.raises(RuntimeError, match="on purpose"), average.in_place():
        assert torch.equal(model.weight, mean)
        assert model.running_mean.tolist() == [7.0, 7.0]  # buffers stay
        raise RuntimeError("on purpose")
    assert torch.equal(model.weight, own["weight"])
    assert torch.equal(average.state()["weight"], mean)


def test_what_is_restored_goes_on_to_the_same_bits():
    model = torch.nn.Linear(3, 2)
    one = WeightAverage(model, 0.99)
    for _ in range(7):
        moved(model, 0.3)
        one.update()
    other = WeightAverage(model, 0.99)
    other.restore({name: value.clone() for name, value in one.state().items()}, one.num_steps)
    moved(model, 0.3)
    one.update()
    other.update()
    assert torch.equal(one.state()["weight"], other.state()["weight"])
