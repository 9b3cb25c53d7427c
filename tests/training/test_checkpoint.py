import pytest
import torch

from training.fit.checkpoint import (
    FILE_NAME,
    Checkpoint,
    CheckpointError,
    optimizer_tensors,
    read_checkpoint,
    restore_optimizer,
    write_checkpoint,
)


def test_what_is_written_is_read(tmp_path):
    shared = torch.arange(6.0)
    tensors = {"model.a": shared, "model.b": shared[2:4], "best.a": torch.zeros(2, 3)}
    state = {"epoch": 3, "best_value": float("-inf"), "curves": [{"loss": 0.1}]}
    write_checkpoint(tmp_path / "new", Checkpoint(tensors, state))
    found = read_checkpoint(tmp_path / "new")
    assert found.state == state
    assert found.part("model")["b"].tolist() == [2.0, 3.0]
    assert found.part("best").keys() == {"a"}


def test_no_checkpoint_is_none(tmp_path):
    assert read_checkpoint(tmp_path) is None


def test_a_crash_while_writing_leaves_the_old_one(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, Checkpoint({"model.a": torch.ones(2)}, {"step": 1}))

    def crash(tensors, path, metadata):
        path.write_bytes(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr("training.fit.checkpoint.save_file", crash)
    with pytest.raises(OSError, match="no space left"):
        write_checkpoint(tmp_path, Checkpoint({"model.a": torch.zeros(2)}, {"step": 2}))
    found = read_checkpoint(tmp_path)
    assert found.state == {"step": 1}
    assert found.tensors["model.a"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", bytes(100)])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is not a whole checkpoint .* delete it to train"):
        read_checkpoint(tmp_path)


def test_the_optimizer_goes_on_as_if_nothing_had_happened():
    def steps(model, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            model(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    one, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    first, second = (torch.optim.AdamW(model.parameters()) for model in (one, other))
    steps(one, first, 5)
    other.load_state_dict(one.state_dict())
    restore_optimizer(second, optimizer_tensors(first))
    steps(one, first, 5)
    steps(other, second, 5)
    assert torch.equal(one.weight, other.weight)
