"""Ranking losses inside groups: against loops over lists, by hand, at their limits."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from training.losses import listwise
from training.losses.listwise import Groups, hardness, jrc, listce, pairwise, softmax_ce
from training.losses.uncertainty import UncertaintyWeights, uncertainty_weighted

RATES = torch.tensor([0.02, 0.05, 0.1, 0.2, 0.4, 0.6])


@pytest.fixture(scope="module")
def batch():
    """Rows of nine groups, of which some are of one label, one of one row, and two of none."""
    draw = torch.Generator().manual_seed(3)
    group_B = torch.tensor([0] * 9 + [3] * 7 + [4] * 5 + [5] + [6] * 6 + [8] * 4)
    group_B = group_B[torch.randperm(len(group_B), generator=draw)]
    labels_B = torch.rand(len(group_B), generator=draw) < 0.4
    labels_B[group_B == 4], labels_B[group_B == 8] = False, True
    logits_B = 2 * torch.randn(len(group_B), generator=draw)
    return logits_B, labels_B, group_B


def lists(logits_B, labels_B, group_B):
    """Each mixed group's logits and labels, one after the other."""
    for group in group_B.unique():
        logits, labels = logits_B[group_B == group], labels_B[group_B == group]
        if labels.any() and not labels.all():
            yield logits, labels


def cross_entropy(score, labels, norm):
    """A list's loss as the equation has it."""
    share = labels.double() / (labels.sum() if norm == "positives" else 1)
    return -(share * (score / score.sum()).log()).sum()


@pytest.mark.parametrize("norm", ["positives", "none", "constant"])
@pytest.mark.parametrize("loss", [listce, softmax_ce])
def test_a_batch_is_as_a_loop_over_its_mixed_groups(batch, loss, norm):
    logits_B, labels_B, group_B = batch
    score_of = torch.sigmoid if loss is listce else torch.exp
    found, positives = [], []
    for logits, labels in lists(logits_B.double(), labels_B, group_B):
        found.append(cross_entropy(score_of(logits), labels, norm))
        positives.append(float(labels.sum()))
    expected = sum(found) / (sum(positives) if norm == "constant" else len(found))
    assert len(found) == 3
    actual = loss(logits_B, Groups.of(labels_B, group_B, 10), norm=norm)
    assert float(actual) == pytest.approx(float(expected), rel=1e-5)


def test_the_gradient_of_listce_is_the_formula(batch):
    logits_B, labels_B, group_B = batch
    logits_B = logits_B.clone().requires_grad_()
    listce(logits_B, Groups.of(labels_B, group_B, 9)).backward()
    expected_B = torch.zeros(len(logits_B))
    for group in (0, 3, 6):
        inside = group_B == group
        sigma, target = logits_B.detach()[inside].sigmoid(), labels_B[inside].float()
        wanted = sigma / sigma.sum() - target / target.sum()
        expected_B[inside] = (1 - sigma) * wanted / 3
    torch.testing.assert_close(logits_B.grad, expected_B)
    assert not logits_B.grad[(group_B == 4) | (group_B == 5) | (group_B == 8)].any()


@pytest.mark.parametrize(
    "loss", [listce, softmax_ce, pairwise, lambda s, g: jrc(torch.stack([-s, s], 1), g)]
)
def test_gradients_are_those_of_the_value(batch, loss, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # gradcheck wants float64
    logits_B, labels_B, group_B = (values[:14] for values in batch)
    groups = Groups.of(labels_B, group_B, 9)
    assert groups.is_mixed_G.any()
    assert torch.autograd.gradcheck(
        lambda s: loss(s, groups), logits_B.double().requires_grad_(), atol=1e-4, eps=1e-4
    )


def test_pairs_are_those_of_one_group_and_of_both_labels(batch):
    logits_B, labels_B, group_B = batch
    found = []
    for logits, labels in lists(logits_B, labels_B, group_B):
        margins = logits[labels][:, None] - logits[~labels]
        found.append(F.softplus(-margins).mean())
    actual = pairwise(logits_B, Groups.of(labels_B, group_B, 10))
    assert float(actual) == pytest.approx(float(sum(found) / len(found)), rel=1e-5)


def test_pairs_that_are_drawn_have_the_same_mean(batch, monkeypatch):
    logits_B, labels_B, group_B = batch
    groups = Groups.of(labels_B, group_B, 10)
    whole = float(pairwise(logits_B, groups))
    monkeypatch.setattr(listwise, "MOST_PAIRS", 20)
    torch.manual_seed(0)
    drawn = torch.tensor([float(pairwise(logits_B, groups)) for _ in range(400)])
    assert drawn.std() > 0.05
    assert float(drawn.mean()) == pytest.approx(whole, abs=4 * float(drawn.std()) / 20)


def test_jrc_is_a_loop_over_rows(batch):
    logits_B, labels_B, group_B = batch
    logits_B2 = torch.stack([logits_B.cos(), logits_B], 1)
    losses = []
    for group in (0, 3, 6):
        inside = group_B == group
        for row, label in zip(logits_B2[inside], labels_B[inside], strict=True):
            own = logits_B2[inside][:, int(label)]
            losses.append(own.logsumexp(0) - row[int(label)])
    actual = jrc(logits_B2, Groups.of(labels_B, group_B, 9))
    assert float(actual) == pytest.approx(float(sum(losses) / len(losses)), rel=1e-5)


@pytest.mark.parametrize("labels", [[True] * 4, [False] * 4], ids=["positive", "negative"])
@pytest.mark.parametrize(
    "loss", [listce, softmax_ce, pairwise, lambda s, g: jrc(torch.stack([-s, s], 1), g)]
)
def test_one_label_only_is_a_loss_of_0_with_a_graph(labels, loss):
    logits_B = torch.randn(4, requires_grad=True)
    for groups in (
        Groups.one(torch.tensor(labels)),
        Groups.of(torch.tensor([True, False, True, True]), torch.arange(4), 4),
    ):
        found = loss(logits_B, groups)
        assert float(found.detach()) == 0.0
        found.backward()
        assert logits_B.grad is not None and not logits_B.grad.any()
        assert float(hardness(logits_B, groups)) == 0.0


def test_no_rows_are_a_loss_of_0():
    groups = Groups.of(torch.zeros(0, dtype=torch.bool), torch.zeros(0, dtype=torch.int64), 3)
    for loss in (listce, softmax_ce, pairwise):
        assert float(loss(torch.zeros(0), groups)) == 0.0


@pytest.mark.parametrize("loss", [listce, softmax_ce, pairwise])
def test_extreme_logits_stay_finite(loss):
    labels_B = torch.tensor([True, False, True, False])
    for extreme in (90.0, -90.0, 1e4, -1e4):
        logits_B = torch.tensor([extreme, -extreme, 0.0, extreme], requires_grad=True)
        found = loss(logits_B, Groups.of(labels_B, torch.tensor([0, 0, 1, 1]), 2))
        found.backward()
        assert math.isfinite(float(found.detach())) and logits_B.grad.isfinite().all()


def test_half_precision_is_summed_in_whole(batch):
    logits_B, labels_B, group_B = batch
    groups, half_B = Groups.of(labels_B, group_B, 9), logits_B.bfloat16()
    assert float(listce(half_B, groups)) == float(listce(half_B.float(), groups))


def test_labels_that_are_neither_0_nor_1_are_refused():
    with pytest.raises(ValueError, match=r"labels are torch.float32, expected torch.bool"):
        Groups.of(torch.tensor([0.5, 2.0]), torch.tensor([0, 0]), 1)


def test_listce_leaves_true_rates_where_they_are_and_softmax_does_not():
    """Stationary predictions of LogLoss + loss in lists of 24 items whose true rates are known."""
    draw = torch.Generator().manual_seed(0)
    lists_, rows = 5000, 24
    item_B = torch.randint(len(RATES), (lists_ * rows,), generator=draw)
    labels_B = torch.rand(len(item_B), generator=draw) < RATES[item_B]
    groups = Groups.of(labels_B, torch.arange(lists_).repeat_interleave(rows), lists_)
    happened = torch.stack([labels_B[item_B == item].float().mean() for item in range(6)])

    def stationary(loss, norm):
        logits = torch.logit(RATES).requires_grad_()
        optimizer = torch.optim.LBFGS([logits], max_iter=25, line_search_fn="strong_wolfe")

        def closure():
            optimizer.zero_grad()
            logits_B = logits[item_B]
            total = F.binary_cross_entropy_with_logits(logits_B, labels_B.float())
            total = total + loss(logits_B, groups, norm=norm)
            total.backward()
            return total

        optimizer.step(closure)
        return logits.detach().sigmoid()

    # The same normaliser for all lists: exact. Each by its positives: small rates a little lower.
    for norm in ("none", "constant"):
        torch.testing.assert_close(stationary(listce, norm), happened, atol=0.004, rtol=0.0)
    by_positives = stationary(listce, "positives")
    stated = torch.tensor([0.018, 0.047, 0.097, 0.196, 0.399, 0.610])
    torch.testing.assert_close(by_positives, stated, atol=0.012, rtol=0.0)
    assert (by_positives[:3] < happened[:3]).all() and by_positives[5] > happened[5]
    by_softmax = stationary(softmax_ce, "positives")
    assert (by_softmax[:4] > 1.1 * happened[:4]).all() and by_softmax[5] < 0.95 * happened[5]


def test_hardness_does_not_depend_on_sizes_and_rises_with_what_is_hard():
    labels = torch.tensor([True, False, False])
    small, large = Groups.one(labels), Groups.one(labels.repeat(50))
    logits = torch.tensor([0.3, -0.2, 0.5])
    assert float(hardness(logits, small)) == pytest.approx(
        float(hardness(logits.repeat(50), large))
    )
    found = [float(hardness(torch.tensor([gap, 0.0, 0.5]), small)) for gap in (4.0, 1.0, 0.0, -2.0)]
    assert found == sorted(found)
    # Against the gradient that autograd finds.
    logits = logits.requires_grad_()
    listce(logits, small).backward()
    assert float(hardness(logits, small)) == pytest.approx(3 * float(logits.grad[1:].abs().mean()))


def test_uncertainty_is_learnt_to_where_each_loss_counts_a_half():
    log_sigma = torch.zeros(2, requires_grad=True)
    losses, there = torch.tensor([7.0, 0.4]), torch.tensor([True, True])
    optimizer = torch.optim.LBFGS([log_sigma], max_iter=50, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        total = uncertainty_weighted(losses, log_sigma, there)
        total.backward()
        return total

    optimizer.step(closure)
    torch.testing.assert_close((2 * log_sigma.detach()).exp(), losses, rtol=1e-3, atol=0.0)


def test_uncertainty_begins_at_the_first_losses_that_are_there_and_moves_no_more():
    weights = UncertaintyWeights(3).train()
    absent = torch.tensor([True, True, False])
    first = weights(torch.tensor([7.0, 0.25, 0.0]), absent)
    assert float(first.detach()) == pytest.approx(1.0 + math.log(7.0) / 2 + math.log(0.25) / 2)
    assert weights.log_sigma_Q.tolist() == pytest.approx(
        [math.log(7.0) / 2, math.log(0.25) / 2, 0.0]
    )
    first.backward()
    assert float(weights.log_sigma_Q.grad[2]) == 0.0
    weights(torch.tensor([1.0, 1.0, 2.0]), torch.tensor([True, True, True]))
    assert weights.log_sigma_Q.tolist() == pytest.approx(
        [math.log(7.0) / 2, math.log(0.25) / 2, math.log(2.0) / 2]
    )
    assert all(weights.has_begun_Q)
    again = UncertaintyWeights(3)
    again.load_state_dict(weights.state_dict())
    for one, other in itertools.pairwise(
        (again(torch.ones(3), absent), weights(torch.ones(3), absent))
    ):
        assert float(one.detach()) == float(other.detach())
