"""Codes of users, items and moments, made from queries as Spark made them of impressions.

B queries, L events of context, C candidates, V items, U users; F_u, F_i, F_c fields of users, items
and contexts.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from feature_store.feature_codes import Vocabulary, attribute_of
from feature_store.features import Feature, count_code, features, fixed_size
from training.data.queries import Queries

Group = Literal["user", "item", "context"]
_HOUR = 3_600
_DAY = 86_400
_THURSDAY = 3
"""1 January 1970 was one; Monday is 0."""


@dataclass(frozen=True)
class Field:
    """One code of a user, an item or a moment.

    Attributes:
        name: as the preset has it (`feature_store.features`).
        group: what it is of.
        size: codes are 0, which is unknown, to `size` - 1.
    """

    name: str
    group: Group
    size: int


@dataclass(frozen=True)
class Counting:
    """How events of a history are counted.

    Attributes:
        history_events: the last events that count, strictly before a moment's second.
        engaged_strength: an event of at least this is an engagement.
        utc_offset_hours: local time less UTC.
    """

    history_events: int
    engaged_strength: int
    utc_offset_hours: float


@dataclass(frozen=True)
class Features:
    """What is needed to make codes from a query.

    Attributes:
        fields: by group: user, item, context; the order of the codes.
        counting: how events are counted.
        item_VF: codes of each item, int32, [V, F_i].
        alike_VF: of each item, what it shares with others, int32, a column for each attribute that
            `met` and `engaged` fields count, in the order in which they first name it; 0: nothing.
        user_ids: those with codes, text, ascending, [U].
        user_UF: codes of each user, int32, a column for each user field; 0 where a count stands.
    """

    fields: tuple[Field, ...]
    counting: Counting
    item_VF: np.ndarray
    alike_VF: np.ndarray
    user_ids: np.ndarray
    user_UF: np.ndarray

    @classmethod
    def of_tables(
        cls,
        names: tuple[str, ...],
        counting: Counting,
        *,
        vocabularies: pa.Table,
        items: pa.Table,
        users: pa.Table,
        on: date,
    ) -> "Features":
        """Features as they are on a day.

        Args:
            names: of the fields.
            counting: how events are counted.
            vocabularies: `feature_vocabularies`: field, value, code, first_day.
            items: `items`: item_index, item_id, attributes; dense from 0.
            users: `users`: user_id, attributes.
            on: the day on which impressions have these codes; what was first met on it has none.
        """
        chosen = features(names)
        known = _Known(vocabularies, on)
        items = items.sort_by("item_index").combine_chunks()
        ids, attributes = _sorted_users(users, known)
        return cls(
            fields=tuple(
                Field(f.name, f.group, fixed_size(f.kind, counting.history_events) or known.size(f))
                for f in chosen
            ),
            counting=counting,
            item_VF=_codes(_of(chosen, "item"), known, items["item_id"], items["attributes"]),
            alike_VF=_codes(_alike(chosen), known, items["item_id"], items["attributes"]),
            user_ids=ids.to_numpy(zero_copy_only=False),
            user_UF=_codes(_of(chosen, "user"), known, ids, attributes),
        )

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """What the fields are made of, in their order."""
        return features(field.name for field in self.fields)

    @property
    def num_items(self) -> int:
        """V."""
        return len(self.item_VF)

    def of_group(self, group: Group) -> tuple[Field, ...]:
        """The fields of a group, in the order of its codes."""
        return tuple(field for field in self.fields if field.group == group)

    def user_codes(self, queries: Queries) -> np.ndarray:
        """Codes of who asks, int32, [B, F_u]; of somebody unknown, what the history says alone."""
        codes_BF = np.zeros((len(queries), self.user_UF.shape[1]), dtype=np.int32)
        if queries.user_ids_B is not None and len(self.user_ids):
            places = pc.index_in(
                pa.array(queries.user_ids_B, pa.string()), value_set=self._user_id_set
            )
            user_B = places.fill_null(-1).to_numpy(zero_copy_only=False)
            known_B = user_B >= 0
            codes_BF[known_B] = self.user_UF[user_B[known_B]]
        counted_BL = self._counted(queries)
        for place, each in enumerate(_of(self.features, "user")):
            if each.kind in ("events", "engagements"):
                of_BL = counted_BL & self._engaged(queries, each.kind == "engagements")
                codes_BF[:, place] = count_codes(of_BL.sum(axis=1))
        return codes_BF

    def item_codes(self, items_BC: np.ndarray) -> np.ndarray:
        """Codes of items, int32, [B, C, F_i]; 0 for `PAD` and beyond the catalogue."""
        return _taken(self.item_VF, items_BC)

    def context_codes(self, queries: Queries, items_BC: np.ndarray) -> np.ndarray:
        """Codes of the moment, and of the user with the item, int32, [B, C, F_c].

        Events strictly before the second in which the question is asked count. 0 for `PAD` and
        beyond the catalogue.
        """
        chosen = _of(self.features, "context")
        codes_BCF = np.zeros((*items_BC.shape, len(chosen)), dtype=np.int32)
        hour_B, weekday_B = self._clock(queries.asked_at_B)
        counted_BL = self._counted(queries)
        alike = [each.of for each in _alike(self.features)]
        for place, each in enumerate(chosen):
            if each.kind in ("hour", "weekday"):
                clock_B = hour_B if each.kind == "hour" else weekday_B
                codes_BCF[..., place] = clock_B[:, None]
                continue
            of_BL = counted_BL & self._engaged(queries, each.kind == "engaged")
            events_BL, asked_BC = queries.items_BL + 1, items_BC + 1
            if each.attribute:
                column_VF = self.alike_VF[:, [alike.index(each.of)]]
                events_BL = _taken(column_VF, queries.items_BL)[..., 0]
                asked_BC = _taken(column_VF, items_BC)[..., 0]
            codes_BCF[..., place] = count_codes(_times_met(events_BL, of_BL, asked_BC))
        inside_BC = (items_BC >= 0) & (items_BC < self.num_items)
        codes_BCF[~inside_BC] = 0
        return codes_BCF

    @property
    def sizes(self) -> Mapping[str, Any]:
        """What tensors don't say; JSON-serialisable."""
        return {
            "fields": [asdict(field) for field in self.fields],
            "counting": asdict(self.counting),
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Every array; user ids as UTF-8, end to end, and where each begins."""
        ids = self._user_id_set.cast(pa.large_binary())
        lengths = pc.binary_length(ids).to_numpy(zero_copy_only=False)
        return {
            "item_VF": torch.from_numpy(self.item_VF),
            "alike_VF": torch.from_numpy(self.alike_VF),
            "user_UF": torch.from_numpy(self.user_UF),
            "user_id_bytes": torch.from_numpy(
                np.frombuffer(b"".join(ids.to_pylist()), dtype=np.uint8).copy()
            ),
            "user_id_offsets": torch.from_numpy(np.append(0, np.cumsum(lengths)).astype(np.int64)),
        }

    @classmethod
    def from_weights(cls, sizes: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Features":
        """The features that had these sizes and tensors."""
        offsets = tensors["user_id_offsets"].cpu().numpy()
        text = tensors["user_id_bytes"].cpu().numpy().tobytes()
        buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(text)]
        ids = pa.LargeStringArray.from_buffers(len(offsets) - 1, buffers[1], buffers[2])
        return cls(
            fields=tuple(Field(**field) for field in sizes["fields"]),
            counting=Counting(**sizes["counting"]),
            item_VF=tensors["item_VF"].cpu().numpy(),
            alike_VF=tensors["alike_VF"].cpu().numpy(),
            user_ids=ids.cast(pa.string()).to_numpy(zero_copy_only=False),
            user_UF=tensors["user_UF"].cpu().numpy(),
        )

    @cached_property
    def _user_id_set(self) -> pa.Array:
        return pa.array(self.user_ids, pa.string())

    def _counted(self, queries: Queries) -> np.ndarray:
        """Which events of the context count: the last ones strictly before the question."""
        inside_BL = np.arange(queries.items_BL.shape[1]) < queries.lengths_B[:, None]
        before_BL = inside_BL & (queries.times_BL < queries.asked_at_B[:, None])
        from_end_BL = before_BL.sum(axis=1)[:, None] - np.arange(queries.items_BL.shape[1])
        counted_BL: np.ndarray = before_BL & (from_end_BL <= self.counting.history_events)
        return counted_BL

    def _engaged(self, queries: Queries, only: bool) -> np.ndarray:
        minimum = self.counting.engaged_strength if only else np.iinfo(np.int8).min
        engaged_BL: np.ndarray = queries.strengths_BL >= minimum
        return engaged_BL

    def _clock(self, seconds_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        local_B = seconds_B + round(self.counting.utc_offset_hours * _HOUR)
        return local_B % _DAY // _HOUR + 1, (local_B // _DAY + _THURSDAY) % 7 + 1


class _Known:
    """Vocabularies as they count on a day."""

    def __init__(self, rows: pa.Table, on: date) -> None:
        self.rows, self.on = rows, on
        self._read: dict[str, Vocabulary] = {}

    def vocabulary(self, field: Feature) -> Vocabulary:
        """Of values or of bins, whichever the field has."""
        if field.name not in self._read:
            self._read[field.name] = Vocabulary.of(field, self.rows).until(self.on)
        return self._read[field.name]

    def size(self, field: Feature) -> int:
        """Codes of the field on the day."""
        return self.vocabulary(field).size


def count_codes(counts: np.ndarray) -> np.ndarray:
    """`count_code` of each count, int32, the same shape."""
    codes = np.array([count_code(count) for count in range(int(counts.max(initial=0)) + 1)])
    found: np.ndarray = codes[counts].astype(np.int32)
    return found


def _of(chosen: tuple[Feature, ...], group: Group) -> tuple[Feature, ...]:
    return tuple(each for each in chosen if each.group == group)


def _alike(chosen: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """The attributes that `met` and `engaged` fields count, each once."""
    counted = (each for each in chosen if each.kind in ("met", "engaged") and each.attribute)
    return features(dict.fromkeys(each.of for each in counted))


def _sorted_users(users: pa.Table, known: _Known) -> tuple[pa.Array, pa.Array]:
    """All users with codes and their attributes: of the table, or met in events alone."""
    table = pa.table({"user_id": users["user_id"], "attributes": users["attributes"]})
    met = known.vocabulary(features(["user_id"])[0]).values.cast(pa.string())
    others = met.filter(pc.invert(pc.is_in(met, value_set=table["user_id"].combine_chunks())))
    nothing = pa.nulls(len(others), table["attributes"].type)
    both = pa.concat_tables(
        [table, pa.table({"user_id": others, "attributes": nothing}, schema=table.schema)]
    )
    both = both.take(pc.sort_indices(both["user_id"]))
    return both["user_id"].combine_chunks(), both["attributes"].combine_chunks()


def _codes(chosen: tuple[Feature, ...], known: _Known, ids: Any, attributes: Any) -> np.ndarray:
    """A column per field, int32; 0 for what is counted."""
    codes_NF = np.zeros((len(ids), len(chosen)), dtype=np.int32)
    for place, each in enumerate(chosen):
        if each.kind in ("value", "bin"):
            texts = attribute_of(attributes, each.attribute) if each.attribute else ids
            texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
            codes_NF[:, place] = known.vocabulary(each).codes_of(texts)
    return codes_NF


def _taken(codes_VF: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Rows of items, zeros for those that aren't there."""
    inside = (items >= 0) & (items < len(codes_VF))
    taken = np.zeros((*items.shape, codes_VF.shape[1]), dtype=np.int32)
    taken[inside] = codes_VF[items[inside]]
    return taken


def _times_met(events_BL: np.ndarray, of_BL: np.ndarray, asked_BC: np.ndarray) -> np.ndarray:
    """How often each of `asked_BC` is among a row's marked events, int64, [B, C]; 0 never is."""
    span = int(max(events_BL.max(initial=0), asked_BC.max(initial=0))) + 1
    rows_B1 = np.arange(len(asked_BC))[:, None] * span
    keys_E = np.sort((rows_B1 + events_BL)[of_BL & (events_BL > 0)])
    key_BC = rows_B1 + np.maximum(asked_BC, 0)
    met_BC = np.searchsorted(keys_E, key_BC, "right") - np.searchsorted(keys_E, key_BC, "left")
    return np.where(asked_BC > 0, met_BC, 0)
