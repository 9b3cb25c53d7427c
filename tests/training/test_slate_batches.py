from dataclasses import replace

import numpy as np
import torch

from tests import worlds
from training.data.slate_batches import SlatePlan, slate_batch, slate_queries


def many(num=40, seed=0):
    draw = np.random.default_rng(seed)
    lengths = draw.integers(0, 15, num)
    histories = worlds.histories_of([list(range(length)) for length in lengths])
    shown = [draw.integers(0, 20, draw.integers(1, 6)).tolist() for _ in range(num)]
    starts = [int(draw.integers(0, 20)) for _ in range(num)]
    return worlds.slates_of(shown, histories, starts=starts)


def test_a_batch_holds_the_events_before_each_slate_and_its_items():
    histories = worlds.histories_of([[1, 2, 3], [4]], strengths=[[1, -1, 2], [3]])
    slates = worlds.slates_of([[7, 8], [9]], histories, starts=[2, 0])
    batch = slate_batch(slates, np.array([0, 1]), max_history=50)
    assert batch.items_HL.tolist() == [[1, 2], [-1, -1]]
    assert batch.strengths_HL.tolist() == [[1, -1], [0, 0]]
    assert batch.times_HL.tolist() == [[0, 1], [0, 0]]
    assert batch.is_alone
    assert batch.asked_at_B.tolist() == [2, 0]
    assert batch.lengths_B.tolist() == [2, 0]
    assert batch.slate_BM.tolist() == [[7, 8], [9, -1]]
    assert batch.num_targets == batch.num_own_targets == 3
    assert batch.num_positions == 5
    assert batch.num_cells == 8
    first = slates.where(np.array([0]))
    assert slate_batch(first, np.array([0]), max_history=1).items_HL.tolist() == [[2]]


def test_slates_of_a_row_see_the_events_before_them_and_no_more():
    histories = worlds.histories_of([list(range(10))])
    slates = worlds.slates_of([[7], [8], [9]], histories, starts=[6, 9, 8], users=[0, 0, 0])
    batch = slate_batch(slates, np.zeros(3, dtype=np.int64), max_history=5)
    assert batch.items_HL.tolist() == [[4, 5, 6, 7, 8]]
    assert batch.lengths_B.tolist() == [2, 5, 4]
    assert batch.asked_at_B.tolist() == [6, 9, 8]
    assert not batch.is_alone


def test_a_shared_row_leaves_each_slate_the_least_or_all_it_has():
    histories = worlds.histories_of([list(range(200)), list(range(30)), list(range(90))])
    starts = [*range(1, 200, 3), *range(30), *range(5, 90, 10)]
    users = [0] * 67 + [1] * 30 + [2] * 9
    slates = worlds.slates_of([[1, 2]] * 106, histories, starts=starts, users=users)
    plan = SlatePlan(max_history=20, positions_per_batch=200, least_history=8)
    seen = {}
    for (rows, history_B), batch in zip(
        plan.groups(slates, 0), plan.batches(slates, 0), strict=True
    ):
        for place, row in enumerate(rows):
            length, history = int(batch.lengths_B[place]), int(history_B[place])
            position = starts[row]
            assert min(8, position) <= length <= min(20, position)
            events = batch.items_HL[history, :length].tolist()
            assert events == list(range(position - length, position))
            seen[row] = length
        assert np.bincount(history_B).max() <= 16
    assert len(seen) == 106
    read = sum(batch.items_HL.numel() for batch in plan.batches(slates, 0))
    alone = SlatePlan(max_history=20, positions_per_batch=200)
    assert read < 0.5 * sum(batch.items_HL.numel() for batch in alone.batches(slates, 0))


def test_an_epoch_holds_every_slate_once_within_the_budget():
    slates = many()
    plan = SlatePlan(max_history=10, positions_per_batch=60, positions_per_item=4, seed=3)
    groups = plan.groups(slates, 0)
    assert sorted(np.concatenate([rows for rows, _ in groups]).tolist()) == list(range(len(slates)))
    for (rows, _), batch in zip(groups, plan.batches(slates, 0), strict=True):
        L, M = batch.items_HL.shape[1], batch.slate_BM.shape[1]
        assert len(rows) * (L + 4 * M) <= 60
        assert batch.slate_BM[batch.is_target_BM].tolist() == [
            item for row in rows for item in slates.where(np.array([row])).items
        ]
    events = sum(int(batch.lengths_B.sum()) for batch in plan.batches(slates, 0))
    cells = sum(batch.items_HL.numel() for batch in plan.batches(slates, 0))
    assert events > 0.8 * cells


def test_a_slate_larger_than_the_budget_is_a_batch_of_its_own():
    slates = many(6)
    plan = SlatePlan(max_history=10, positions_per_batch=1)
    assert [len(rows) for rows, _ in plan.groups(slates, 0)] == [1] * 6


def test_epochs_differ_and_are_the_same_again():
    plan, slates = SlatePlan(max_history=10, positions_per_batch=60), many()

    def epoch(number, first_step=0):
        batches = plan.batches(slates, number, first_step=first_step)
        return [batch.slate_BM.tolist() for batch in batches]

    assert epoch(1) == epoch(1) != epoch(2)
    assert epoch(1, first_step=3) == epoch(1)[3:]


def test_an_epoch_draws_the_order_of_equals_and_is_the_same_again():
    slates = many().targets()
    strengths = np.where(slates.items % 3 == 0, 2, 1).astype(np.int8)
    slates = replace(slates, strengths=strengths).by_strength()
    plan = SlatePlan(max_history=10, positions_per_batch=60, draws_ties=True, seed=5)

    def said(plan, epoch, **cut):
        return [batch.slate_BM.tolist() for batch in plan.batches(slates, epoch, **cut)]

    assert said(plan, 2) == said(plan, 2)
    assert said(plan, 2, first_step=3) == said(plan, 2)[3:]
    assert said(plan, 2) != said(replace(plan, draws_ties=False), 2)
    for (rows, _), batch in zip(plan.groups(slates, 2), said(plan, 2), strict=True):
        for row, items in zip(rows, batch, strict=True):
            fixed = slates.where(np.array([row])).items
            drawn = np.array([item for item in items if item >= 0])
            assert sorted(drawn) == sorted(fixed)
            assert ((drawn % 3 == 0) == (fixed % 3 == 0)).all()
    largest = slates.where(np.array([slates.lengths.argmax()]))
    orders = {
        tuple(batch.slate_BM[0].tolist())
        for epoch in range(20)
        for batch in plan.batches(largest, epoch)
    }
    assert len(orders) > 1


def test_processes_share_every_batch():
    plan, slates = SlatePlan(max_history=10, positions_per_batch=60), many()
    whole = list(plan.batches(slates, 0))
    shares = [list(plan.batches(slates, 0, rank=rank, world_size=9)) for rank in range(9)]
    for step, batch in enumerate(whole):
        own = [share[step] for share in shares]
        assert {each.num_targets for each in own} == {batch.num_targets}
        assert sum(each.num_own_targets for each in own) == batch.num_targets
        assert all(len(each.slate_BM) for each in own)


def test_contexts_are_asked_when_the_slate_began():
    slates = many(10)
    parts = list(slate_queries(slates, max_history=5, exclude_seen=True, rows=4))
    assert [len(part) for part in parts] == [4, 4, 2]
    asked = np.concatenate([part.asked_at_B for part in parts])
    np.testing.assert_array_equal(asked, slates.started_at // worlds.SECOND)
    batch = slate_batch(slates.where(np.arange(4)), np.arange(4), max_history=5)
    torch.testing.assert_close(torch.from_numpy(parts[0].items_BL).long(), batch.items_HL)
