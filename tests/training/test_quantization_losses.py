import math

import pytest
import torch

from training.losses.quantization import (
    contrast_loss,
    global_loss,
    global_targets,
    layerwise_loss,
    prefix_contrast_loss,
    reconstruction_loss,
    residuals,
    shared_prefix_loss,
    sibling_loss,
    straight_through,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def slow_contrast(anchors, positives, codes, positive_codes, temperature, weights):
    """L_cont as it is written, a loop for every sum."""
    num_items, num_levels = codes.shape
    losses = []
    for a in range(num_items):
        total = 0.0
        for d, weight in enumerate(weights):

            def cos(x, y):
                return float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))

            positive = math.exp(cos(anchors[a, d], positives[a, d]) / temperature)
            below = positive
            for n in range(num_items):
                shares = codes[n, d] in (codes[a, d], positive_codes[a, d])
                if n != a and not shares:
                    below += math.exp(cos(anchors[a, d], anchors[n, d]) / temperature)
            total += weight * -math.log(positive / below)
        losses.append(total / (num_levels - 1))
    return losses


def test_the_contrast_agrees_with_its_equation_written_out():
    anchors, positives = drawn(6, 3, 4), drawn(6, 3, 4, seed=1)
    codes = torch.randint(3, (6, 3), generator=generator(2))
    positive_codes = torch.randint(3, (6, 3), generator=generator(3))
    found = prefix_contrast_loss(
        anchors, positives, codes, positive_codes, temperature=0.3, level_weights=[1.0, 0.1]
    )
    slow = slow_contrast(anchors, positives, codes, positive_codes, 0.3, [1.0, 0.1])
    assert found.tolist() == pytest.approx(slow)


def test_the_last_level_is_not_contrasted():
    anchors, positives = drawn(5, 3, 4).requires_grad_(), drawn(5, 3, 4, seed=1).requires_grad_()
    codes = torch.arange(15).view(5, 3)
    prefix_contrast_loss(
        anchors, positives, codes, codes + 20, temperature=0.5, level_weights=[1.0, 1.0]
    ).sum().backward()
    for words in (anchors, positives):
        assert (words.grad[:, :2].abs().sum((0, 2)) > 0).all()
        assert (words.grad[:, 2] == 0).all()


@pytest.mark.parametrize("shared", ["anchor", "positive"])
def test_items_with_the_code_of_the_anchor_or_of_its_positive_are_no_negatives(shared):
    words = drawn(2, 1, 3).repeat(1, 2, 1)
    codes, positive_codes = torch.tensor([[0, 0], [1, 1]]), torch.tensor([[2, 2], [3, 3]])
    weights = {"temperature": 1.0, "level_weights": [1.0]}
    apart = prefix_contrast_loss(words, words.flip(0), codes, positive_codes, **weights)
    assert (apart > 0).all()
    if shared == "anchor":
        codes = torch.zeros_like(codes)
    else:
        positive_codes = codes.flip(0)
    together = prefix_contrast_loss(words, words.flip(0), codes, positive_codes, **weights)
    assert together.tolist() == [0, 0]


def test_a_batch_of_one_has_no_negatives_and_a_single_level_no_prefix():
    one, code = drawn(1, 3, 4).requires_grad_(), torch.zeros((1, 3), dtype=torch.int64)
    loss = prefix_contrast_loss(
        one, drawn(1, 3, 4, seed=1), code, code + 1, temperature=0.1, level_weights=[1.0, 0.1]
    )
    assert loss.tolist() == [0]
    loss.sum().backward()
    assert torch.isfinite(one.grad).all()
    flat = drawn(4, 1, 2)
    codes = torch.arange(4).view(4, 1)
    found = prefix_contrast_loss(flat, flat, codes, codes, temperature=0.1, level_weights=[])
    assert found.tolist() == [0, 0, 0, 0]


def chances(*shape, seed=0):
    return drawn(*shape, seed=seed).log_softmax(-1)


def test_the_contrast_of_shared_prefixes_agrees_with_its_equation_written_out():
    anchors, positives = chances(4, 3, 5), chances(4, 3, 5, seed=1)

    def shared(x, y, depth):
        return math.prod(float((x[j].exp() * y[j].exp()).sum()) for j in range(depth))

    slow = []
    for a in range(4):
        terms = []
        for depth in (1, 2):
            positive = shared(anchors[a], positives[a], depth)
            others = sum(shared(anchors[a], anchors[n], depth) for n in range(4) if n != a)
            terms.append(-math.log(positive / (positive + others)))
        slow.append(sum(terms) / 2)
    assert shared_prefix_loss(anchors, positives).tolist() == pytest.approx(slow)


def test_shared_prefixes_have_the_gradient_of_their_loss_and_none_in_the_last_level():
    anchors = drawn(3, 3, 4).requires_grad_()
    positives = drawn(3, 3, 4, seed=1).requires_grad_()

    def loss(a, p):
        return shared_prefix_loss(a.log_softmax(-1), p.log_softmax(-1))

    assert torch.autograd.gradcheck(loss, (anchors, positives))
    loss(anchors, positives).sum().backward()
    assert (anchors.grad[:, 2] == 0).all()


def test_one_anchor_and_one_level_leave_no_prefix_to_contrast():
    assert shared_prefix_loss(chances(1, 3, 4), chances(1, 3, 4, seed=1)).tolist() == [0]
    assert shared_prefix_loss(chances(2, 1, 4), chances(2, 1, 4, seed=1)).tolist() == [0, 0]


def test_shared_prefixes_are_finite_where_chances_are_0():
    sure = torch.tensor([[[30.0, 0.0], [0.0, 0.0]], [[0.0, 30.0], [0.0, 0.0]]]).requires_grad_()
    loss = shared_prefix_loss(sure.mul(10).log_softmax(-1), sure.mul(10).flip(0).log_softmax(-1))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(sure.grad).all()


def test_only_distinct_items_with_one_prefix_are_siblings():
    logp = torch.full((3, 4), 0.25).log()
    codes = torch.tensor([[1, 0], [1, 2], [2, 0]])
    assert sibling_loss(logp, torch.tensor([0, 1, 2]), codes).item() == pytest.approx(
        -math.log(0.75)
    )
    assert sibling_loss(logp, torch.tensor([0, 0, 2]), codes).item() == 0  # the same item twice
    sure = torch.tensor([[0.0, -math.inf]] * 2)
    found = sibling_loss(sure, torch.tensor([0, 1]), torch.tensor([[1, 0], [1, 0]]))
    assert found.item() == pytest.approx(-math.log(1e-4), rel=1e-3)


def test_siblings_have_the_gradient_of_their_loss():
    codes = torch.tensor([[1, 0], [1, 2], [2, 0], [1, 1]])
    logits = drawn(4, 5).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: sibling_loss(x.log_softmax(-1), torch.arange(4), codes), (logits,)
    )


def test_the_contrast_is_finite_at_extremes():
    words = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]).requires_grad_()
    nobody = torch.zeros((3, 3), dtype=torch.bool)
    loss = contrast_loss(words, words.detach().flip(0), nobody, temperature=1e-3)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(words.grad).all()


def test_losses_agree_with_their_gradients():
    z, words = drawn(3, 4).requires_grad_(), drawn(3, 2, 4, seed=1).requires_grad_()
    # With the stop-gradients only one side at a time is a function that can be differentiated.
    for loss in (global_loss, layerwise_loss):
        own = loss(z, words, commitment=0.0).sum()
        (gradient,) = torch.autograd.grad(own, words)
        for b, q, h in ((0, 0, 0), (2, 1, 3)):
            if loss is layerwise_loss and q == 0:
                continue
            step = torch.zeros_like(words)
            step[b, q, h] = 1e-6
            ahead = loss(z, words + step, commitment=0.0).sum()
            behind = loss(z, words - step, commitment=0.0).sum()
            assert float(gradient[b, q, h]) == pytest.approx(float(ahead - behind) / 2e-6, rel=1e-4)
    nobody = torch.zeros((3, 3), dtype=torch.bool)
    assert torch.autograd.gradcheck(
        lambda a, p: contrast_loss(a, p, nobody, temperature=0.5),
        (z, drawn(3, 4, seed=2).requires_grad_()),
    )


@pytest.mark.parametrize("loss", [global_loss, layerwise_loss])
def test_commitment_is_what_the_latent_feels_and_nothing_else(loss):
    z, words = drawn(3, 4).requires_grad_(), drawn(3, 2, 4, seed=1).requires_grad_()
    free = torch.autograd.grad(
        loss(z, words, commitment=0.0).sum(), (z, words), allow_unused=True, materialize_grads=True
    )
    assert (free[0] == 0).all()
    one = torch.autograd.grad(loss(z, words, commitment=1.0).sum(), (z, words))
    two = torch.autograd.grad(loss(z, words, commitment=2.0).sum(), (z, words))
    torch.testing.assert_close(two[0], 2 * one[0])
    torch.testing.assert_close(two[1], one[1])
    torch.testing.assert_close(free[1], one[1])


def test_the_global_loss_asks_every_level_for_the_same_the_layered_one_each_for_its_own():
    z, words = drawn(3, 4), drawn(3, 2, 4, seed=1).requires_grad_()
    (together,) = torch.autograd.grad(global_loss(z, words, commitment=0.25).sum(), words)
    torch.testing.assert_close(together[:, 0], together[:, 1])
    torch.testing.assert_close(together[:, 0], 2 * (words.sum(1) - z).detach())
    (each,) = torch.autograd.grad(layerwise_loss(z, words, commitment=0.25).sum(), words)
    torch.testing.assert_close(each, 2 * (words - residuals(z, words)).detach())


def test_one_level_is_the_same_under_both_losses():
    z, words = drawn(5, 4), drawn(5, 1, 4, seed=1)
    torch.testing.assert_close(
        global_loss(z, words, commitment=0.3), layerwise_loss(z, words, commitment=0.3)
    )


def test_a_codeword_at_its_target_makes_the_sum_right():
    z, words = drawn(3, 4), drawn(3, 2, 4, seed=1)
    moved = words.clone()
    moved[:, 1] = global_targets(z, words)[:, 1]
    torch.testing.assert_close(moved.sum(1), z)
    assert float(global_loss(z, moved, commitment=1.0).max()) == pytest.approx(0, abs=1e-20)


def test_straight_through_has_the_value_of_the_one_and_the_gradient_of_the_other():
    latent, quantized = drawn(2, 3).requires_grad_(), drawn(2, 3, seed=1).requires_grad_()
    found = straight_through(latent, quantized)
    torch.testing.assert_close(found, quantized)
    found.square().sum().backward()
    torch.testing.assert_close(latent.grad, 2 * quantized)
    assert quantized.grad is None


def test_reconstruction_is_a_sum_over_dimensions():
    x, y = drawn(3, 4), drawn(3, 4, seed=1)
    torch.testing.assert_close(reconstruction_loss(x, y), (x - y).square().sum(1))


def test_wrong_weights_and_temperatures_are_refused():
    words, codes = drawn(2, 3, 4), torch.zeros((2, 3), dtype=torch.int64)
    with pytest.raises(ValueError, match=r"3 level weights for 3 levels; expected 2, as the last"):
        prefix_contrast_loss(words, words, codes, codes, temperature=1.0, level_weights=[1, 1, 1])
    with pytest.raises(ValueError, match="temperature is 0, expected a number above 0"):
        prefix_contrast_loss(words, words, codes, codes, temperature=0, level_weights=[1, 1])
