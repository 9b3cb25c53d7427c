"""Codes of queries: who asks, what about, when, and what of it had been met."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from safetensors.torch import load, save

from feature_store.features import count_code, feature, features, vocabularies
from training.data.features import Counting, Features, count_codes
from training.data.histories import SECOND, Histories
from training.data.queries import PAD, Queries

DAY = date(2024, 5, 8)
NAMES = (
    *("user_id", "user.city", "binned.user.age", "user_events", "user_engagements"),
    *("item_id", "item.author"),
    *("hour", "weekday", "met.item_id", "engaged.item_id", "met.item.author"),
)
NOON = 1_715_083_200
"""Of Tuesday, 7 May 2024."""


def _vocabularies() -> pa.Table:
    """Beside what the first day knew there is what has a code from the 8th on, and the 9th."""
    rows = [
        ("user_id", "ada", 1, 1), ("user_id", "bob", 2, 8), ("user_id", "late", 3, 9),
        ("user.city", "Bern", 1, 1), ("user.city", "Oslo", 2, 8),
        ("binned.user.age", "-inf", 1, 1), ("binned.user.age", "30.0", 2, 1),
        ("item_id", "x", 1, 1), ("item_id", "y", 2, 1), ("item_id", "z", 3, 9),
        ("item.author", "A", 1, 1), ("item.author", "B|C", 2, 1),
    ]  # fmt: skip
    columns = list(zip(*rows, strict=True))
    return pa.table(
        {
            "field": columns[0],
            "value": columns[1],
            "code": pa.array(columns[2], pa.int32()),
            "first_day": [date(2024, 5, day) for day in columns[3]],
        }
    )


def _with_attributes(key: str, rows: dict[str, dict[str, str]]) -> pa.Table:
    attributes = pa.array([list(each.items()) for each in rows.values()], _MAP)
    return pa.table({key: list(rows), "attributes": attributes})


_MAP = pa.map_(pa.string(), pa.string())


def _features(names: tuple[str, ...] = NAMES, *, history_events: int = 200) -> Features:
    items = _with_attributes(
        "item_id",
        {"x": {"author": "A"}, "y": {"author": "A"}, "z": {"author": "B|C"}, "w": {"author": "N"}},
    )
    items = items.append_column("item_index", pa.array([0, 1, 2, 3], pa.int32()))
    users = _with_attributes(
        "user_id",
        {
            "cleo": {"city": "Bern", "age": "30"},
            "ada": {"city": "Bern", "age": "29.5"},
            "bob": {"city": "Rome", "age": "many"},
        },
    )
    return Features.of_tables(
        names,
        Counting(history_events, engaged_strength=1, utc_offset_hours=0.0),
        vocabularies=_vocabularies(),
        items=items,
        users=users,
        on=DAY,
    )


def _histories(events: list[tuple[int, int, int]], user: str = "ada") -> Histories:
    """One user's events: item, strength, seconds after noon."""
    items, strengths, seconds = (np.array(column) for column in zip(*events, strict=True))
    return Histories(
        user_ids=np.array([user], dtype=object),
        offsets=np.array([0, len(events)]),
        items=items.astype(np.int32),
        strengths=strengths.astype(np.int8),
        times=(NOON + seconds) * SECOND,
    )


def _asked(histories: Histories, *, seconds: int, max_history: int = 50) -> Queries:
    user = np.arange(histories.num_users)
    return Queries.at(
        histories,
        user,
        histories.lengths,
        max_history=max_history,
        exclude_seen=False,
        asked_at=np.full(len(user), NOON + seconds),
    )


def _context(features: Features, queries: Queries, items: list[int], name: str) -> list[int]:
    place = [field.name for field in features.of_group("context")].index(name)
    codes: list[int] = features.context_codes(queries, np.array([items]))[0, :, place].tolist()
    return codes


class TestNames:
    def test_each_has_its_group(self) -> None:
        groups = [each.group for each in features(NAMES)]
        assert groups == ["user"] * 5 + ["item"] * 2 + ["context"] * 5

    def test_groups_come_in_order_whatever_the_order_of_the_names(self) -> None:
        assert [each.name for each in features(["hour", "item_id", "user_id"])] == [
            "user_id", "item_id", "hour",
        ]  # fmt: skip

    def test_vocabularies_that_are_needed(self) -> None:
        needed = vocabularies(features(["met.item.tag", "item.author", "met.item_id", "hour"]))
        assert [each.name for each in needed] == ["item.author", "item.tag"]

    @pytest.mark.parametrize("name", ["", "city", "user.", "met.user.city", "binned.item_id"])
    def test_what_is_no_name(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"no feature is called .*user_id, .*item\.NAME"):
            feature(name)

    def test_twice(self) -> None:
        with pytest.raises(ValueError, match="hour is there more than once"):
            features(["hour", "user_id", "hour"])


def test_count_codes_are_those_of_count_code() -> None:
    counts = np.array([[0, 1, 2], [3, 4, 200]])
    assert count_codes(counts).tolist() == [
        [count_code(count) for count in row] for row in counts.tolist()
    ]


class TestFields:
    def test_sizes(self) -> None:
        sizes = {field.name: field.size for field in _features().fields}
        assert sizes == {
            "user_id": 3, "user.city": 3, "binned.user.age": 3, "user_events": 11,
            "user_engagements": 11, "item_id": 3, "item.author": 3, "hour": 25, "weekday": 8,
            "met.item_id": 11, "engaged.item_id": 11, "met.item.author": 11,
        }  # fmt: skip

    def test_what_came_on_the_day_itself_counts_from_the_next(self) -> None:
        codes = _features().item_codes(np.array([[0, 1, 2, 3]]))[0]
        assert codes[:, 0].tolist() == [1, 2, 0, 0]

    def test_a_list_of_values_is_one_value(self) -> None:
        codes = _features().item_codes(np.array([[0, 2, 3]]))[0]
        assert codes[:, 1].tolist() == [1, 2, 0]

    def test_no_item_and_items_beyond_the_catalogue(self) -> None:
        assert not _features().item_codes(np.array([[PAD, 4]])).any()


class TestUsers:
    def _codes(self, user: str) -> list[int]:
        histories = _histories([(0, 1, 0), (0, 0, 1), (1, 2, 2)], user)
        codes: list[int] = _features().user_codes(_asked(histories, seconds=10))[0].tolist()
        return codes

    def test_somebody_known(self) -> None:
        assert self._codes("ada") == [1, 1, 1, count_code(3), count_code(2)]

    def test_a_value_that_is_not_known_and_a_number_that_is_none(self) -> None:
        assert self._codes("bob") == [2, 0, 0, count_code(3), count_code(2)]

    def test_somebody_of_the_table_who_had_no_event_has_attributes(self) -> None:
        assert self._codes("cleo") == [0, 1, 2, count_code(3), count_code(2)]

    def test_somebody_nobody_knows_has_a_history(self) -> None:
        assert self._codes("zoe") == [0, 0, 0, count_code(3), count_code(2)]

    def test_nobody_says_who_asks(self) -> None:
        queries = _asked(_histories([(0, 1, 0)]), seconds=10)
        nameless = Queries(*(vars(queries) | {"user_ids_B": None}).values())
        assert _features().user_codes(nameless)[0].tolist() == [0, 0, 0, 2, 2]


class TestContext:
    def test_hour_and_weekday_are_local(self) -> None:
        queries = _asked(_histories([(0, 1, 0)]), seconds=3_600)
        assert _context(_features(), queries, [0], "hour") == [14]
        assert _context(_features(), queries, [0], "weekday") == [2]

    def test_events_of_the_same_second_are_not_before(self) -> None:
        histories = _histories([(0, 1, 0), (0, 1, 5), (0, 1, 5)])
        for seconds, met in ((0, 0), (5, 1), (6, 3)):
            queries = _asked(histories, seconds=seconds)
            assert _context(_features(), queries, [0], "met.item_id") == [count_code(met)]

    def test_met_and_engaged(self) -> None:
        histories = _histories([(0, 1, 0), (0, 0, 1), (1, -1, 2)])
        queries = _asked(histories, seconds=10)
        features = _features()
        assert _context(features, queries, [0, 1, 2], "met.item_id") == [3, 2, 1]
        assert _context(features, queries, [0, 1, 2], "engaged.item_id") == [2, 1, 1]
        assert _context(features, queries, [0, 1, 2], "met.item.author") == [4, 4, 1]

    def test_a_value_without_a_code_is_never_met(self) -> None:
        queries = _asked(_histories([(3, 1, 0)]), seconds=10)
        assert _context(_features(), queries, [3], "met.item.author") == [1]
        assert _context(_features(), queries, [3], "met.item_id") == [2]

    def test_the_last_events_before_count(self) -> None:
        histories = _histories([(0, 1, 0), (0, 1, 1), (1, 1, 2), (1, 1, 5)])
        queries = _asked(histories, seconds=5)
        features = _features(history_events=2)
        assert _context(features, queries, [0, 1], "met.item_id") == [2, 2]

    def test_no_item_has_no_context(self) -> None:
        queries = _asked(_histories([(0, 1, 0)]), seconds=10)
        assert not _features().context_codes(queries, np.array([[PAD, 4]])).any()

    def test_as_a_loop_over_events_counts(self) -> None:
        rng = np.random.default_rng(0)
        events = sorted(
            zip(
                rng.integers(0, 4, 60).tolist(),
                rng.integers(-1, 4, 60).tolist(),
                rng.integers(0, 20, 60).tolist(),
                strict=True,
            ),
            key=lambda event: event[2],
        )
        features = _features(history_events=10)
        for seconds in range(22):
            queries = _asked(_histories(events), seconds=seconds, max_history=60)
            before = [event for event in events if event[2] < seconds][-10:]
            engaged = [event for event in before if event[1] >= 1]
            expected = [count_code(sum(event[0] == item for event in engaged)) for item in range(4)]
            found = _context(features, queries, [0, 1, 2, 3], "engaged.item_id")
            assert found == expected


class TestKept:
    def test_what_was_kept_makes_the_same_codes(self) -> None:
        features = _features()
        again = Features.from_weights(features.sizes, load(save(features.state_dict())))
        queries = _asked(_histories([(0, 1, 0), (2, 1, 1)]), seconds=10)
        items = np.array([[0, 1, 2, 3, PAD]])
        assert again.fields == features.fields
        assert again.user_ids.tolist() == ["ada", "bob", "cleo"]
        assert np.array_equal(again.user_codes(queries), features.user_codes(queries))
        assert np.array_equal(again.item_codes(items), features.item_codes(items))
        assert np.array_equal(
            again.context_codes(queries, items), features.context_codes(queries, items)
        )

    def test_without_a_user(self) -> None:
        features = _features(("hour",))
        nobody = Features(
            features.fields,
            features.counting,
            features.item_VF,
            features.alike_VF,
            features.user_ids[:0],
            features.user_UF[:0],
        )
        again = Features.from_weights(nobody.sizes, load(save(nobody.state_dict())))
        assert again.user_codes(_asked(_histories([(0, 1, 0)]), seconds=1)).shape == (1, 0)


class TestQueries:
    def test_rows_and_masks_keep_who_asks(self) -> None:
        histories = Histories(
            user_ids=np.array(["a", "b", "c"], dtype=object),
            offsets=np.array([0, 1, 2, 3]),
            items=np.arange(3, dtype=np.int32),
            strengths=np.ones(3, dtype=np.int8),
            times=np.arange(3) * SECOND,
        )
        queries = _asked(histories, seconds=10)
        assert queries.user_ids_B is not None
        assert queries.user_ids_B.tolist() == ["a", "b", "c"]
        for kept in (queries.rows(1, 3), queries.where(np.array([1, 2]))):
            assert kept.user_ids_B is not None
            assert kept.user_ids_B.tolist() == ["b", "c"]
        known = queries.of_known(np.array([True, False, True]))
        assert known.user_ids_B is not None
        assert known.user_ids_B.tolist() == ["a", "b", "c"]
