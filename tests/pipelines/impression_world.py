"""A small world of histories, people, items and vocabularies, as files and as tables."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from feature_store.storage import Folder
from pipelines.config import Impressions
from pipelines.transforms.impression_features import ATTRIBUTES, USER_CODE, USER_SINCE
from pipelines.transforms.impressions import Coding
from pipelines.transforms.listed_items import TableFiles
from training.data.features import Counting, Features
from training.data.histories import Histories

FIELDS = (
    *("user_id", "user.city", "binned.user.age", "user_events", "user_engagements"),
    *("item_id", "item.author", "item.tag", "binned.item.length"),
    *("hour", "weekday", "met.item_id", "engaged.item_id", "met.item.author", "engaged.item.tag"),
)
FIRST, LAST = date(2024, 1, 1), date(2024, 1, 4)
SECOND = 10**6
_EPOCH = date(1970, 1, 1)
_MAP = pa.map_(pa.string(), pa.string())


def micros(day, second=0.0):
    """Microseconds since 1970 of a second of a day of January 2024."""
    return ((date(2024, 1, day) - _EPOCH).days * 86_400 + second) * SECOND


@dataclass
class ImpressionWorld:
    """Histories as `events`: (user, item_index, strength, microseconds), and what is known.

    Args:
        events: in any order; those of a user at the same time stay in theirs.
        users: attributes by user_id; who isn't there is in no table of users.
        items: attributes by item_index.
        vocabularies: (field, value, code, first_day).
        config: of the preset.
        utc_offset_hours: local time less UTC.
    """

    events: list
    users: dict
    items: list
    vocabularies: list
    config: Impressions
    utc_offset_hours: float = 0.0

    @property
    def histories(self):
        by_user = {}
        for event in sorted(self.events, key=lambda event: (event[0], event[3])):
            by_user.setdefault(event[0], []).append(event)
        flat = [event for events in by_user.values() for event in events]
        return Histories(
            user_ids=np.array(list(by_user), dtype=object),
            offsets=np.cumsum([0, *map(len, by_user.values())]),
            items=np.array([item for _, item, _, _ in flat], np.int32),
            strengths=np.array([strength for _, _, strength, _ in flat], np.int8),
            times=np.array([time for _, _, _, time in flat], np.int64),
        )

    @property
    def vocabulary_rows(self):
        fields, values, codes, days = zip(*sorted(self.vocabularies), strict=True)
        return pa.table(
            {
                "field": pa.array(fields),
                "value": pa.array(values),
                "code": pa.array(codes, pa.int32()),
                "met_day": pa.array(days, pa.date32()),
                "first_day": pa.array(days, pa.date32()),
            }
        )

    @property
    def item_rows(self):
        number = len(self.items)
        return pa.table(
            {
                "item_index": pa.array(range(number), pa.int32()),
                "item_id": [f"i{n}" for n in range(number)],
                "attributes": pa.array([list(each.items()) for each in self.items], _MAP),
            }
        )

    @property
    def user_rows(self):
        attributes = pa.array([list(each.items()) for each in self.users.values()], _MAP)
        return pa.table({"user_id": pa.array(self.users, pa.string()), "attributes": attributes})

    def features(self, on):
        return Features.of_tables(
            self.config.fields,
            Counting(
                self.config.history_events, self.config.engaged_strength, self.utc_offset_hours
            ),
            vocabularies=self.vocabulary_rows,
            items=self.item_rows,
            users=self.user_rows,
            on=on,
        )

    def batch(self):
        """Histories beside what features read of users, as Spark joins them."""
        histories = self.histories
        ids = histories.user_ids.tolist()
        codes = {v: (c, (d - _EPOCH).days) for f, v, c, d in self.vocabularies if f == "user_id"}
        names = ("city", "age")
        told = [
            {name: self.users[user].get(name) for name in names} if user in self.users else None
            for user in ids
        ]
        offsets = histories.offsets.astype(np.int32)
        times = pa.array(histories.times, pa.timestamp("us", "UTC"))
        lists = (histories.items, histories.strengths.astype(np.int32), times)
        items, strengths, times = (pa.ListArray.from_arrays(offsets, each) for each in lists)
        return pa.record_batch(
            {
                "user_id": pa.array(ids),
                "item_indices": items,
                "strengths": strengths,
                "event_times": times,
                ATTRIBUTES: pa.array(told, pa.struct([(name, pa.string()) for name in names])),
                USER_CODE: pa.array([codes.get(user, (None,))[0] for user in ids], pa.int32()),
                USER_SINCE: pa.array([codes.get(user, (0, None))[1] for user in ids], pa.int32()),
            }
        )

    def coding(self, folder, *, days=(FIRST, LAST)):
        return Coding(
            config=self.config,
            utc_offset_hours=self.utc_offset_hours,
            days=days,
            vocabularies=_files(folder / "vocabularies", self.vocabulary_rows),
            items=_files(folder / "items", self.item_rows),
        )


def _files(folder, rows):
    folder.mkdir(exist_ok=True)
    pq.write_table(rows, folder / "rows.parquet", row_group_size=7)
    return TableFiles(
        Folder(str(folder), str(folder), fs.LocalFileSystem()), (str(folder / "rows.parquet"),)
    )


def random_world(seed=0, *, users=9, events=90, offset=0.0, **config):
    """Histories with ties in time, items met twice, and users, items and values nobody knows."""
    draw = np.random.default_rng(seed)
    span = ((LAST - FIRST).days + 1) * 86_400
    rows = []
    for number in range(users):
        # Few seconds, so that many events share one; halves of seconds, so that some differ.
        seconds = draw.choice(draw.integers(0, span, 30), events)
        for second in seconds.tolist():
            half = int(draw.integers(0, 2)) * SECOND // 2
            item, strength = int(draw.integers(0, 8)), int(draw.integers(-1, 4))
            rows.append((f"u{number}", item, strength, micros(1, second) + half))
    cities, ages = ("Bern", "Oslo", "Rome"), ("12", "30", "41.5", "old")
    people = {
        f"u{n}": {"city": cities[n % 3], "age": ages[n % 4]} for n in range(users - 1) if n != 2
    }
    items = [
        {"author": f"a{n // 3}", "tag": ("1|2", "2", "3")[n % 3], "length": f"{n}.5"}
        for n in range(8)
    ]
    items[7] = {}
    vocabularies = [
        *(("user_id", f"u{n}", n + 1, FIRST + timedelta(n // 3)) for n in range(users - 1)),
        *(("user.city", city, n + 1, FIRST + timedelta(n)) for n, city in enumerate(cities[:2])),
        *(("binned.user.age", bound, n + 1, FIRST) for n, bound in enumerate(("-inf", "30.0"))),
        *(("item_id", f"i{n}", n + 1, FIRST + timedelta(n // 2)) for n in range(7)),
        *(("item.author", f"a{n}", n + 1, FIRST + timedelta(2 * n)) for n in range(2)),
        *(("item.tag", tag, n + 1, FIRST) for n, tag in enumerate(("1|2", "3"))),
        *(("binned.item.length", b, n + 1, FIRST) for n, b in enumerate(("-inf", "2.5", "5.0"))),
    ]
    settings = {"fields": FIELDS, "history_events": 20, **config}
    return ImpressionWorld(
        rows, people, items, vocabularies, Impressions.model_validate(settings), offset
    )
