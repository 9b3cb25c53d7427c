import math

import numpy as np
import pytest

from training.data.histories import Histories
from training.data.splits import Targets
from training.evaluation.retrieval import (
    ALL,
    Meter,
    SidIndex,
    UserMeans,
    by_slice,
    consume,
    target_metrics,
)
from training.models.interface import PAD, TopK


def top(*lists, width=None):
    width = width or max(map(len, lists))
    items = np.array([[*row, *[PAD] * (width - len(row))] for row in lists], dtype=np.int32)
    return TopK(items, np.where(items == PAD, -np.inf, 0.0).astype(np.float32))


def histories(*item_lists):
    offsets = np.cumsum([0, *map(len, item_lists)])
    items = np.array([item for row in item_lists for item in row], dtype=np.int32)
    return Histories(
        user_ids=np.array([f"u{n}" for n in range(len(item_lists))], dtype=object),
        offsets=offsets,
        items=items,
        strengths=np.full(len(items), 2, np.int8),
        times=np.arange(len(items), dtype=np.int64),
    )


def averaged(values, users):
    means = UserMeans(users)
    means.add("hr@5", values)
    return means.result()


def test_a_target_in_third_place_scores_as_worked_out_by_hand():
    found = dict(target_metrics(np.array([3]), cutoffs=(2, 5), list_length=10))
    assert found["hr@2"] == [0] and found["hr@5"] == [1]
    assert found["ndcg@2"] == [0] and found["ndcg@5"] == [1 / math.log2(4)]
    assert found["mrr"] == [1 / 3]


def test_a_target_that_the_list_does_not_hold_counts_nothing():
    found = dict(target_metrics(np.array([0]), cutoffs=(5,), list_length=50))
    assert found["hr@5"] == [0] and found["ndcg@5"] == [0]
    assert found["mrr"] == [0]


def test_a_cutoff_beyond_the_list_is_refused():
    with pytest.raises(ValueError, match="cut-off 10 is beyond lists of 5"):
        next(target_metrics(np.array([1]), cutoffs=(10,), list_length=5))


def test_targets_are_averaged_within_a_user_before_users_are_averaged():
    # One user with three hits, one user with one miss: 1/2, not 3/4.
    found = averaged(np.array([1.0, 1.0, 1.0, 0.0]), np.array([4, 4, 4, 9]))
    assert found.users.tolist() == [4, 9]
    assert found.num_targets.tolist() == [3, 1]
    assert found.points() == {"hr@5": 0.5}


def test_a_slice_without_targets_has_no_means():
    found = averaged(np.empty(0), np.empty(0, dtype=int))
    assert found.points() == {} and found.values_UM.shape == (0, 1)


def test_ranks_are_read_chunk_by_chunk_in_the_order_of_the_targets():
    meter = Meter(num_items=10, list_length=3)
    meter.add(top([1, 2, 3], [4, 5, 6]), np.array([3, 9]), (1, 3))
    meter.add(top([7, 8, 9]), np.array([7]), (1, 3))
    assert meter.ranks()[""].tolist() == [3, 0, 1]


def test_coverage_is_the_share_of_the_catalogue_within_the_cutoff():
    meter = Meter(num_items=10, list_length=3)
    meter.add(top([1, 2, 3], [1, 5], width=3), np.array([0, 0]), (1, 3))
    assert meter.coverage() == {"coverage@1": 0.1, "coverage@3": 0.4}


def test_items_outside_the_catalogue_and_repeats_are_counted():
    meter = Meter(num_items=10, list_length=4)
    meter.add(top([1, 1, 12, 2], [3], width=4), np.array([0, 0]), (4,))
    assert meter.illegal_share == 1 / 5
    assert meter.repeated_share == 1 / 5


def test_an_item_without_codes_is_illegal_only_where_codes_are_what_is_generated():
    index = SidIndex.of(np.array([[0, 0], [0, 1], [-1, -1]]))
    shares = {}
    for needs_sids in (True, False):
        meter = Meter(num_items=3, list_length=2, sids=index, needs_sids=needs_sids)
        meter.add(top([0, 2]), np.array([1]), (2,))
        shares[needs_sids] = meter.illegal_share
    assert shares == {True: 0.5, False: 0.0}


def test_items_that_share_codes_are_numbered_alike_and_placed_by_index():
    index = SidIndex.of(np.array([[1, 1], [0, 0], [1, 1], [-1, -1], [1, 1]]))
    assert index.number_V.tolist() == [1, 0, 1, -1, 1]
    assert index.size_V.tolist() == [3, 1, 3, 0, 3]
    assert index.place_V.tolist() == [0, 0, 1, 0, 2]


def expanded_by_writing_out(items, codes, target, length):
    """HitRate with expansion as its definition says it, list by list."""
    seen, answer = [], []
    for item in items:
        if item != PAD and codes[item] not in seen:
            seen.append(codes[item])
            answer += [other for other, code in enumerate(codes) if code == codes[item]]
    answer = answer[:length]
    sids = [codes.index(code) for code in seen]
    first = codes.index(codes[target])
    return (
        sids.index(first) + 1 if first in sids else 0,
        answer.index(target) + 1 if target in answer else 0,
    )


def test_ranks_by_semantic_id_agree_with_lists_written_out():
    draw = np.random.default_rng(3)
    codes = [(int(a), int(b)) for a, b in draw.integers(0, 4, size=(40, 2))]
    index = SidIndex.of(np.array(codes))
    lists = [draw.permutation(40)[: draw.integers(0, 9)].tolist() for _ in range(200)]
    targets = draw.integers(0, 40, size=200)
    meter = Meter(num_items=40, list_length=8, sids=index, needs_sids=True)
    meter.add(top(*lists, width=8), targets, (8,))
    expected = [
        expanded_by_writing_out(row, codes, t, 8)
        for row, t in zip(lists, targets.tolist(), strict=True)
    ]
    found = meter.ranks()
    assert [*zip(found["sid_"], found["expanded_"], strict=True)] == expected
    assert 0 < sum(found["sid_"] > 0) < 200


def test_a_target_that_the_codes_do_not_know_is_a_miss():
    index = SidIndex.of(np.array([[0, 0], [-1, -1]]))
    meter = Meter(num_items=2, list_length=2, sids=index)
    meter.add(top([0, 1], [0, 1]), np.array([1, 7]), (2,))
    assert meter.ranks()["sid_"].tolist() == [0, 0]
    assert meter.ranks()[""].tolist() == [2, 0]


def test_slices_hold_their_own_targets_and_new_users_are_those_without_training():
    known = histories([0, 1, 2], [3, 4])
    targets = Targets(
        known,
        np.array([0, 0, 1]),
        np.array([1, 2, 1]),
        {"new_items": np.array([False, True, False])},
    )
    train = known.where(np.array([True, False, False, False, False]))
    meter = consume(
        Meter(num_items=5, list_length=2), [top([1, 0], [0, 1], [4, 0])], targets, (1, 2)
    )
    found = by_slice(meter, targets, cutoffs=(1, 2), train=train)
    assert found[ALL].points()["hr@1"] == 0.75  # (1/2 + 1) / 2
    assert found["new_items"].users.tolist() == [0]
    assert found["new_items"].points()["hr@2"] == 0
    assert found["new_users"].users.tolist() == [1]
    assert found["new_users"].points()["hr@1"] == 1


@pytest.mark.parametrize("lists", [1, 3])
def test_a_wrong_number_of_answers_is_refused(lists):
    targets = Targets(histories([0, 1, 2]), np.array([0, 0]), np.array([1, 2]))
    with pytest.raises(ValueError, match=f"{lists} answers to 2 targets"):
        consume(Meter(num_items=3, list_length=1), [top([0])] * lists, targets, (1,))
