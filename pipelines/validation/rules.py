"""What a contract can't say, table by table: time, order, catalogue, volume and mix.

Conditions are Spark SQL that runs under ANSI rules, so none of them may raise: no cast of text, no
division, no index into a list. Array functions without a lambda are preferred, because Spark
compiles them; `sort_array` of a list that is in order takes one comparison per element.
"""

from collections.abc import Callable
from statistics import median

from pipelines.validation.interface import (
    KNOWN_INDEX,
    KeyRule,
    RowRule,
    Rule,
    RuleInputs,
    Severity,
    TableRule,
)
from pipelines.validation.shared_rules import (
    complete,
    equal_size,
    instant,
    known_indices,
    known_item,
    lists_have_equal_length,
    no_item_twice,
    not_after_the_day,
    of_the_day,
)

UNIT_NORM_TOLERANCE = 1e-3


def table_rules(table: str, inputs: RuleInputs) -> tuple[Rule, ...]:
    """The hand-written rules of a table; none for a table that has none."""
    make = _RULES.get(table)
    return make(inputs) if make else ()


def _interactions(inputs: RuleInputs) -> tuple[Rule, ...]:
    first, end = inputs.config.earliest_event, inputs.end_of_day
    return (
        RowRule(
            name="event_time_is_within_the_run",
            column="event_time",
            description=f"event_time is on or after {first} and before {end} (UTC): nothing of "
            "1970, nothing of the future.",
            condition=f"event_time >= {instant(first)} AND event_time < {instant(end)}",
        ),
        RowRule(
            name="event_time_is_on_its_day",
            column="event_time",
            description="The UTC date of event_time is the row's day.",
            condition="date(event_time) = day",
        ),
        *known_item(inputs),
        *_volume(inputs),
        _strength_mix(inputs),
    )


def _volume(inputs: RuleInputs) -> tuple[Rule, ...]:
    """The day isn't empty, and has about as many rows as the median trailing day."""
    config, trailing = inputs.config, inputs.trailing
    on_day = f"count_if(day = DATE'{inputs.day}')"
    usual = median(trailing.rows.values()) if trailing.rows else None
    # An empty day that the preset allows is no deviation either.
    compared = on_day
    if config.allow_empty_day and usual is not None:
        compared = f"coalesce(nullif({on_day}, 0), {usual!r}D)"
    return (
        TableRule(
            name="day_has_rows",
            column="day",
            description=f"{inputs.day} has at least one event.",
            expression=on_day,
            minimum=1,
            severity="report" if config.allow_empty_day else "refuse",
        ),
        TableRule(
            name="rows_against_trailing_days",
            column="day",
            description=f"Events of {inputs.day} are {config.volume_low_factor:g} to "
            f"{config.volume_high_factor:g} times the median of the {len(trailing.rows)} published "
            "day(s) before.",
            expression=compared,
            minimum=None if usual is None else config.volume_low_factor * usual,
            maximum=None if usual is None else config.volume_high_factor * usual,
            compared_with=tuple(f"{day}: {n:,} rows" for day, n in trailing.rows.items())[-3:],
            severity=_once_there_is_history(inputs),
        ),
    )


def _strength_mix(inputs: RuleInputs) -> Rule:
    """L1 distance of the day's strength mix from the trailing one: 0 equal, 2 disjoint."""
    mix = inputs.trailing.mix
    on_day = f"day = DATE'{inputs.day}'"
    shares = {
        strength: f"count_if({on_day} AND strength = {strength}) / greatest(1, count_if({on_day}))"
        for strength in (-1, 0, 1, 2, 3)
    }
    terms = {
        strength: f"abs({share} - {mix.get(strength, 0.0)!r}D)"
        for strength, share in shares.items()
    }
    distance = f"if(count_if({on_day}) = 0, 0D, {' + '.join(terms.values())})"
    lines = ", ".join(
        f"struct({terms[strength]} AS difference, format_string('%.1f%% of strength %d; on this "
        f"day %.1f%%', {100 * mix.get(strength, 0.0)!r}D, {strength}, 100 * ({share})) AS line)"
        for strength, share in shares.items()
    )
    return TableRule(
        name="strength_mix_against_trailing_days",
        column="strength",
        description="The shares of the strengths differ from the trailing days' by at most "
        f"{inputs.config.strength_drift:g} in all (L1 distance).",
        expression=distance if mix else "0D",
        minimum=0,
        maximum=inputs.config.strength_drift,
        comparison=f"sort_array(array({lines}), false).line",
        severity=_once_there_is_history(inputs),
    )


def _once_there_is_history(inputs: RuleInputs) -> Severity:
    enough = len(inputs.trailing.rows) >= inputs.config.minimum_trailing_days
    return "refuse" if enough else "report"


def _items(inputs: RuleInputs) -> tuple[Rule, ...]:
    rules: list[Rule] = [
        TableRule(
            name="item_index_has_no_gaps",
            column="item_index",
            description="item_index counts from 0 to the number of items less one.",
            expression="coalesce(max(item_index) + 1, 0) - count(1)",
            minimum=0,
            maximum=0,
        ),
        KeyRule(
            name="item_index_is_unique",
            column="item_index",
            description="No two items have the same item_index.",
            columns=("item_index",),
        ),
        RowRule(
            name="first_day_is_past",
            column="first_day",
            description=f"No item that wasn't there before was first seen after {inputs.day}.",
            condition=_past_or_known(inputs, "first_day"),
        ),
        RowRule(
            name="withdrawn_after_it_was_listed",
            column="last_listed_day",
            description="An item is withdrawn by a catalogue after the first that listed it.",
            condition="coalesce(last_listed_day >= first_listed_day, last_listed_day IS NULL)",
        ),
    ]
    if inputs.num_items is not None:
        rules += [
            RowRule(
                name="item_index_is_kept",
                column="item_index",
                description="An item keeps the item_index it was published with.",
                condition=f"{KNOWN_INDEX} = item_index",
            ),
            TableRule(
                name="no_item_is_lost",
                column="item_id",
                description="Every item published before is still there.",
                expression=f"count({KNOWN_INDEX})",
                minimum=inputs.num_items,
            ),
        ]
    return tuple(rules)


def _past_or_known(inputs: RuleInputs, column: str) -> str:
    """A day that was filled in later finds items of the days after it."""
    past = f"{column} <= DATE'{inputs.day}'"
    return past if inputs.num_items is None else f"{KNOWN_INDEX} IS NOT NULL OR {past}"


def _item_embeddings(inputs: RuleInputs) -> tuple[Rule, ...]:
    return (
        RowRule(
            name="embedding_has_unit_norm",
            column="embedding",
            description=f"Every vector has length 1, within {UNIT_NORM_TOLERANCE:g}.",
            condition="abs(sqrt(aggregate(embedding, 0D, (s, x) -> s + double(x) * x)) - 1) "
            f"<= {UNIT_NORM_TOLERANCE!r}D",
        ),
        equal_size("embedding", "Every vector has the same width."),
        *known_item(inputs, with_index=True),
        *complete(inputs),
    )


def _semantic_ids(inputs: RuleInputs) -> tuple[Rule, ...]:
    unique = KeyRule(
        name="codes_are_unique",
        column="codes",
        description="No two items of a generation have the same codes.",
        columns=("generation", "codes"),
    )
    return (
        equal_size("codes", "Every item has the same number of codes."),
        RowRule(
            name="quantized_levels_are_codes",
            column="num_quantized_levels",
            description="There are at least as many codes as levels that the quantizer made.",
            condition="num_quantized_levels <= size(codes)",
        ),
        RowRule(
            name="assigned_day_is_past",
            column="assigned_day",
            description=f"No item got its codes after {inputs.day}.",
            condition=f"assigned_day <= DATE'{inputs.day}'",
        ),
        *((unique,) if inputs.codes_are_unique else ()),
        *known_item(inputs, with_index=True),
        *complete(inputs),
    )


def _user_sequences(inputs: RuleInputs) -> tuple[Rule, ...]:
    first, end = inputs.config.earliest_event, inputs.end_of_day
    return (
        of_the_day(inputs),
        lists_have_equal_length("item_indices", "strengths", "event_times"),
        RowRule(
            name="history_is_in_order",
            column="event_times",
            description="Histories are oldest first: event_times never decrease, and events of the "
            "same time are in the order of item_index.",
            condition="size(event_times) <> size(item_indices) OR "
            "arrays_zip(event_times, item_indices) = "
            "sort_array(arrays_zip(event_times, item_indices))",
        ),
        RowRule(
            name="event_times_are_within_the_run",
            column="event_times",
            description=f"Every event is on or after {first} and before {end} (UTC).",
            condition=f"array_min(event_times) >= {instant(first)} "
            f"AND array_max(event_times) < {instant(end)}",
        ),
        RowRule(
            name="num_events_covers_the_history",
            column="num_events",
            description="num_events is at least the length of the history that was kept.",
            condition="num_events >= size(item_indices)",
        ),
        *known_indices(inputs),
    )


def _slates(inputs: RuleInputs) -> tuple[Rule, ...]:
    first, end = inputs.config.earliest_event, inputs.end_of_day
    return (
        not_after_the_day(inputs),
        lists_have_equal_length("item_indices", "strengths", "dwell_seconds"),
        RowRule(
            name="slate_has_two_items",
            column="item_indices",
            description="A slate has at least two items.",
            condition="size(item_indices) >= 2",
        ),
        no_item_twice("item_indices"),
        RowRule(
            name="slate_ends_after_it_starts",
            column="ended_at",
            description="No slate ends before it starts.",
            condition="started_at <= ended_at",
        ),
        RowRule(
            name="slate_is_within_the_run",
            column="started_at",
            description=f"Every exposure is on or after {first} and before {end} (UTC).",
            condition=f"started_at >= {instant(first)} AND ended_at < {instant(end)}",
        ),
        RowRule(
            name="slate_is_on_its_day",
            column="day",
            description="A slate is of the UTC date of its exposures, or of the day after.",
            condition="day BETWEEN date(ended_at) AND date_add(date(started_at), 1)",
        ),
        *known_indices(inputs),
    )


def _preference_pairs(inputs: RuleInputs) -> tuple[Rule, ...]:
    return (
        not_after_the_day(inputs),
        lists_have_equal_length("chosen", "rejected"),
        RowRule(
            name="chosen_and_rejected_differ",
            column="rejected",
            description="No slate is preferred to itself.",
            condition="chosen <> rejected",
        ),
        no_item_twice("chosen"),
        no_item_twice("rejected"),
        RowRule(
            name="ranking_permutes_the_chosen",
            column="rejected",
            description="A pair of the kind ranking has the same items on both sides.",
            condition="kind <> 'ranking' OR array_sort(chosen) = array_sort(rejected)",
        ),
        RowRule(
            name="source_is_within_the_run",
            column="newest_source",
            description=f"Nothing was borrowed from after {inputs.day} (UTC).",
            condition=f"context_until < {instant(inputs.end_of_day)} "
            f"AND newest_source < {instant(inputs.end_of_day)}",
        ),
        *known_indices(inputs, "chosen", "rejected"),
    )


def _item_cooccurrence(inputs: RuleInputs) -> tuple[Rule, ...]:
    known = RowRule(
        name="items_are_known",
        column="item_index",
        description=f"Every item_index is below {inputs.num_items or 0:,}, the size of the "
        "catalogue.",
        condition=f"greatest(item_index, other_index) < {inputs.num_items}",
    )
    return (
        of_the_day(inputs),
        RowRule(
            name="no_item_beside_itself",
            column="other_index",
            description="No item is its own neighbour.",
            condition="item_index <> other_index",
        ),
        *(() if inputs.num_items is None else (known,)),
    )


def _recommendations(inputs: RuleInputs) -> tuple[Rule, ...]:
    return (
        of_the_day(inputs),
        lists_have_equal_length("item_ids", "item_indices", "scores"),
        RowRule(
            name="scores_never_increase",
            column="scores",
            description="Recommendations are best first: scores never increase.",
            condition="scores = sort_array(scores, false)",
        ),
        RowRule(
            name="no_item_twice",
            column="item_ids",
            description="No user is recommended an item twice.",
            condition="size(array_distinct(item_ids)) = size(item_ids)",
        ),
        *known_indices(inputs),
    )


def _quarantine(inputs: RuleInputs) -> tuple[Rule, ...]:
    return (
        of_the_day(inputs),
        RowRule(
            name="a_reason_is_given",
            column="reasons",
            description="Every refused row says why.",
            condition="size(reasons) > 0",
        ),
    )


_RULES: dict[str, Callable[[RuleInputs], tuple[Rule, ...]]] = {
    "interactions": _interactions,
    "quarantine": _quarantine,
    "items": _items,
    "item_embeddings": _item_embeddings,
    "user_sequences": _user_sequences,
    "slates": _slates,
    "preference_pairs": _preference_pairs,
    "item_cooccurrence": _item_cooccurrence,
    "semantic_ids": _semantic_ids,
    "recommendations": _recommendations,
}
