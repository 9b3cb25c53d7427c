import math

import pytest
import torch

from training.backbones.llama import Llama, LlamaConfig, rotate, turns


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = Llama(LlamaConfig(width=16, num_layers=3, num_heads=2)).eval()
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def slow_norm(x_D, weight_D):
    return x_D / (x_D.square().mean() + 1e-6).sqrt() * weight_D


def slow_turn(x_E, position, base=10_000.0):
    """Each pair as a complex number, times e^(i position frequency)."""
    half = len(x_E) // 2
    pairs = torch.complex(x_E[0::2], x_E[1::2])
    frequency = base ** (-torch.arange(half) / half)
    pairs = pairs * torch.polar(torch.ones(half), position * frequency)
    return torch.stack([pairs.real, pairs.imag], -1).flatten()


def slow_llama(model, x_LD):
    """The model by loops over positions and heads."""
    H = model.config.num_heads
    for layer in model.layers:
        normed = [slow_norm(x_D, layer.attention_norm.weight) for x_D in x_LD]
        qkv = [layer.query_key_value(x_D).view(3, H, -1) for x_D in normed]
        outputs = []
        for place, x_D in enumerate(x_LD):
            heads = []
            for h in range(H):
                q = slow_turn(qkv[place][0, h], place)
                scores = torch.stack(
                    [
                        q @ slow_turn(qkv[past][1, h], past) / math.sqrt(len(q))
                        for past in range(place + 1)
                    ]
                )
                weights = scores.exp() / scores.exp().sum()
                heads.append(sum(w * qkv[past][2, h] for past, w in enumerate(weights)))
            x_D = x_D + layer.attention_out(torch.cat(heads))
            gate, value = layer.gate_and_value(slow_norm(x_D, layer.hidden_norm.weight)).chunk(2)
            outputs.append(x_D + layer.hidden_out(gate * gate.sigmoid() * value))
        x_LD = torch.stack(outputs)
    return torch.stack([slow_norm(x_D, model.norm.weight) for x_D in x_LD])


@torch.no_grad()
def test_the_model_agrees_with_loops(model):
    x_LD = torch.randn(7, 16)
    torch.testing.assert_close(model(x_LD[None])[0], slow_llama(model, x_LD), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_continuing_a_row_is_running_the_longer_row(model):
    lengths_B = torch.tensor([5, 1, 3])
    x_BLD, more_BWSD = torch.randn(3, 5, 16), torch.randn(3, 4, 2, 16)
    _, memory = model.remember(x_BLD)
    found = model.extend(memory, lengths_B, more_BWSD)
    for row, length in enumerate(lengths_B.tolist()):
        for beam in range(4):
            whole = torch.cat([x_BLD[row, :length], more_BWSD[row, beam]])
            torch.testing.assert_close(
                found[row, beam], model(whole[None])[0, length:], rtol=1e-4, atol=1e-5
            )


@torch.no_grad()
def test_only_the_distance_of_positions_counts_in_attention():
    query, key = torch.randn(8), torch.randn(8)

    def score(at_query, at_key):
        turned = [
            rotate(x, turns(torch.tensor(float(place)), 8, 10_000.0))
            for x, place in ((query, at_query), (key, at_key))
        ]
        return float(turned[0] @ turned[1])

    assert score(9, 4) == pytest.approx(score(105, 100), rel=1e-4)
    assert score(9, 4) != pytest.approx(score(9, 5), rel=1e-2)


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(ValueError, match=r"width 20 is not a multiple of 2 \* num_heads = 6"):
        LlamaConfig(width=20, num_heads=3)
