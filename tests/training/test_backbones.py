import copy

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from training.backbones import BACKBONES, make_backbone
from training.fit.distributed import Processes

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


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("asked_after", [None, 0, 1])
@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_every_backbone_says_one_position_as_it_says_all(name, asked_after, num_layers):
    """`asked_after`: None: no times; else how many columns of times there are beyond the rows."""
    torch.manual_seed(0)
    model = make_backbone(name, **SHAPE | {"num_layers": num_layers}).eval()
    x_BLD, place_B = torch.randn(4, 9, 16), torch.tensor([0, 8, 3, 7])
    times_BL = None
    if asked_after is not None:
        times_BL = torch.randint(0, 10_000, (4, 9 + asked_after)).cumsum(1)
    whole_BLD = model(x_BLD, times_BL)
    found_BD = model.at(x_BLD, place_B, times_BL)
    torch.testing.assert_close(found_BD, whole_BLD[torch.arange(4), place_B])


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("has_times", [True, False])
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_appends_to_rows_of_unequal_length(name, has_times, in_place):
    torch.manual_seed(0)
    model = make_backbone(name, **SHAPE).eval()
    lengths_B, x_BLD = torch.tensor([2, 5]), torch.randn(2, 5, 16)
    more_BSD, last_BWSD = torch.randn(2, 3, 16), torch.randn(2, 2, 1, 16)
    times_BL = torch.tensor([[10, 400, 9000, 9000, 9000, 9000], [7, 8, 60, 900, 8000, 8500]])
    asked_B = times_BL[:, -1]
    times_BL, asked_B = (times_BL, asked_B) if has_times else (None, None)
    with torch.set_grad_enabled(not in_place):
        _, memory = model.remember(x_BLD, times_BL)
        memory = model.reserve(memory, 3) if in_place else memory
        how = {"in_place": in_place}
        first, memory = model.append(memory, lengths_B, more_BSD[:, :1], asked_B, **how)
        memory = model.select(memory, torch.tensor([0, 1]))
        others, memory = model.append(memory, lengths_B + 1, more_BSD[:, 1:], asked_B, **how)
        continued = model.extend(memory, lengths_B + 3, last_BWSD, asked_B)
    for row, length in enumerate(lengths_B.tolist()):
        for number in range(2):
            own_LD = [x_BLD[row, :length], more_BSD[row], last_BWSD[row, number]]
            own_times = None
            if has_times:
                own_times = torch.cat([times_BL[row, :length], asked_B[row].expand(5)])[None]
            whole = model(torch.cat(own_LD)[None], own_times)[0, length:]
            found = torch.cat([first[row], others[row], continued[row, number]])
            torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)
    if not in_place:
        (first.sum() + others.sum()).backward()
        assert all(p.grad is not None for n, p in model.named_parameters() if "gap" not in n)


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_rows_of_a_memory_can_be_chosen(name):
    torch.manual_seed(0)
    model = make_backbone(name, **SHAPE).eval()
    x_BLD, times_BL = torch.randn(3, 4, 16), 100 * torch.arange(15).view(3, 5)
    rows, x_BWSD = torch.tensor([2, 0, 2, 2]), torch.randn(4, 1, 2, 16)
    _, memory = model.remember(x_BLD, times_BL)
    _, expected = model.remember(x_BLD[rows], times_BL[rows])
    length_B, asked_B = torch.full((4,), 4), times_BL[rows, -1]
    torch.testing.assert_close(
        model.extend(model.select(memory, rows), length_B, x_BWSD, asked_B),
        model.extend(expected, length_B, x_BWSD, asked_B),
    )


@pytest.mark.parametrize("name", BACKBONES)
def test_a_width_inside_the_blocks_can_be_chosen(name):
    def count(**shape):
        return sum(p.numel() for p in make_backbone(name, **SHAPE, **shape).parameters())

    assert count(hidden_width=32) != count() == count(hidden_width={"llama": 48, "hstu": 16}[name])


@pytest.mark.parametrize("name", BACKBONES)
def test_one_compiled_graph_serves_batches_of_many_shapes(name):
    torch._dynamo.reset()
    torch.manual_seed(0)
    plain = make_backbone(name, **{**SHAPE, "num_layers": 1})
    compiled = copy.deepcopy(plain)
    counter = CompileCounterWithBackend("aot_eager")
    compiled.compile(backend=counter, dynamic=True, fullgraph=True)
    graphs = []
    for rows, length in ((3, 7), (5, 12), (2, 9)):
        x_BLD = torch.randn(rows, length, 16)
        times_BL = torch.randint(10**9, (rows, length + 1)).sort(1).values
        found = []
        for model in (plain, compiled):
            y_BLD = model(x_BLD, times_BL)
            gradients = torch.autograd.grad(y_BLD.sin().sum(), tuple(model.parameters()))
            found.append((y_BLD.detach(), gradients))
        torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
        graphs.append(counter.frame_count)
    assert len(set(graphs)) == 1


def test_only_a_gpu_trains_on_a_compiled_backbone(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: calls.append((self, how)))
    backbone = make_backbone("hstu", **SHAPE)
    assert not Processes(0, 1, torch.device("cpu")).compile(backbone)
    assert calls == []
    assert Processes(0, 1, torch.device("cuda", 0)).compile(backbone)
    assert calls == [(backbone, {"dynamic": True})]


def test_an_unknown_backbone_is_refused():
    with pytest.raises(ValueError, match=r"no backbone 'gpt'; there are \['hstu', 'llama'\]"):
        make_backbone("gpt", **SHAPE)
