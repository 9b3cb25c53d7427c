import pytest
import torch

from training.backbones import BACKBONES, make_backbone

SHAPE = {"width": 16, "num_layers": 2, "num_heads": 2, "dropout": 0.0, "max_positions": 12}


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_every_backbone_continues_rows_as_it_runs_them(name):
    torch.manual_seed(0)
    model = make_backbone(name, **SHAPE).eval()
    x_BLD, times_BL = torch.randn(2, 8, 16), torch.arange(16).view(2, 8) * 1000
    whole = model(x_BLD, times_BL)
    torch.testing.assert_close(model.remember(x_BLD, times_BL)[0], whole)
    _, memory = model.remember(x_BLD[:, :7], times_BL)
    more = model.extend(memory, torch.tensor([7, 7]), x_BLD[:, None, 7:], times_BL[:, 7])
    torch.testing.assert_close(more[:, 0], whole[:, 7:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole.square().mean(-1), torch.ones(2, 8), rtol=0.01, atol=0.0)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_width_inside_the_blocks_can_be_chosen(name):
    def count(**shape):
        return sum(p.numel() for p in make_backbone(name, **SHAPE, **shape).parameters())

    assert count(hidden_width=32) != count() == count(hidden_width={"llama": 48, "hstu": 16}[name])


def test_an_unknown_backbone_is_refused():
    with pytest.raises(ValueError, match=r"no backbone 'gpt'; there are \['hstu', 'llama'\]"):
        make_backbone("gpt", **SHAPE)
