"""Rows of every table: good ones, and tables in which known rows break known rules."""

import math
from datetime import UTC, date, datetime

DAY, DAY_BEFORE, DAY_AFTER = (date(2024, 5, day) for day in (7, 6, 8))
NOON, BEFORE = (datetime(2024, 5, day, 12, tzinfo=UTC) for day in (7, 6))
NUM_ITEMS = 4
"""Size of the catalogue: i0 … i3, with item_index 0 … 3."""


def event(user, **changes):
    return {
        "day": DAY,
        "user_id": user,
        "item_id": "i1",
        "event_time": NOON,
        "request_id": None,
        "position": None,
        "signals": {"rating": "4"},
        "strength": 2,
        "dwell_seconds": None,
        "source_file": "log.csv",
        "tie_order": 0,
        "delivery_day": DAY,
        "also_delivered": {},
    } | changes


def taken(events_of, **changes):
    return {
        "day": DAY,
        "events_of": events_of,
        "rows": 2,
        "quarantined": 1,
        "digest": None,
    } | changes


def sequence(user, **changes):
    return {
        "day": DAY,
        "user_id": user,
        "item_indices": [0, 1, 2],
        "strengths": [1, -1, 3],
        "event_times": [NOON.replace(hour=hour) for hour in (8, 9, 9)],
        "num_events": 3,
    } | changes


def item(n, **changes):
    return {
        "item_id": f"i{n}",
        "item_index": n,
        "first_day": DAY,
        "first_listed_day": DAY,
        "last_listed_day": None,
        "title": None,
        "text": None,
        "attributes": {},
    } | changes


def embedding(n, **changes):
    return {
        "encoder": "hash@1",
        "item_id": f"i{n}",
        "item_index": n,
        "content_digest": "d",
        "embedding": [0.6, 0.8],
    } | changes


def codes(n, **changes):
    return {
        "generation": "g1",
        "item_id": f"i{n}",
        "item_index": n,
        "codes": [n, 0],
        "num_quantized_levels": 2,
        "assigned_day": DAY,
        "vector": [1.0, 0.0],
    } | changes


def slate(user, **changes):
    return {
        "day": DAY,
        "user_id": user,
        "item_ids": ["i0", "i1"],
        "item_indices": [0, 1],
        "scores": [0.5, 0.5],
        "model_family": "tiger",
        "model_version": "1",
        "bundle_digest": "d",
        "generation": None,
    } | changes


def shown(slate_id, **changes):
    return {
        "day": DAY,
        "slate_id": slate_id,
        "user_id": "u1",
        "started_at": NOON,
        "ended_at": NOON.replace(hour=13),
        "item_indices": [2, 0, 1],
        "strengths": [0, -1, 3],
        "dwell_seconds": [0.0, math.nan, 7.5],
        "source": "gap",
    } | changes


def person(user, **changes):
    return {
        "user_id": user,
        "first_day": DAY_BEFORE,
        "changed_day": DAY,
        "attributes": {"city": "Bern"},
    } | changes


def code_of(value, code, **changes):
    return {
        "field": "item.author",
        "value": value,
        "code": code,
        "met_day": DAY,
        "first_day": DAY_AFTER,
    } | changes


def impression(impression_id, **changes):
    return {
        "day": DAY,
        "impression_id": impression_id,
        "user_id": "u1",
        "item_index": 1,
        "event_time": NOON,
        "strength": 0,
        "user_codes": [1, 0],
        "item_codes": [2],
        "context_codes": [],
    } | changes


def pair(slate_id, **changes):
    return {
        "day": DAY,
        "slate_id": slate_id,
        "user_id": "u1",
        "context_until": NOON,
        "kind": "ranking",
        "pair": 0,
        "chosen": [1, 0],
        "rejected": [0, 1],
        "source": "the chosen, weaker feedback before stronger",
        "newest_source": NOON,
    } | changes


def listed(slate_id, **changes):
    return {
        "day": DAY,
        "slate_id": slate_id,
        "user_id": "u1",
        "context_until": NOON,
        "ended_at": NOON.replace(hour=13),
        "item_indices": [1, 0, 2],
        "tiers": [1, 3, 4],
    } | changes


def beam(slate_id, **changes):
    return {
        "day": DAY,
        "slate_id": slate_id,
        "user_id": "u1",
        "context_until": NOON,
        "item_indices": [1, 0, 2],
        "scores": [-0.5, -0.75, -2.0],
        "model_family": "tiger",
        "bundle_digest": "d",
        "generation": "g1",
        "weights_until": BEFORE,
    } | changes


def beside(item, other, **changes):
    return {
        "day": DAY,
        "item_index": item,
        "other_index": other,
        "together": 2,
        "score": 0.5,
    } | changes


def taken_to(item, **changes):
    return {
        "day": DAY,
        "item_index": item,
        "embedding": [0.6, 0.8],
        "num_users": 3,
        "newest_event_time": BEFORE,
    } | changes


def refused_row(line, **changes):
    return {
        "day": DAY,
        "source_file": "log.csv",
        "line": line,
        "raw": "x",
        "raw_chars": 1,
        "reasons": ["no user_id"],
    } | changes


DIRTY = {
    "interactions": (
        [event(f"u{n}") for n in range(20)]
        + [event("out of range", strength=9)]
        + [event("not a number", dwell_seconds=math.nan), event("negative", dwell_seconds=-1.0)]
        + [event(None), event("")]
        + [event("unknown", item_id="nobody")]
        + [event("1970", day=date(1970, 1, 1), event_time=datetime(1970, 1, 1, tzinfo=UTC))]
        + [event("future", day=DAY_AFTER, event_time=datetime(2024, 5, 8, tzinfo=UTC))]
        + [event("elsewhere", day=DAY_BEFORE)]
        + [event("three times")] * 3
        + [event("null signal", signals={"rating": None})]
        + [event("negative place", position=-1)],
        {
            "strength_is_allowed": 1,
            "dwell_seconds_is_finite": 1,
            "dwell_seconds_is_in_range": 1,
            "user_id_is_present": 1,
            "user_id_is_not_empty": 1,
            "item_is_known": 1,
            "event_time_is_within_the_run": 2,
            "event_time_is_on_its_day": 1,
            "key_is_unique": 2,
            "signals_has_no_null_inside": 1,
            "position_is_in_range": 1,
        },
    ),
    "user_sequences": (
        [sequence("good"), sequence("ties", item_indices=[2, 0, 1], event_times=[NOON] * 3)]
        + [sequence("unordered", event_times=[NOON, NOON.replace(hour=11), NOON])]
        + [sequence("not aligned", strengths=[1, 1])]
        + [sequence("empty", item_indices=[], strengths=[], event_times=[])]
        + [sequence("out of range", strengths=[1, 7, 1])]
        + [sequence("unknown", item_indices=[0, 1, NUM_ITEMS])]
        + [sequence("undercounted", num_events=2)]
        + [sequence("future", event_times=[NOON, NOON, datetime(2024, 5, 8, tzinfo=UTC)])]
        + [sequence("null inside", strengths=[1, None, 1])]
        + [sequence("null time", event_times=[None, NOON, NOON])]
        + [sequence("another day", day=DAY_BEFORE)]
        + [sequence("twice")] * 2,
        {
            "history_is_in_order": 1,
            "lists_are_aligned": 2,
            "strengths_is_in_range": 1,
            "items_are_known": 1,
            "num_events_covers_the_history": 1,
            "event_times_are_within_the_run": 1,
            "strengths_has_no_null_inside": 1,
            "event_times_has_no_null_inside": 1,
            "day_is_the_runs": 1,
            "key_is_unique": 1,
        },
    ),
    "items": (
        [
            *(item(0), item(1), item(4, first_day=DAY_AFTER)),
            item(2, first_listed_day=DAY_AFTER, last_listed_day=DAY),
            *(item(7), item(7, item_id="i6"), item(1, item_id="i3")),
        ],
        {
            "item_index_has_no_gaps": None,
            "item_index_is_unique": 2,
            "first_day_is_past": 1,
            "withdrawn_after_it_was_listed": 1,
            "item_index_is_kept": 1,  # i3 was 3, is 1
        },
    ),
    "item_embeddings": (
        [
            *(embedding(0), embedding(1, embedding=[1.0, 1.0]), embedding(2, item_index=3)),
            embedding(9, embedding=[math.nan, 0.0, 1.0]),
        ],
        {
            "embedding_has_unit_norm": 2,
            "embedding_has_one_width": None,
            "embedding_is_finite": 1,
            "item_index_is_the_catalogues": 1,
            "item_is_known": 1,
        },
    ),
    "semantic_ids": (
        [
            *(codes(0), codes(1, codes=[0, 0]), codes(2, codes=[5], vector=[1.0])),
            codes(3, codes=[-1, 7], assigned_day=DAY_AFTER),
        ],
        {
            "codes_have_equal_size": None,
            "vector_has_one_width": None,
            "quantized_levels_are_codes": 1,
            "codes_are_unique": 1,
            "codes_is_in_range": 1,
            "assigned_day_is_past": 1,
        },
    ),
    "recommendations": (
        [
            *(slate("good"), slate("rising", scores=[0.1, 0.2])),
            slate("repeated", item_ids=["i0", "i0"], item_indices=[0, 0]),
            *(slate("not aligned", scores=[0.5]), slate("unknown", item_indices=[0, 99])),
        ],
        {
            "scores_never_increase": 1,
            "no_item_twice": 1,
            "lists_are_aligned": 1,
            "items_are_known": 1,
        },
    ),
    "slates": (
        [shown("good"), shown("not known", dwell_seconds=[math.nan] * 3), shown("a")]
        + [shown("yesterday's", day=DAY_BEFORE, started_at=BEFORE, ended_at=BEFORE)]
        + [shown("short", item_indices=[1], strengths=[1], dwell_seconds=[1.0])]
        + [shown("not aligned", strengths=[1, 1])]
        + [shown("repeated", item_indices=[1, 2, 1])]
        + [shown("out of range", strengths=[1, 7, 1])]
        + [shown("negative", dwell_seconds=[1.0, -1.0, 1.0])]
        + [shown("infinite", dwell_seconds=[1.0, math.inf, math.nan])]
        + [shown("null inside", dwell_seconds=[1.0, None, math.nan])]
        + [shown("unknown", item_indices=[0, 1, NUM_ITEMS])]
        + [shown("backwards", started_at=NOON.replace(hour=14))]
        + [shown("future", ended_at=datetime(2024, 5, 8, tzinfo=UTC))]
        + [shown("tomorrow's", day=DAY_AFTER)]
        + [shown("long ago", day=DAY_BEFORE.replace(day=1))]
        + [shown("of a guess", source="guess")]
        + [shown("twice")] * 2,
        {
            "slate_has_two_items": 1,
            "lists_are_aligned": 1,
            "item_indices_are_distinct": 1,
            "strengths_is_in_range": 1,
            "dwell_seconds_is_in_range": 1,
            "dwell_seconds_is_finite": 1,
            "dwell_seconds_has_no_null_inside": 1,
            "items_are_known": 1,
            "slate_ends_after_it_starts": 1,
            "slate_is_within_the_run": 1,
            "slate_is_on_its_day": 2,
            "day_is_past": 1,
            "source_is_allowed": 1,
            "key_is_unique": 1,
        },
    ),
    "preference_pairs": (
        [pair("good"), pair("good", pair=1), pair("i", kind="interest", rejected=[3, 0])]
        + [pair("equal", kind="interest", rejected=[1, 0])]
        + [pair("not aligned", kind="interest", rejected=[3])]
        + [pair("repeated", kind="interest", rejected=[3, 3])]
        + [pair("not distinct", kind="interest", chosen=[1, 1])]
        + [pair("not permuted", rejected=[0, 2])]
        + [pair("unknown", kind="diversity", rejected=[1, NUM_ITEMS])]
        + [pair("future", newest_source=datetime(2024, 5, 8, tzinfo=UTC))]
        + [pair("tomorrow's", day=DAY_AFTER)]
        + [pair("of a guess", kind="guess")]
        + [pair("negative", pair=-1)]
        + [pair("twice")] * 2,
        {
            "chosen_and_rejected_differ": 1,
            "lists_are_aligned": 1,
            "rejected_is_distinct": 1,
            "chosen_is_distinct": 1,
            "ranking_permutes_the_chosen": 1,
            "items_are_known": 1,
            "source_is_within_the_run": 1,
            "day_is_past": 1,
            "kind_is_allowed": 1,
            "pair_is_in_range": 1,
            "key_is_unique": 1,
        },
    ),
    "preference_lists": (
        [listed("good"), listed("not aligned", tiers=[1, 3]), listed("none", item_indices=[])]
        + [listed("repeated", item_indices=[1, 1, 2]), listed("unordered", tiers=[3, 1, 4])]
        + [
            listed("of one tier", tiers=[2, 2, 2]),
            listed("unknown", item_indices=[0, 1, NUM_ITEMS]),
        ]
        + [listed("tier 0", tiers=[0, 1, 4]), listed("tier 5", tiers=[1, 3, 5])]
        + [listed("null inside", tiers=[1, 4, None])]
        + [listed("future", ended_at=datetime(2024, 5, 8, tzinfo=UTC))]
        + [listed("backwards", ended_at=NOON.replace(hour=11))]
        + [listed("tomorrow's", day=DAY_AFTER)]
        + [listed("twice")] * 2,
        {
            "lists_are_aligned": 2,
            "item_indices_are_distinct": 1,
            "tiers_never_decrease": 1,
            "list_has_two_tiers": 1,
            "items_are_known": 1,
            "tiers_is_in_range": 2,
            "tiers_has_no_null_inside": 1,
            "list_is_within_the_run": 2,
            "day_is_past": 1,
            "key_is_unique": 1,
        },
    ),
    "sampled_beams": (
        [beam("good"), beam("not aligned", scores=[-1.0]), beam("none", item_indices=[], scores=[])]
        + [beam("repeated", item_indices=[1, 1, 2]), beam("rising", scores=[-2.0, -1.0, -0.5])]
        + [beam("unknown", item_indices=[0, 1, NUM_ITEMS])]
        + [beam("knows", weights_until=NOON.replace(hour=13))]
        + [beam("future", context_until=datetime(2024, 5, 8, tzinfo=UTC))]
        + [beam("yesterday's", day=DAY_BEFORE)]
        + [beam("of another generation", generation="g2")]
        + [beam("twice")] * 2,
        {
            "lists_are_aligned": 2,
            "item_indices_are_distinct": 1,
            "scores_never_increase": 1,
            "items_are_known": 1,
            "weights_end_before_the_context": 1,
            "context_is_within_the_run": 1,
            "day_is_the_runs": 1,
            "beams_are_of_one_model": None,
            "key_is_unique": 1,
        },
    ),
    "users": (
        [person("u1"), person("u2", first_day=DAY_AFTER), *[person("u3")] * 2],
        {"first_day_is_not_after_the_change": 1, "key_is_unique": 1},
    ),
    "feature_vocabularies": (
        [
            *(code_of("A", 1), code_of("B", 2), code_of("C", 2), code_of("D", 0)),
            *(code_of("E", 3, first_day=DAY_BEFORE), code_of("F", 4), code_of("F", 5)),
            code_of("G", 2, field="item.tag"),
        ],
        {
            "code_is_unique": 1,
            "codes_begin_at_one": None,
            "counts_once_it_was_met": 1,
            "code_is_in_range": 1,
            "key_is_unique": 1,
        },
    ),
    "impressions": (
        [impression("good"), impression("long", user_codes=[1, 0, 2])]
        + [impression("two items", item_codes=[1, 1]), impression("moment", context_codes=[1])]
        + [impression("negative", user_codes=[-1, 0])]
        + [impression("null inside", user_codes=[None, 0])]
        + [impression("unknown", item_index=NUM_ITEMS), impression("strong", strength=4)]
        + [impression("future", event_time=datetime(2024, 5, 8, tzinfo=UTC))]
        + [impression("tomorrow's", day=DAY_AFTER)]
        + [impression("long ago", day=DAY_BEFORE.replace(day=1))]
        + [impression("twice")] * 2,
        {
            "user_codes_have_equal_size": None,
            "item_codes_have_equal_size": None,
            "context_codes_have_equal_size": None,
            "user_codes_is_in_range": 1,
            "user_codes_has_no_null_inside": 1,
            "items_are_known": 1,
            "strength_is_in_range": 1,
            "event_time_is_within_the_run": 1,
            "impression_is_on_its_day": 2,
            "day_is_past": 1,
            "key_is_unique": 1,
        },
    ),
    "collaborative_vectors": (
        [taken_to(0), taken_to(1, embedding=[1.0, 1.0]), taken_to(2, embedding=[1.0])]
        + [taken_to(NUM_ITEMS), taken_to(3, num_users=0), taken_to(4, day=DAY_BEFORE)]
        + [taken_to(5, newest_event_time=datetime(2024, 5, 8, tzinfo=UTC))]
        + [taken_to(6)] * 2,
        {
            "day_is_the_runs": 1,
            "embedding_has_unit_norm": 1,
            "embedding_has_one_width": None,
            "newest_event_is_within_the_run": 1,
            "items_are_known": 5,
            "num_users_is_in_range": 1,
            "key_is_unique": 1,
        },
    ),
    "item_cooccurrence": (
        [beside(0, 1), beside(1, 0, score=1.0), beside(2, 2), beside(1, NUM_ITEMS)]
        + [beside(2, 1, together=0), beside(2, 3, score=1.5), beside(3, 0, day=DAY_BEFORE)]
        + [beside(3, 1)] * 2,
        {
            "no_item_beside_itself": 1,
            "items_are_known": 1,
            "together_is_in_range": 1,
            "score_is_in_range": 1,
            "day_is_the_runs": 1,
            "key_is_unique": 1,
        },
    ),
    "quarantine": (
        [
            *(refused_row(0), refused_row(1, reasons=[]), refused_row(2, reasons=[None])),
            *(refused_row(3, raw_chars=-1), refused_row(0)),
        ],
        {
            "a_reason_is_given": 1,
            "reasons_has_no_null_inside": 1,
            "raw_chars_is_in_range": 1,
            "key_is_unique": 1,
        },
    ),
}
"""Rows of every table, and the rules they break: the number of rows, None for a table rule."""

GOOD = {
    "interactions": [event("u1"), event("u2", item_id="i3", position=0, dwell_seconds=1.5)],
    "user_sequences": [sequence("u1"), sequence("u2", num_events=900)],
    "items": [item(n) for n in range(NUM_ITEMS)],
    "item_embeddings": [embedding(n) for n in range(NUM_ITEMS)],
    "semantic_ids": [codes(n, vector=None if n == 1 else [0.5]) for n in range(NUM_ITEMS)],
    "recommendations": [
        *(slate("u1"), slate("u2", scores=[2.0, -1.0])),
        slate("has seen all", item_ids=[], item_indices=[], scores=[]),
    ],
    "slates": [shown("s1"), shown("s2", dwell_seconds=[math.nan] * 3)],
    "preference_pairs": [pair("s1"), pair("s1", kind="interest", rejected=[3, 0])],
    "preference_lists": [listed("s1"), listed("s2", item_indices=[3, 0], tiers=[2, 3])],
    "sampled_beams": [beam("s1"), beam("s2", item_indices=[3], scores=[-1.0])],
    "users": [person("u1"), person("u2", attributes={})],
    "feature_vocabularies": [code_of("A", 1), code_of("B|C", 2, first_day=DAY)],
    "impressions": [impression("u1:1:0"), impression("u1:1:1", user_codes=[0, 0])],
    "collaborative_vectors": [taken_to(0), taken_to(1, num_users=1)],
    "item_cooccurrence": [beside(0, 1), beside(1, 0, score=1.0)],
    "quarantine": [refused_row(0), refused_row(1)],
    "deliveries": [taken(DAY), taken(None, digest="2-1-1")],
}
"""Rows of every table that break no rule of a run of DAY."""
