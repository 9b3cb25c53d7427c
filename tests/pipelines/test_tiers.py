"""Slates → items in tiers: which, in what order, and what is drawn beside them; without Spark."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from math import nan
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from feature_store.storage import Folder
from pipelines.config import PreferenceLists
from pipelines.transforms import pseudo_exposures
from pipelines.transforms.listed_items import TableFiles
from pipelines.transforms.shown_slates import PRIME
from pipelines.transforms.tiers import NOTHING_TO_DRAW, ONE_TIER, Tiers

DAY = date(2024, 5, 7)
NOON = datetime(2024, 5, 7, 12, tzinfo=UTC)


def slate(
    name, strengths, *, items=None, user="u", day=DAY, hour=0, dwell=None, number=None, **beam
):
    start = NOON + timedelta(days=(day - DAY).days, hours=hour)
    return {
        "day": day,
        "slate_id": name,
        "user_id": user,
        "started_at": start,
        "ended_at": start + timedelta(minutes=5),
        "item_indices": list(range(len(strengths))) if items is None else items,
        "strengths": strengths,
        "dwell_seconds": dwell or [nan] * len(strengths),
        "number": number or sum(map(ord, name)) * 7919 % PRIME,
    } | beam


TYPES = pa.schema(
    [
        ("day", pa.date32()),
        ("slate_id", pa.string()),
        ("user_id", pa.string()),
        ("started_at", pa.timestamp("us", tz="UTC")),
        ("ended_at", pa.timestamp("us", tz="UTC")),
        ("item_indices", pa.list_(pa.int32())),
        ("strengths", pa.list_(pa.int32())),
        ("dwell_seconds", pa.list_(pa.float32())),
        ("number", pa.int64()),
    ]
)


WITH_BEAMS = TYPES.append(pa.field("beam", pa.list_(pa.int32())))


@pytest.fixture
def lists(tmp_path):
    """Lists and their accounts, by slate_id."""

    def lists(*slates, catalogue=100, first=DAY, last=DAY, rows_at_once=1000, **config):
        rows = [(DAY, None)] * catalogue if isinstance(catalogue, int) else catalogue
        files = items_at(tmp_path / "items.parquet", rows)
        tiers = Tiers(PreferenceLists.model_validate(config), files, first, last)
        ordered = sorted(slates, key=lambda row: (row["user_id"], row["started_at"]))
        types = WITH_BEAMS if any("beam" in row for row in ordered) else TYPES
        batches = pa.Table.from_pylist(ordered, types).to_batches(max_chunksize=rows_at_once)
        found = [row for batch in tiers.run(iter(batches)) for row in batch.to_pylist()]
        return {row["slate_id"]: row for row in found}

    return lists


def items_at(path: Path, rows) -> TableFiles:
    """Files of `items` with these (first_day, last_listed_day)."""
    first, last = zip(*rows, strict=True)
    table = {
        "item_index": pa.array(range(len(rows)), pa.int32()),
        "first_day": pa.array(first, pa.date32()),
        "last_listed_day": pa.array(last, pa.date32()),
    }
    pq.write_table(pa.table(table), path)
    folder = Folder(f"file://{path.parent}", str(path.parent), fs.LocalFileSystem())
    return TableFiles(folder, (f"file://{path}",))


def drawn(row):
    """The items of tier 4."""
    return [item for item, tier in zip(row["item_indices"], row["tiers"], strict=True) if tier == 4]


def test_items_are_in_tiers_by_strength_and_within_one_by_strength_then_dwell(lists):
    strengths, dwell = [0, 1, 3, 2, 2, -1, 1, 2], [9.0, 5.0, 1.0, 4.0, 8.0, 9.0, nan, 3.0]
    row = lists(slate("s", strengths, dwell=dwell), pseudo_exposures=0)["s"]
    assert row["item_indices"] == [2, 4, 3, 7, 1, 6, 0, 5]
    assert row["tiers"] == [1, 1, 1, 1, 2, 2, 3, 3]
    assert (row["reason"], row["num_in_tiers"]) == (None, [4, 2, 2, 0])


def test_the_preset_says_where_tiers_begin(lists):
    row = lists(slate("s", [3, 2, 1, -1]), first_strength=3, second_strength=0)["s"]
    assert row["item_indices"][:4] == [0, 1, 2, 3] and row["tiers"][:5] == [1, 2, 2, 3, 4]


def test_items_that_nothing_tells_apart_come_by_chance_and_always_the_same(lists):
    slates = [slate(f"{n:02d}", [1, 2, 1, 1], number=n * 99_991) for n in range(1, 61)]
    found, again = (lists(*slates, pseudo_exposures=0) for _ in range(2))
    assert found == again
    orders = Counter(tuple(row["item_indices"]) for row in found.values())
    assert {order[0] for order in orders} == {1}
    assert len(orders) == 6 and max(orders.values()) < 25


def test_a_tier_keeps_its_strongest_and_what_is_cut_is_counted(lists):
    row = lists(slate("s", [3, 2, 3, 1, 0, 0, -1]), most_per_tier=2, pseudo_exposures=0)["s"]
    assert sorted(row["item_indices"][:2]) == [0, 2] and row["item_indices"][2] == 3
    assert sorted(row["item_indices"][3:]) == [4, 5]
    assert (row["tiers"], row["num_cut"]) == ([1, 1, 2, 3, 3], 2)


def test_of_one_tier_there_is_no_list_and_the_reason_is_said(lists):
    alone = lists(slate("s", [2, 3]), pseudo_exposures=0)["s"]
    assert (alone["reason"], alone["num_in_tiers"]) == (ONE_TIER, [2, 0, 0, 0])
    assert lists(slate("s", [2, 3]), catalogue=2)["s"]["reason"] == NOTHING_TO_DRAW
    assert lists(slate("s", [0, 0]))["s"]["reason"] is None, "shown, above what wasn't"


def test_pseudo_exposures_are_as_many_as_asked_for_and_none_was_shown(lists):
    earlier = slate("before", [1] * 30, items=list(range(50, 80)), hour=-5)
    later = slate("after", [1] * 30, items=list(range(80, 110)), hour=5)
    row = lists(earlier, slate("s", [2, 0]), later, catalogue=130, pseudo_exposures=40)["s"]
    assert len(set(drawn(row))) == 40 and row["num_missing"] == 0
    assert set(drawn(row)).isdisjoint({0, 1, *range(50, 80)})
    assert not set(drawn(row)).isdisjoint(range(80, 110)), "what comes later is not known"


def test_what_others_were_shown_or_the_user_before_the_window_may_be_drawn(lists):
    slates = [
        slate("old", [1] * 10, items=list(range(2, 12)), day=DAY - timedelta(days=3)),
        slate("window's", [1] * 10, items=list(range(12, 22)), day=DAY - timedelta(days=2)),
        slate("other's", [1] * 10, items=list(range(22, 32)), user="t", hour=-5),
        slate("s", [2, 0]),
    ]
    row = lists(*slates, catalogue=32, pseudo_exposures=32, window_days=3)["s"]
    assert sorted(drawn(row)) == [*range(2, 12), *range(22, 32)]
    assert row["num_missing"] == 12


def test_only_slates_of_the_days_have_lists(lists):
    days = [DAY - timedelta(days=n) for n in range(4)]
    slates = [slate(f"{day}", [2, 0], day=day) for day in days]
    found = lists(*slates, first=DAY - timedelta(days=2), last=DAY - timedelta(days=1))
    assert set(found) == {"2024-05-05", "2024-05-06"}


@pytest.mark.parametrize("kept_at_once", [1, 64])
def test_the_catalogue_is_that_of_the_slates_day(lists, monkeypatch, kept_at_once):
    monkeypatch.setattr(pseudo_exposures, "_VERSIONS", kept_at_once)
    catalogue = [(DAY, None)] * 4 + [(DAY + timedelta(days=2), None)] * 10
    catalogue += [(DAY, DAY + timedelta(days=1))] * 10
    slates = [slate(f"{n}", [2, 0], day=DAY + timedelta(days=n)) for n in (-1, 1, 2)]
    asked = {"first": DAY - timedelta(days=1), "last": DAY + timedelta(days=2)}
    found = lists(*slates, catalogue=catalogue, pseudo_exposures=24, **asked)
    # The first delivery says nothing about since when its items had been there.
    assert sorted(drawn(found["-1"])) == sorted(drawn(found["1"])) == [2, 3, *range(14, 24)]
    assert sorted(drawn(found["2"])) == list(range(2, 14))


def test_draws_fall_everywhere_alike_and_so_do_pairs_of_them(lists):
    numbers = np.random.default_rng(0).integers(1, PRIME, 6_000)
    slates = [slate(f"{n}", [2, 0], user=f"{n}", number=int(d)) for n, d in enumerate(numbers)]
    found = [drawn(row) for row in lists(*slates, catalogue=12, pseudo_exposures=2).values()]
    singles = np.bincount([item for row in found for item in row], minlength=12)
    pairs = Counter(frozenset(row) for row in found)
    assert singles[:2].tolist() == [0, 0]
    # Five standard deviations of a count: 33 of 1,200, 11.5 of 133.
    assert np.abs(singles[2:] - 1_200).max() < 165
    assert len(pairs) == 45 and max(abs(count - 6_000 / 45) for count in pairs.values()) < 58


@pytest.mark.parametrize("rows_at_once", [1, 3, 1000])
def test_lists_are_those_of_a_slow_reference_however_batches_are_cut(lists, rows_at_once):
    draw = np.random.default_rng(1)
    slates = []
    for n in range(120):
        shown = draw.permutation(60)[: draw.integers(2, 12)].tolist()
        on = DAY + timedelta(days=int(draw.integers(0, 4)))
        slates.append(
            slate(
                f"{n}",
                draw.integers(-1, 4, len(shown)).tolist(),
                items=shown,
                user=f"u{draw.integers(4)}",
                day=on,
                hour=n / 12,
                number=int(draw.integers(1, PRIME)),
            )
        )
    catalogue = [(DAY, None)] * 40 + [(DAY + timedelta(days=2), None)] * 17
    last = DAY + timedelta(days=3)
    found = lists(
        *slates,
        catalogue=catalogue,
        first=DAY + timedelta(days=1),
        last=last,
        window_days=2,
        pseudo_exposures=9,
        rows_at_once=rows_at_once,
    )
    assert len(found) == sum(row["day"] > DAY for row in slates)
    for row in slates:
        if row["day"] > DAY:
            list_ = found[row["slate_id"]]
            assert drawn(list_) == slow_draws(row, slates, catalogue)
            assert list_["num_missing"] == 9 - len(drawn(list_))


def slow_draws(row, slates, catalogue):
    """One try after the other."""
    listed = [n for n, (first, _) in enumerate(catalogue) if first <= row["day"]]
    rows, columns = {40: (7, 6), 57: (8, 8)}[len(listed)]
    seen = set()
    for other in slates:
        at_most = other["started_at"] <= row["started_at"]
        in_window = other["day"] > row["day"] - timedelta(days=2)
        if other["user_id"] == row["user_id"] and at_most and in_window:
            seen |= set(other["item_indices"])
    places = []
    for turn in range(rows * columns):
        up, across = divmod(turn, columns)
        for number in range(4):
            key = row["number"] * 48_271 ** (number + 1) % PRIME
            if number % 2:
                across = (across + ((up + 1) * key % PRIME + 48_271) ** 2 % PRIME) % columns
            else:
                up = (up + ((across + 1) * key % PRIME + 48_271) ** 2 % PRIME) % rows
        places.append(up * columns + across)
    assert sorted(places) == list(range(rows * columns))
    free = [listed[place] for place in places if place < len(listed) and listed[place] not in seen]
    return free[:9]


@pytest.mark.parametrize("size", [1, 2, 3, 20])
def test_a_small_catalogue_gives_all_that_it_has(lists, size):
    row = lists(slate("s", [2, 0], items=[0, 1]), catalogue=2 + size, pseudo_exposures=50)["s"]
    assert sorted(drawn(row)) == list(range(2, 2 + size))
    assert row["num_missing"] == 50 - size


def test_tiers_that_would_be_empty_are_refused():
    with pytest.raises(ValueError, match="second_strength 2 is not below first_strength 2: no it"):
        PreferenceLists(second_strength=2)


def test_a_beam_gives_what_was_not_shown_in_its_order_and_never_a_chosen_item(lists):
    earlier = slate("before", [1] * 3, items=[20, 21, 22], hour=-5, beam=None)
    later = slate("after", [1] * 2, items=[30, 31], hour=5, beam=[])
    beam = [1, 40, 21, 30, 0, 39, 2, 41]
    asked = slate("s", [0, 3, 1], beam=beam)
    found = lists(earlier, asked, later, pseudo_exposures=3)
    assert found["s"]["item_indices"][:3] == [1, 2, 0] and drawn(found["s"]) == [40, 30, 39]
    assert found["s"]["is_of_beam"] and found["s"]["num_missing"] == 0
    wide = lists(earlier, asked, later, pseudo_exposures=16)["s"]
    assert drawn(wide) == [40, 30, 39, 41] and wide["num_missing"] == 12


def test_without_a_beam_or_with_nothing_left_of_it_items_are_drawn(lists):
    names = ("none", "empty", "all shown")
    plain = lists(*(slate(name, [3, 0], user=name) for name in names))
    beams = dict(zip(names, (None, [], [1, 0]), strict=True))
    beside = slate("s", [3, 0], user="z", beam=[7])
    found = lists(*(slate(name, [3, 0], user=name, beam=beams[name]) for name in names), beside)
    assert {name: found[name] for name in names} == plain
    assert [found[name]["is_of_beam"] for name in (*names, "s")] == [False] * 3 + [True]
    assert drawn(found["s"]) == [7]


def test_of_a_beam_only_what_the_catalogue_held_on_the_day_is_taken(lists):
    catalogue = [(DAY - timedelta(days=9), None)] * 5
    catalogue += [(DAY + timedelta(days=1), None), (DAY, None)]
    catalogue += [(DAY - timedelta(days=9), DAY - timedelta(days=n)) for n in (0, 1)]
    row = lists(slate("s", [3, 0], beam=[8, 7, 6, 5, 4, 9, 99]), catalogue=catalogue)["s"]
    assert drawn(row) == [7, 6, 4]


def test_beams_are_the_same_whatever_lies_in_one_batch(lists):
    draw = np.random.default_rng(4)
    slates = [
        slate(
            f"{n}",
            draw.integers(-1, 4, 5).tolist(),
            user=f"{n % 7}",
            hour=n // 7,
            items=draw.choice(60, 5, replace=False).tolist(),
            beam=None if n % 4 == 0 else draw.choice(60, 12, replace=False).tolist(),
        )
        for n in range(70)
    ]
    whole, small = (lists(*slates, rows_at_once=rows, pseudo_exposures=6) for rows in (1000, 3))
    assert whole == small and {row["is_of_beam"] for row in whole.values()} == {True, False}
