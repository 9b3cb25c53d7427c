import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from training.backbones import hstu
from training.backbones.hstu import Hstu, HstuConfig, gap_buckets

CONFIG = HstuConfig(width=16, num_layers=3, num_heads=2, hidden_width=24, max_positions=12)


def loud(config=CONFIG):
    """A model whose every part matters: weights far from their small first values."""
    torch.manual_seed(0)
    model = Hstu(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.fixture
def model():
    return loud()


def some_rows(B=3, L=7, D=16):
    """Vectors, and times from a second to years apart with one column more."""
    torch.manual_seed(1)
    gaps = 10 ** (torch.rand(B, L + 1, dtype=torch.float64) * 8)
    return torch.randn(B, L, D), (gaps.cumsum(1) + 900_000_000).long()


def slow_norm(x):
    return (x - x.mean()) / ((x - x.mean()).square().mean() + 1e-6).sqrt()


def slow_silu(x):
    return x / (1 + math.exp(-x)) if x > -500 else 0.0


def slow_bucket(seconds):
    return min(128, int(torch.tensor(float(max(1, abs(seconds)))).log() / 0.301))


def slow_hstu(model, x_LD, times):
    """The model by loops over positions and heads; `times` has a column more, or is None."""
    config = model.config
    inner, n = config.hidden_width, config.max_positions
    for layer in model.layers:
        projected = [layer.gate_value_query_key(slow_norm(x_D)) for x_D in x_LD]
        parts = [torch.tensor([slow_silu(float(x)) for x in row]) for row in projected]
        u, v, q, k = (
            [row[part * inner : (part + 1) * inner] for row in parts] for part in range(4)
        )
        outputs = []
        for i, x_D in enumerate(x_LD):
            heads = []
            for head in torch.arange(inner).view(config.num_heads, -1):
                attended = torch.zeros(len(head))
                for j in range(i + 1):
                    score = float(q[i][head] @ k[j][head] + layer.distance_N[i - j])
                    if times is not None:
                        score += float(layer.gap_G[slow_bucket(int(times[i + 1] - times[j]))])
                    attended += slow_silu(score) / n * v[j][head]
                heads.append(attended)
            outputs.append(x_D + layer.out(u[i] * slow_norm(torch.cat(heads))))
        x_LD = torch.stack(outputs)
    return torch.stack([x_D / (x_D.square().mean() + 1e-6).sqrt() for x_D in x_LD])


@torch.no_grad()
@pytest.mark.parametrize("queries", [128, 3])
@pytest.mark.parametrize("has_times", [True, False])
def test_the_model_agrees_with_loops(model, has_times, queries, monkeypatch):
    monkeypatch.setattr(hstu, "QUERIES", queries)
    x_BLD, times_BL = some_rows()
    times_BL = times_BL if has_times else None
    found = model(x_BLD, times_BL)
    for row in range(3):
        expected = slow_hstu(model, x_BLD[row], times_BL[row] if has_times else None)
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_without_a_last_column_the_last_position_is_asked_about_at_once(model):
    x_BLD, times_BL = some_rows()
    at_once = torch.cat([times_BL[:, :-1], times_BL[:, -2:-1]], 1)
    torch.testing.assert_close(model(x_BLD, times_BL[:, :-1]), model(x_BLD, at_once))
    assert not torch.allclose(model(x_BLD, times_BL)[:, -1], model(x_BLD, at_once)[:, -1])


@torch.no_grad()
@pytest.mark.parametrize("has_times", [True, False])
def test_continuing_a_row_is_running_the_longer_row(model, has_times):
    lengths_B = torch.tensor([7, 1, 4])
    x_BLD, times_BL = some_rows()
    asked_B = times_BL.gather(1, lengths_B[:, None])
    times_BL = torch.where(torch.arange(8) < lengths_B[:, None], times_BL, asked_B)
    more_BWSD = torch.randn(3, 4, 2, 16)
    _, memory = model.remember(x_BLD, times_BL if has_times else None)
    found = model.extend(memory, lengths_B, more_BWSD, asked_B[:, 0] if has_times else None)
    for row, length in enumerate(lengths_B.tolist()):
        for which in range(4):
            whole = torch.cat([x_BLD[row, :length], more_BWSD[row, which]])[None]
            times = torch.cat([times_BL[row, :length], asked_B[row].expand(2)])[None]
            expected = model(whole, times if has_times else None)[0, length:]
            torch.testing.assert_close(found[row, which], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_no_position_sees_what_comes_after_not_even_when(model):
    x_BLD, times_BL = some_rows()
    before = model(x_BLD, times_BL)
    changed, later = x_BLD.clone(), times_BL.clone()
    changed[:, 4:] += 1
    later[:, 5:] += 10**7  # position 3 is asked about when 4 happened, and that it may know
    after = model(changed, later)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.isclose(before[:, 4:], after[:, 4:]).all(-1).any()


@torch.no_grad()
def test_scores_are_divided_by_the_longest_row_there_can_be_not_by_the_row():
    model = loud(replace(CONFIG, num_layers=1))
    x_BLD, _ = some_rows()
    wider = Hstu(replace(model.config, max_positions=24)).eval()
    grown = F.pad(model.layers[0].distance_N, (0, 12))
    wider.load_state_dict({**model.state_dict(), "layers.0.distance_N": grown})
    gate, q, k, v = model.layers[0].heads(x_BLD)
    of_wider = wider.layers[0].heads(x_BLD)
    torch.testing.assert_close(of_wider[3] * 2, v)
    torch.testing.assert_close(of_wider[:3], (gate, q, k))
    torch.testing.assert_close(model(x_BLD[:, :3]), model(x_BLD)[:, :3])


def test_half_precision_keeps_what_is_hidden_hidden():
    model = loud()
    x_BLD, times_BL = some_rows()
    expected = model(x_BLD, times_BL)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(x_BLD, times_BL)
        found.float().sum().backward()
        changed = x_BLD.clone()
        changed[:, 4:] *= 50
        assert torch.equal(model(changed, times_BL)[:, :4], found[:, :4])
    torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.1)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def bytes_kept(model, rows, length):
    """What a forward pass keeps for the backward pass, weights left out, each storage once."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    x_BLD, times_BL = some_rows(rows, length)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(x_BLD.requires_grad_(), times_BL).sum()
    found = sum(kept.values())
    loss.backward()
    return found


def test_memory_grows_with_the_batch_and_no_faster():
    model = Hstu(replace(CONFIG, max_positions=64))
    two, four, eight = (bytes_kept(model, rows, 60) for rows in (2, 4, 8))
    assert eight - four == 2 * (four - two)


def test_of_what_grows_with_the_square_of_the_length_only_scores_are_kept_twice():
    model, B = Hstu(replace(CONFIG, max_positions=120)), 2
    short, middle, long = (bytes_kept(model, B, length) for length in (40, 80, 120))
    per_square = (long - 2 * middle + short) / (2 * 40**2)
    scores = CONFIG.num_layers * B * CONFIG.num_heads * 4
    gaps, distances = B * 4, 8  # of all layers together
    assert per_square == 2 * scores + gaps + distances


def test_gradients_are_those_of_finite_differences():
    config = HstuConfig(width=4, num_layers=1, num_heads=2, max_positions=4)
    model = loud(config).double()
    x_BLD, times_BL = some_rows(2, 3, 4)
    parameters = tuple(model.parameters())

    def run(x_BLD, *values):
        named = dict(zip(dict(model.named_parameters()), values, strict=True))
        return torch.func.functional_call(model, named, (x_BLD, times_BL))

    assert torch.autograd.gradcheck(run, (x_BLD.double().requires_grad_(), *parameters))


def test_every_parameter_that_has_a_part_in_it_learns():
    model = Hstu(CONFIG)
    x_BLD, times_BL = some_rows()
    model(x_BLD, times_BL)[..., 0].sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.any(), name
    assert not model.layers[0].distance_N.grad[7:].any()


def test_spans_fall_into_buckets_by_their_logarithm():
    seconds = torch.tensor([0, 1, -1, 2, 3600, -3600, 10**9, 2**62])
    assert gap_buckets(seconds).tolist() == [slow_bucket(int(s)) for s in seconds]
    assert gap_buckets(seconds).tolist()[:4] == [0, 0, 0, 2]
    assert gap_buckets(torch.tensor([2**62])).item() == 128


def test_rows_longer_than_the_backbone_are_refused(model):
    with pytest.raises(
        ValueError, match=r"13 positions, and this backbone has a place for 12; make"
    ):
        model(torch.zeros(1, 13, 16))
    _, memory = model.remember(torch.zeros(1, 11, 16))
    with pytest.raises(ValueError, match="13 positions, and this backbone has a place for 12"):
        model.extend(memory, torch.tensor([11]), torch.zeros(1, 1, 2, 16))


def test_times_of_rows_alone_or_of_continuations_alone_are_refused(model):
    x_BLD, times_BL = some_rows()
    _, timeless = model.remember(x_BLD)
    _, timed = model.remember(x_BLD, times_BL)
    lengths_B, more = torch.tensor([7, 7, 7]), torch.zeros(3, 1, 1, 16)
    with pytest.raises(ValueError, match="found none in memory and times for extend"):
        model.extend(timeless, lengths_B, more, times_BL[:, 0])
    with pytest.raises(ValueError, match="found times in memory and none for extend"):
        model.extend(timed, lengths_B, more)


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(ValueError, match="3 heads can't share a width of 20: choose"):
        HstuConfig(width=20, num_heads=3)
