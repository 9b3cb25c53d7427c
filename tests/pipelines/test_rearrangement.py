"""Attempts in Arrow batches: what a plain loop gives, wherever the batches are cut."""

from datetime import UTC, date, datetime, timedelta
from math import ceil, inf, isnan, nan

import numpy as np
import pyarrow as pa
import pytest

from pipelines.config import Preferences
from pipelines.transforms.preferences import REASONS
from pipelines.transforms.ragged import Layout
from pipelines.transforms.rearrangement import (
    ALL_ENGAGED,
    ALL_IN_SLATE,
    NONE_ENGAGED,
    ONE_CHOSEN,
    ONE_STRENGTH,
    REPEATED,
    Rearrangement,
    asked_for_diversity,
)
from pipelines.transforms.shown_slates import KINDS, PRIME, STEP

DAY = date(2024, 5, 7)
NOON = datetime(2024, 5, 7, 12, tzinfo=UTC)
EVERY_DAY = (DAY - timedelta(days=9), DAY + timedelta(days=1))
SCHEMA = pa.schema(
    {
        "day": pa.date32(),
        "slate_id": pa.string(),
        "user_id": pa.string(),
        "started_at": pa.timestamp("us", tz="UTC"),
        "ended_at": pa.timestamp("us", tz="UTC"),
        "item_indices": pa.list_(pa.int32()),
        "strengths": pa.list_(pa.int32()),
        "dwell_seconds": pa.list_(pa.float32()),
        "number": pa.int64(),
    }
)


def some_slates(seed, num_slates=150):
    """Slates of few items and few users, over four days, so that everything happens often."""
    draw = np.random.default_rng(seed)
    moods = ([-1, 0, 1, 2], [1, 2], [0, 1, 1, 1])
    rows = []
    for number in range(num_slates):
        size = int(draw.integers(2, 9))
        hours = float(draw.integers(-72, 24))
        start = NOON + timedelta(hours=hours)
        rows.append(
            {
                "day": start.date(),
                "slate_id": f"s{number:03d}",
                "user_id": f"u{draw.integers(9)}",
                "started_at": start,
                "ended_at": start + timedelta(hours=int(draw.integers(0, 5))),
                "item_indices": draw.choice(14, size, replace=False).tolist(),
                "strengths": draw.choice(moods[number % len(moods)], size).tolist(),
                "dwell_seconds": draw.choice([nan, 1.0, 2.0], size).tolist(),
                "number": int(draw.integers(1, PRIME)),
            }
        )
    return sorted(rows, key=lambda row: (row["user_id"], row["started_at"], row["slate_id"]))


def run(rows, config, *, rows_per_batch=None, days=EVERY_DAY):
    table = pa.Table.from_pylist(rows, SCHEMA)
    batches = table.to_batches(rows_per_batch or len(rows))
    found = [row for batch in Rearrangement(config, *days).run(iter(batches))
             for row in batch.to_pylist()]  # fmt: skip
    return sorted(found, key=lambda row: (row["slate_id"], row["kind"], row["pair"]))


def by_loops(rows, config):
    """The rules of docs/mechanics.md, Preference pairs: a slate at a time."""
    found = []
    for place, row in enumerate(rows):
        entries = list(
            zip(row["item_indices"], row["strengths"], row["dwell_seconds"], strict=True)
        )
        engaged = [entry for entry in entries if entry[1] >= config.positive_strength]
        engaged.sort(
            key=lambda entry: (
                -entry[1],
                inf if isnan(entry[2]) else -entry[2],
                ((entry[0] + 1) * row["number"] % PRIME + STEP) ** 2 % PRIME,
            )
        )
        chosen = [entry[0] for entry in engaged]
        left = [entry for entry in entries if entry[1] <= config.negative_strength]
        before = rows[max(place - config.earlier_slates, 0) : place][::-1]
        earlier = [
            other
            for other in before
            if other["user_id"] == row["user_id"]
            and other["ended_at"] <= row["started_at"]
            and other["day"] > row["day"] - timedelta(days=config.window_days)
        ]
        for kind, start, end in (
            ("ranking", 0, config.ranking),
            ("interest", config.ranking, config.ranking + config.interest),
        ):
            per_share = config.pairs_per_context / (
                config.ranking + config.interest + config.diversity
            )
            draw = row["number"] / PRIME
            lists = []
            for pair in range(ceil(end * per_share - draw) - ceil(start * per_share - draw)):
                power = pow(STEP, 1 + pair * len(KINDS) + KINDS.index(kind), PRIME)
                key = row["number"] * power % PRIME
                if kind == "ranking":
                    attempt = one_permutation(engaged, key, row)
                else:
                    attempt = one_replacement(chosen, left, earlier, key, row, config)
                if attempt["reason"] is None and attempt["rejected"] in lists:
                    attempt["reason"] = REPEATED
                lists.append(attempt["rejected"])
                if attempt["reason"]:
                    attempt["rejected"] = None
                kept = ("day", "slate_id", "user_id", "started_at", "ended_at")
                asked = {"chosen": chosen, "kind": kind, "pair": pair}
                found.append({name: row[name] for name in kept} | asked | attempt)
    return sorted(found, key=lambda row: (row["slate_id"], row["kind"], row["pair"]))


def one_permutation(engaged, key, row):
    rejected = sorted(engaged, key=lambda entry: (entry[0] + 1) * key % PRIME)
    strengths = [entry[1] for entry in engaged]
    if [entry[1] for entry in rejected] == strengths:
        rejected = engaged[1:] + engaged[:1]
    one_strength = ONE_STRENGTH if len(set(strengths)) == 1 else None
    return {
        "rejected": [entry[0] for entry in rejected],
        "reason": {0: NONE_ENGAGED, 1: ONE_CHOSEN}.get(len(engaged), one_strength),
        "source": "the chosen, weaker feedback before stronger",
        "newest_source": row["ended_at"],
    }


def one_replacement(chosen, left, earlier, key, row, config):
    seen = [
        (item, strength, other["ended_at"])
        for other in earlier
        for item, strength in zip(other["item_indices"], other["strengths"], strict=True)
    ]
    liked = {item for item, strength, _ in seen if strength > config.negative_strength}
    loan = {}
    for item, strength, ended_at in seen:
        if strength <= config.negative_strength and item not in liked | set(row["item_indices"]):
            loan.setdefault(item, ended_at)
    ordered = sorted(left, key=lambda entry: (entry[1], (entry[0] + 1) * key % PRIME))
    candidates = [entry[0] for entry in ordered] + list(loan)
    replaced = min(ceil(len(chosen) * config.replaced_share), len(candidates))
    places = sorted(range(len(chosen)), key=lambda place: (place + 1) * key % PRIME)
    rejected = list(chosen)
    for candidate, place in zip(candidates, places[:replaced], strict=False):
        rejected[place] = candidate
    own = min(len(left), replaced)
    something_left = any(strength <= config.negative_strength for _, strength, _ in seen)
    nothing = ALL_IN_SLATE if something_left else ALL_ENGAGED
    return {
        "rejected": rejected,
        "reason": NONE_ENGAGED if not chosen else None if replaced else nothing,
        "source": f"{own} left in the slate, {replaced - own} in earlier ones",
        "newest_source": row["ended_at"] if own or not replaced else loan[candidates[0]],
    }


CONFIGS = [
    Preferences(),
    Preferences(pairs_per_context=7, diversity=0, earlier_slates=2),
    Preferences(ranking=0.1, pairs_per_context=2, replaced_share=1, window_days=2),
    Preferences(positive_strength=2, negative_strength=-1, pairs_per_context=4, earlier_slates=9),
]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("seed", range(5))
def test_attempts_are_those_of_a_loop_over_slates(config, seed):
    rows = some_slates(seed)
    assert run(rows, config) == by_loops(rows, config)


def test_the_slates_of_these_tests_show_all_that_can_happen():
    found = [
        row for seed in range(5) for config in CONFIGS for row in run(some_slates(seed), config)
    ]
    happened = {(row["kind"], row["reason"]) for row in found}
    assert happened == {(kind, reason) for kind in ("ranking", "interest")
                        for reason in (None, *REASONS[kind])}  # fmt: skip
    assert any(row["newest_source"] < row["started_at"] for row in found)


@pytest.mark.parametrize("rows_per_batch", [1, 2, 3, 50])
def test_where_batches_are_cut_makes_no_difference(rows_per_batch):
    rows, config = some_slates(9), Preferences(earlier_slates=4, pairs_per_context=3)
    assert run(rows, config, rows_per_batch=rows_per_batch) == run(rows, config)


def test_slates_of_other_days_are_borrowed_from_and_not_asked():
    rows, config = some_slates(3), Preferences(pairs_per_context=2, replaced_share=1)
    found = run(rows, config, rows_per_batch=20, days=(DAY - timedelta(days=1), DAY))
    days = {DAY - timedelta(days=1), DAY}
    assert found == [row for row in run(rows, config) if row["day"] in days]
    assert {row["day"] for row in found} == days


def test_every_slate_is_asked_for_as_many_pairs_as_set():
    rows, config = some_slates(4), Preferences(ranking=2, interest=1, diversity=4)
    batch = pa.Table.from_pylist(rows, SCHEMA).to_batches()[0]
    counts = {row["slate_id"]: 0 for row in rows}
    for row in run(rows, config):
        counts[row["slate_id"]] += 1
    for part in asked_for_diversity(config, iter([batch])):
        for row in part.to_pylist():
            counts[row["slate_id"]] += row["count"]
    assert set(counts.values()) == {config.pairs_per_context}


def test_batches_without_slates_give_nothing():
    empty = pa.Table.from_pylist([], SCHEMA).to_batches() or [
        pa.RecordBatch.from_pylist([], SCHEMA)
    ]
    assert list(Rearrangement(Preferences(), DAY, DAY).run(iter(empty))) == []


def test_a_layout_takes_keeps_sorts_and_judges_by_row():
    layout = Layout(np.array([2, 0, 3]))
    values_V = np.array([5, 4, 9, 7, 8])
    assert layout.rows_V.tolist() == [0, 0, 2, 2, 2]
    assert layout.places_V.tolist() == [0, 1, 0, 1, 2]
    taken, source_W = layout.taken(np.array([2, 1, 2]))
    assert taken.lists(values_V[source_W]).to_pylist() == [[9, 7, 8], [], [9, 7, 8]]
    kept = layout.kept(values_V > 5)
    assert kept.lists(values_V[values_V > 5]).to_pylist() == [[], [], [9, 7, 8]]
    assert values_V[layout.order(values_V % 2, -values_V)].tolist() == [4, 5, 8, 9, 7]
    assert values_V[layout.order_by(values_V, bits=4)].tolist() == [4, 5, 7, 8, 9]
    assert layout.all(values_V != 7).tolist() == [True, True, False]
    null_R = np.array([False, True, False])
    assert layout.lists(values_V, null_R=null_R).to_pylist() == [[5, 4], None, [9, 7, 8]]
