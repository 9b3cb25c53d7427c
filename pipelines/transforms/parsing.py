"""Raw rows → events: what each raw value means, and what speaks against it."""

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from pipelines.config import ColumnMapping, StrengthRule
from pipelines.sources.interface import ROW
from pipelines.sources.raw_rows import named
from pipelines.transforms.event_times import (
    PER_SECOND,
    event_time,
    in_unit,
    is_in_calendar,
    lacks_date,
    refuse_time_column,
)
from pipelines.transforms.events import Reason, with_reasons
from pipelines.transforms.identifiers import (
    floats_refused,
    holds_floats,
    identifier,
    present_text,
    refuse_id_column,
)
from pipelines.transforms.readings import Reading, read_as, to_number, unreadable
from pipelines.transforms.signals import as_text, is_there, signals_of
from pipelines.transforms.strength import (
    NO_RULE,
    check_rules,
    failure,
    outcome_of,
    strength_of,
)


def parse_events(
    rows: DataFrame, columns: ColumnMapping, rules: Sequence[StrengthRule]
) -> DataFrame:
    """Raw rows as events; what can't be read is null and has a reason.

    Args:
        rows: raw columns and `_row`, as `read_rows` gives them.
        columns: which raw column means what.
        rules: signals → strength.

    Returns:
        user_id, item_id, event_time, request_id, position, signals, dwell_seconds, strength,
        reasons, `_row`; one row per raw row.

    Raises:
        DataRefused: a column holds values that can't be ids or times.
        PresetError: a strength rule can't be evaluated on the raw columns, or event_time lacks a
            unit or has one too many.
    """
    kinds = {field.name.lower(): field.dataType for field in rows.schema.fields}
    refuse_id_column("user_id", columns.user_id, kinds[columns.user_id.lower()])
    refuse_id_column("item_id", columns.item_id, kinds[columns.item_id.lower()])
    refuse_time_column(columns.event_time, kinds[columns.event_time.column.lower()])
    readings = check_rules(rules, rows)
    # Three selects: values are read once, rules evaluated once, reasons gathered from both. What
    # needs a lambda (signals, reasons) is in the last, for Spark compiles no such select whole.
    read = _read(rows, columns, readings, kinds)
    judged = read.withColumn("_outcome", outcome_of(rules, guard=_guard()))
    outcome, time = F.col("_outcome"), _event("event_time")
    reasons = [
        *_parse_reasons(columns, kinds),
        *_reading_reasons(columns, readings, kinds),
        (outcome == NO_RULE, "no strength rule holds"),
        *(
            (
                outcome == failure(number),
                f"strength rule {number} fails: {' '.join(rule.when.split())}",
            )
            for number, rule in enumerate(rules, start=1)
        ),
    ]
    # A row that has no columns has that one reason: the others would only follow from it.
    problem = F.col(f"{ROW}.problem")
    return judged.select(
        *(_event(name).alias(name) for name in ("user_id", "item_id")),
        F.when(is_in_calendar(time), time).alias("event_time"),
        *(_event(name).alias(name) for name in ("request_id", "position", "dwell_seconds")),
        signals_of({n: (_raw(n), kinds[n.lower()]) for n in columns.signals}).alias("signals"),
        strength_of(outcome).alias("strength"),
        F.when(problem.isNotNull(), F.array(problem))
        .otherwise(with_reasons(F.array().cast("array<string>"), _distinct(reasons)))
        .alias("reasons"),
        ROW,
    )


def _read(
    rows: DataFrame,
    columns: ColumnMapping,
    readings: Mapping[str, Reading],
    kinds: Mapping[str, DataType],
) -> DataFrame:
    """Every value read once: what comes after looks at the results.

    Returns:
        The columns that rules name, as they see them; `_event_…`, what else could be read;
        `_raw_…`, what it was read from, where that may be asked again; `_row`. Columns and no
        structs, because Spark makes an object of each value that it puts into one.
    """
    time = columns.event_time.column
    event = {
        "user_id": identifier(named(columns.user_id), kinds[columns.user_id.lower()]),
        "item_id": identifier(named(columns.item_id), kinds[columns.item_id.lower()]),
        "event_time": event_time(named(time), columns.event_time, kinds[time.lower()]),
        "request_id": _request(columns, kinds),
        "position": _position(columns, kinds),
        "dwell_seconds": _dwell_seconds(columns, kinds),
    }
    asked = [columns.user_id, columns.item_id, time, columns.dwell_seconds, columns.position]
    raw = dict.fromkeys(name.lower() for name in (*asked, *columns.signals, *readings) if name)
    seen = [
        read_as(named(name), reading, kinds[name]).alias(name) for name, reading in readings.items()
    ]
    return rows.select(
        *seen,
        *(value.alias(f"_event_{name}") for name, value in event.items()),
        *(named(name).alias(f"_raw_{name}") for name in raw),
        ROW,
    )


def _guard() -> Column:
    # The file won't do: where there is only one its name is a constant, which Spark folds.
    return F.coalesce(F.col(f"{ROW}.line"), F.lit(0)) >= 0


def _parse_reasons(columns: ColumnMapping, kinds: Mapping[str, DataType]) -> list[Reason]:
    """What speaks against a row's ids, time, dwell and position before its run is known."""
    how, time, dwell = columns.event_time, _event("event_time"), _event("dwell_seconds")
    reasons: list[Reason] = []
    for role, name in (("user_id", columns.user_id), ("item_id", columns.item_id)):
        floats = holds_floats(_raw(name), kinds[name.lower()])
        says = F.lit(f"{role} is missing")
        if floats is not None:
            says = F.when(floats, floats_refused(role, name)).otherwise(says)
        reasons.append((_event(role).isNull(), says))
    raw, kind = _raw(how.column), kinds[how.column.lower()]
    says = (
        F.when(~is_there(raw, kind), "event_time is missing")
        .when(lacks_date(raw, how, kind), "event_time has no date")
        .otherwise(f"event_time is not {in_unit(how.unit)}")
    )
    reasons += [
        (time.isNull(), says),
        (~is_in_calendar(time), "event_time is outside of the years 1 to 9999"),
    ]
    if columns.dwell_seconds:
        name = columns.dwell_seconds
        reasons += _number_reasons(name, kinds[name.lower()], dwell)
        reasons.append((dwell < 0, f"{name} is negative"))
    if columns.position:
        is_place = F.coalesce(_event("position") >= 0, F.lit(False))
        is_given = is_there(_raw(columns.position), kinds[columns.position.lower()])
        reasons.append((is_given & ~is_place, f"{columns.position} is not a place"))
    return reasons


def _number_reasons(name: str, kind: DataType, number: Column) -> list[Reason]:
    problems = unreadable(_raw(name), number, "number", kind)
    return [(condition, f"{name} {says}") for condition, says in problems]


def _reading_reasons(
    columns: ColumnMapping, readings: Mapping[str, Reading], kinds: Mapping[str, DataType]
) -> list[Reason]:
    """What speaks against the values that the rules compare."""
    spelt = {name.lower(): name for name in (*columns.signals, columns.dwell_seconds) if name}
    return [
        (condition, f"{spelt.get(name, name)} {says}")
        for name, reading in readings.items()
        for condition, says in unreadable(_raw(name), named(name), reading, kinds[name])
    ]


def _distinct(reasons: Sequence[Reason]) -> list[Reason]:
    """A column may be a signal and a dwell."""
    return list({str(says): (condition, says) for condition, says in reasons}.values())


def _raw(name: str) -> Column:
    return named(f"_raw_{name.lower()}")


def _event(name: str) -> Column:
    return F.col(f"_event_{name}")


def _request(columns: ColumnMapping, kinds: Mapping[str, DataType]) -> Column:
    if columns.request_id is None:
        return F.lit(None).cast("string")
    return present_text(as_text(named(columns.request_id), kinds[columns.request_id.lower()]))


def _position(columns: ColumnMapping, kinds: Mapping[str, DataType]) -> Column:
    if columns.position is None:
        return F.lit(None).cast("int")
    return as_text(named(columns.position), kinds[columns.position.lower()]).try_cast("int")


def _dwell_seconds(columns: ColumnMapping, kinds: Mapping[str, DataType]) -> Column:
    if columns.dwell_seconds is None:
        return F.lit(None).cast("float")
    number = to_number(named(columns.dwell_seconds), kinds[columns.dwell_seconds.lower()])
    return (number / PER_SECOND[columns.dwell_unit]).cast("float")
