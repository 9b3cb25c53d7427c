from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from tests import worlds
from training.data.preferences import Pairs, pair_batches
from training.data.slate_batches import SlatePlan

HISTORIES = worlds.histories_of([[5, 6, 7], [8, 9]])


def row(**changes):
    return {
        "slate_id": "a",
        "user_id": "u000",
        "context_until": datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=2),
        "kind": "ranking",
        "chosen": [1, 2],
        "rejected": [2, 1],
    } | changes


def read(*rows):
    return Pairs.from_arrow(pa.Table.from_pylist(list(rows)), HISTORIES)


THREE = (
    row(slate_id="b", user_id="u001", kind="interest", chosen=[3], rejected=[4]),
    row(kind="diversity", rejected=[1, 9]),
    row(),
)


def test_rows_become_pairs_with_the_events_before_the_slate():
    pairs = read(*THREE)
    assert pairs.kinds.tolist() == ["diversity", "ranking", "interest"]
    assert pairs.chosen.position.tolist() == [2, 2, 2]
    assert pairs.chosen.items.tolist() == [1, 2, 1, 2, 3]
    assert pairs.rejected.tolist() == [1, 9, 2, 1, 4]
    assert read(row(context_until=datetime(1970, 1, 1, tzinfo=UTC))).chosen.position.tolist() == [0]


def test_pairs_follow_their_slates():
    slates = worlds.slates_of([[1, 2]], HISTORIES, starts=[2])
    slates.ids[0] = "a"
    assert read(*THREE).of_slates(slates).rejected.tolist() == [1, 9, 2, 1]


def test_a_pair_with_an_unknown_item_is_left_out_and_so_are_unknown_events():
    is_known = np.ones(12, dtype=bool)
    is_known[[9, 6]] = False
    pairs = read(*THREE).of_known(is_known)
    assert pairs.kinds.tolist() == ["ranking", "interest"]
    assert pairs.rejected.tolist() == [2, 1, 4]
    assert pairs.chosen.histories.items.tolist() == [5, 7, 8]
    assert pairs.chosen.position.tolist() == [1, 1]


def test_pairs_read_only_the_events_that_are_chosen():
    pairs = read(*THREE).keeping(lambda histories: histories.items != 6)
    assert len(pairs) == 3
    assert pairs.chosen.histories.items.tolist() == [5, 7, 8, 9]
    assert pairs.chosen.position.tolist() == [1, 1, 2]
    assert pairs.rejected.tolist() == [1, 9, 2, 1, 4]


def test_some_pairs_are_spread_over_all():
    assert read(*THREE).first(2).kinds.tolist() == ["diversity", "interest"]
    assert len(read(*THREE).first(9)) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rejected": [2]}, "1 pairs have slates of differing length or none, .* a: 2 .*, 1 rej"),
        ({"chosen": [], "rejected": []}, "first of slate a: 0 chosen, 0 rejected"),
        ({"user_id": "nobody"}, "1 users have slates and no history"),
    ],
)
def test_broken_rows_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        read(row(slate_id="0"), row(**change))


def test_a_missing_column_is_refused():
    with pytest.raises(ValueError, match=r"missing: \['kind'\]"):
        Pairs.from_arrow(pa.Table.from_pylist([row()]).drop("kind"), HISTORIES)


def test_batches_hold_both_slates_under_the_number_of_the_pair():
    pairs = read(*THREE)
    plan = SlatePlan(max_history=5, positions_per_batch=8, positions_per_item=2)
    seen = {}
    for batch in pair_batches(pairs, plan, 0):
        assert batch.num_targets == batch.num_own_targets == len(batch.pair_B)
        for number, both in zip(batch.pair_B.tolist(), batch.slate_B2M.tolist(), strict=True):
            seen[number] = both
    assert seen == {0: [[1, 2], [1, 9]], 1: [[1, 2], [2, 1]], 2: [[3], [4]]}


def test_a_process_without_rows_gets_an_empty_pair():
    plan = SlatePlan(max_history=5, positions_per_batch=1)
    batch = next(pair_batches(read(*THREE), plan, 0, rank=1, world_size=2))
    assert batch.num_targets == 1
    assert batch.num_own_targets == 0
    assert (batch.slate_B2M == -1).all()
    assert batch.num_positions == 2
