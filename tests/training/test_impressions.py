"""Rows of `impressions` as a fit gets them."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from training.data.features import Counting, Features, Field
from training.data.histories import SECOND, Histories
from training.data.impressions import Impressions

DAY = date(2024, 5, 8)


def _features() -> Features:
    nothing = np.zeros((3, 1), dtype=np.int32)
    return Features(
        fields=(
            Field("user_id", "user", 9),
            Field("item_id", "item", 9),
            Field("hour", "context", 25),
        ),
        counting=Counting(200, 1, 0.0),
        item_VF=nothing,
        alike_VF=nothing[:, :0],
        user_ids=np.array([], dtype=object),
        user_UF=nothing[:0],
    )


def _histories() -> Histories:
    return Histories(
        user_ids=np.array(["ada", "bob"], dtype=object),
        offsets=np.array([0, 0, 0]),
        items=np.zeros(0, np.int32),
        strengths=np.zeros(0, np.int8),
        times=np.zeros(0, np.int64),
    )


def _rows(**changed: Any) -> pa.Table:
    columns = {
        "user_id": ["bob", "ada", "bob"],
        "item_index": [2, 1, 0],
        "event_time": [datetime(2024, 5, 8, 0, 0, second, tzinfo=UTC) for second in (3, 2, 1)],
        "strength": [0, 1, -1],
        "user_codes": [[2], [1], [2]],
        "item_codes": [[3], [2], [1]],
        "context_codes": [[1], [1], [1]],
    }
    return pa.table(columns | changed)


def _read(**changed: Any) -> Impressions:
    return Impressions.from_arrow(_rows(**changed), _histories(), _features())


def test_by_user_and_time() -> None:
    impressions = _read()
    assert impressions.user.tolist() == [0, 1, 1]
    assert impressions.item.tolist() == [1, 0, 2]
    assert impressions.strength.tolist() == [1, -1, 0]
    assert impressions.user_NF.tolist() == [[1], [2], [2]]
    assert impressions.item_NF.tolist() == [[2], [1], [3]]
    assert impressions.context_NF.shape == (3, 1)


def test_until_a_moment() -> None:
    second = int(datetime(2024, 5, 8, tzinfo=UTC).timestamp()) * SECOND
    assert _read().until(second + 3 * SECOND).item.tolist() == [1, 0]


def test_what_is_read_of_histories_changes_nothing() -> None:
    impressions = _read()
    assert impressions.keeping(lambda histories: histories.strengths > 3) is impressions


def test_codes_that_came_after_the_features_are_unknown() -> None:
    impressions = _read(user_codes=[[8], [9], [70]])
    assert impressions.user_NF.tolist() == [[0], [0], [8]]


def test_no_impression() -> None:
    assert len(Impressions.from_arrow(_rows().slice(0, 0), _histories(), _features())) == 0


def test_a_user_without_a_history() -> None:
    with pytest.raises(ValueError, match="1 users have impressions and no history, first zoe"):
        _read(user_id=["zoe", "ada", "bob"])


def test_codes_of_other_fields() -> None:
    with pytest.raises(ValueError, match=r"1 impressions have 2 codes of the item.* ask for 1;"):
        _read(item_codes=[[1], [1, 2], [1]])


def test_a_column_is_missing() -> None:
    with pytest.raises(ValueError, match=r"missing: \['strength'\]"):
        Impressions.from_arrow(_rows().drop_columns("strength"), _histories(), _features())
