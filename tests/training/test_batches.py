from dataclasses import replace

import numpy as np
import pytest
import torch

from tests import worlds
from training.data.batches import PAD, BatchPlan
from training.data.splits import split_leave_last_out


def varied(num_users=40, seed=3):
    """Histories of 0 to 90 events in which every event has an item of its own."""
    lengths = np.random.default_rng(seed).integers(0, 90, num_users)
    ends = np.cumsum(lengths)
    return worlds.histories_of(
        [list(range(end - n, end)) for n, end in zip(lengths, ends, strict=True)]
    )


PLAN = BatchPlan(max_history=20, overlap=8, positions_per_batch=200)


def targets_of(batches):
    return torch.cat([batch.items_BL[batch.is_target_BL] for batch in batches])


@pytest.mark.parametrize("overlap", [0, 1, 8, 20])
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_every_event_is_a_target_exactly_once(overlap, epoch):
    histories = varied()
    plan = BatchPlan(max_history=20, overlap=overlap, positions_per_batch=200)
    targets = targets_of(plan.batches(histories, epoch))
    assert sorted(targets.tolist()) == list(range(histories.num_events))


def test_rows_are_runs_of_one_history_padded_on_the_right():
    histories = varied()
    user_of = dict(zip(histories.items.tolist(), histories.users.tolist(), strict=True))
    for batch in PLAN.batches(histories, 0):
        for row, marks in zip(batch.items_BL, batch.is_target_BL, strict=True):
            length = int((row != PAD).sum())
            assert row[:length].tolist() == list(range(int(row[0]), int(row[0]) + length))
            assert (row[length:] == PAD).all()
            assert not marks[length:].any()
            assert len({user_of[item] for item in row[:length].tolist()}) == 1


def test_an_event_brings_its_feedback_and_its_second_with_it():
    histories = varied()
    histories = replace(
        histories,
        strengths=(np.arange(histories.num_events) % 5 - 1).astype(np.int8),
        times=np.arange(histories.num_events) * 7 * worlds.SECOND + 999_999,
    )
    for batch in PLAN.batches(histories, 0):
        inside = batch.items_BL != PAD
        item = batch.items_BL[inside]
        assert torch.equal(batch.strengths_BL[inside], (item % 5 - 1).to(torch.int8))
        assert torch.equal(batch.times_BL[inside], item * 7)
        assert not batch.strengths_BL[~inside].any()
        assert not batch.times_BL[~inside].any()
        moved = batch.to("cpu")
        assert same(batch, moved) and moved.num_targets == batch.num_targets


def test_the_first_target_of_a_later_window_sees_the_overlap():
    histories = varied()
    windows = PLAN.windows(histories, 0)
    first = np.isin(windows.starts, histories.offsets[:-1])
    context = windows.targets_from - windows.starts
    assert (context[first] == 0).all()
    assert (context[~first] == 8).all()
    assert windows.lengths.max() == 21
    assert (~first).sum() > 20


def test_a_history_that_fits_is_one_window():
    histories = worlds.histories_of([list(range(21)), list(range(22))])
    windows = PLAN.windows(histories, 0)
    assert windows.lengths[0] == 21
    assert len(windows.starts) == 3


def test_cuts_fall_elsewhere_in_another_epoch():
    histories = varied()
    first, second = (PLAN.windows(histories, epoch) for epoch in (0, 1))
    assert sorted(first.targets_from.tolist()) != sorted(second.targets_from.tolist())


def test_batches_stay_within_their_budget_and_pad_little():
    batches = list(PLAN.batches(varied(400), 0))
    assert all(batch.items_BL.numel() <= 200 for batch in batches)
    real = sum(batch.num_positions for batch in batches)
    assert 1 - real / sum(batch.items_BL.numel() for batch in batches) < 0.05


def test_a_window_longer_than_the_budget_is_a_batch_of_its_own():
    plan = BatchPlan(max_history=20, overlap=8, positions_per_batch=5)
    batches = list(plan.batches(worlds.histories_of([list(range(15))]), 0))
    assert [list(batch.items_BL.shape) for batch in batches] == [[1, 15]]


def same(one, other):
    fields = ("items_BL", "strengths_BL", "times_BL", "is_target_BL")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in fields)


def test_an_epoch_can_be_entered_at_any_step():
    whole = list(PLAN.batches(varied(), 1))
    rest = list(PLAN.batches(varied(), 1, first_step=3))
    assert len(whole) == PLAN.num_batches(varied(), 1)
    assert len(rest) == len(whole) - 3
    assert all(same(one, other) for one, other in zip(whole[3:], rest, strict=True))


def test_the_order_is_of_the_seed_and_the_epoch():
    orders = [
        [batch.items_BL[0, 0].item() for batch in BatchPlan(20, 8, 200, seed).batches(varied(), e)]
        for seed, e in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0] != orders[3]


def test_processes_share_the_rows_of_every_batch():
    whole = list(PLAN.batches(varied(), 0))
    shares = [list(PLAN.batches(varied(), 0, rank=rank, world_size=3)) for rank in range(3)]
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert all(part.num_targets == batch.num_targets for part in parts)
        assert sorted(targets_of(parts).tolist()) == sorted(targets_of([batch]).tolist())


def test_a_process_without_rows_gets_one_without_targets():
    histories = worlds.histories_of([[1, 2, 3]])
    (batch,) = PLAN.batches(histories, 0, rank=1, world_size=2)
    assert batch.items_BL.tolist() == [[1, 2, 3]]
    assert not batch.is_target_BL.any()
    assert batch.num_targets == 3


def test_validation_batches_hold_each_target_once_and_nothing_else():
    split = split_leave_last_out(varied())
    targets = split.validation
    for world_size in (1, 2):
        batches = [
            batch
            for rank in range(world_size)
            for batch in PLAN.only(targets, rank=rank, world_size=world_size)
        ]
        assert sorted(targets_of(batches).tolist()) == sorted(targets.items.tolist())


def test_no_histories_are_no_batches():
    assert list(PLAN.batches(worlds.histories_of([[], []]), 0)) == []


def test_an_overlap_beyond_the_history_is_refused():
    with pytest.raises(ValueError, match="overlap is 21, expected 0 to max_history = 20"):
        BatchPlan(max_history=20, overlap=21, positions_per_batch=100)
