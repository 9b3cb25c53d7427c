import numpy as np
import pytest
import torch

from training.models.unigrf.alarms import alarms
from training.models.unigrf.weighter import Weighter, task_shares
from training.settings.unigrf import UnigrfConfig


def weighter(**changes):
    return Weighter(UnigrfConfig(**changes))


def one_step(own, retrieval, ranking, targets=10):
    """Weights of a step whose mean losses are given."""
    losses = torch.tensor([retrieval * targets, ranking * targets])
    return own.weights(losses, torch.tensor(targets)).tolist()


def one_epoch(own, retrieval, ranking):
    weights = one_step(own, retrieval, ranking)
    return weights, own.end_epoch(lambda values: values)


def test_shares_are_those_worked_out_by_hand():
    """docs/mechanics.md, Weighter: ranking has .510 at T = 1, .599 at .1, .982 at .01."""
    rates = torch.tensor([0.98, 1.02])
    found = [float(task_shares(rates, temperature)[1]) for temperature in (1, 0.1, 0.01)]
    assert found == pytest.approx([0.510, 0.599, 0.982], abs=1e-3)


def test_the_losses_are_added_at_first():
    assert one_step(weighter(), 5.0, 0.7) == [1.0, 1.0]


def test_ranking_counts_as_often_as_is_asked():
    assert one_step(weighter(ranking_scale=6.0), 5.0, 0.7) == [1.0, 6.0]


def test_what_is_learnt_in_the_warm_up_weighs_nothing():
    """Retrieval falls from 7.5 to 5.3 nats there, for which it would lose all but a twentieth."""
    shares = {}
    for warmup_steps in (0, 2):
        own = weighter()
        own.prepare(warmup_steps)
        for retrieval, ranking in ((7.5, 0.70), (5.3, 0.69), (4.7, 0.68), (4.5, 0.67)):
            _, curve = one_epoch(own, retrieval, ranking)
            shares.setdefault(warmup_steps, []).append(curve["share_retrieval"])
            assert curve["loss_retrieval"] == pytest.approx(retrieval)  # told all the same
        assert one_step(own, 4.4, 0.66) == pytest.approx(
            2 * task_shares(torch.tensor([4.5 / 4.7, 0.67 / 0.68]), 0.1), abs=1e-6
        )
    assert shares[0][2] == pytest.approx(0.058, abs=1e-3)
    assert shares[2] == [0.5, 0.5, 0.5, 0.5]


def test_an_epoch_counts_from_the_end_of_the_warm_up_on():
    own = weighter()
    own.prepare(1)
    one_step(own, 7.5, 0.7)
    one_step(own, 5.0, 0.7)
    own.end_epoch(lambda values: values)
    one_epoch(own, 4.9, 0.7)
    _, curve = one_epoch(own, 4.8, 0.7)
    expected = task_shares(torch.tensor([4.9 / 5.0, 1.0]), 0.1)[0]
    assert curve["share_retrieval"] == pytest.approx(float(expected), abs=1e-6)


def test_the_task_whose_loss_falls_more_slowly_weighs_more():
    own = weighter(weighter_temperature=0.1)
    one_epoch(own, 5.0, 0.70)
    one_epoch(own, 4.9, 0.714)  # r = (.98, 1.02)
    (retrieval, ranking), curve = one_epoch(own, 4.8, 0.7)
    assert (retrieval, ranking) == pytest.approx((2 * 0.4013, 2 * 0.5987), abs=1e-3)
    assert curve["share_ranking"] == pytest.approx(0.5987, abs=1e-3)
    assert curve["weight_ranking"] == pytest.approx(ranking, abs=1e-4)
    assert (curve["loss_retrieval"], curve["loss_ranking"]) == pytest.approx((4.8, 0.7))


def test_two_epochs_are_needed_to_know_a_rate():
    own = weighter()
    for retrieval, ranking in ((5.0, 0.7), (2.0, 0.69)):
        assert one_epoch(own, retrieval, ranking)[0] == [1.0, 1.0]
    assert one_epoch(own, 1.9, 0.68)[0] != [1.0, 1.0]


def test_without_a_weighter_the_losses_are_added():
    own = weighter(weighter="off")
    for losses in ((5.0, 0.7), (1.0, 0.7), (1.0, 0.7)):
        weights, curve = one_epoch(own, *losses)
        assert weights == [1.0, 1.0]
        assert "share_ranking" not in curve
    assert one_step(weighter(weighter="off", ranking_scale=3.0), 5.0, 0.7) == [1.0, 3.0]


def test_weights_have_no_gradient():
    losses = torch.tensor([50.0, 7.0], requires_grad=True)
    own = weighter()
    weights = own.weights(losses, torch.tensor(10))
    assert not weights.requires_grad
    (weights * losses).sum().backward()
    torch.testing.assert_close(losses.grad, weights)


def test_a_step_without_targets_says_nothing():
    own = weighter()
    assert one_step(own, 0.0, 0.0, targets=0) == [1.0, 1.0]
    _, curve = one_epoch(own, 5.0, 0.5)
    assert (curve["loss_retrieval"], curve["loss_ranking"]) == pytest.approx((5.0, 0.5))


def test_processes_together_know_the_epochs_means():
    def both(values):
        return values + np.array([30.0, 4.0, 10.0])  # what the other process counted

    own = weighter()
    one_step(own, 5.0, 0.6)
    curve = own.end_epoch(both)
    assert (curve["loss_retrieval"], curve["loss_ranking"]) == pytest.approx((4.0, 0.5))


def test_what_is_remembered_goes_on_elsewhere():
    one, other = weighter(), weighter()
    for own in (one, other):
        own.prepare(1)
    for losses in ((5.0, 0.7), (4.0, 0.69)):
        one_epoch(one, *losses)
    one_step(one, 3.9, 0.68)
    other.restore({name: value.clone() for name, value in one.state().items()})
    assert one_step(one, 3.8, 0.68) == one_step(other, 3.8, 0.68)
    assert one.end_epoch(lambda v: v) == other.end_epoch(lambda v: v)


def curves(**series):
    length = len(next(iter(series.values())))
    return [
        {"epoch": place + 1, **{name: values[place] for name, values in series.items()}}
        for place in range(length)
    ]


def test_nothing_is_said_where_all_is_well():
    assert alarms([]) == []
    quiet = curves(
        validation_auc=[0.7, 0.75, 0.748],
        share_ranking=[0.5, 0.55, 0.52],
        share_retrieval=[0.5, 0.45, 0.48],
        hard_repeated_share=[0.1, 0.2, 0.2],
        hard_later_share=[0.1, 0.1, 0.1],
        random_later_share=[0.08, 0.08, 0.08],
    )
    assert alarms(quiet) == []


def test_few_hard_negatives_that_are_wanted_later_are_no_trouble():
    assert alarms(curves(hard_later_share=[0.007], random_later_share=[0.0001])) == []


@pytest.mark.parametrize(
    ("series", "told"),
    [
        (
            {"validation_auc": [0.7, 0.76, 0.75]},
            "AUC fell from 0.7600 in epoch 2 to 0.7500 in epoch 3",
        ),
        (
            {"share_ranking": [0.5, 0.96], "share_retrieval": [0.5, 0.04]},
            "retrieval has 4.0% of the",
        ),
        ({"share_ranking": [0.2, 0.8, 0.2, 0.8, 0.2]}, "the weights swing from epoch to epoch"),
        (
            {"hard_repeated_share": [0.2, 0.6]},
            "60% of hard negatives were hard in the epoch before",
        ),
        (
            {"hard_later_share": [0.3], "random_later_share": [0.1]},
            "30.0% of hard negatives are items of the same history later on, 10.0%",
        ),
    ],
)
def test_each_trouble_is_told_with_its_numbers(series, told):
    found = alarms(curves(**series))
    assert len(found) == 1
    assert told in found[0]
