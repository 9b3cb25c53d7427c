"""interactions: every accepted feedback event or exposure, in the day it happened."""

from statistics import median

from feature_store.contract import Column, Contract
from feature_store.rules import (
    Comparison,
    RowRule,
    Rule,
    RuleInputs,
    Severity,
    TableRule,
    double,
    instant,
)
from feature_store.shared_rules import known_item

_ENOUGH_TRAILING_DAYS = 3
"""With fewer days of history the volume and drift rules report and don't refuse."""


def _rules(inputs: RuleInputs) -> tuple[Rule, ...]:
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
        compared = f"coalesce(nullif({on_day}, 0), {double(usual)})"
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
    usual = {strength: mix.get(strength, 0.0) for strength in shares}
    terms = {n: f"abs({share} - {double(usual[n])})" for n, share in shares.items()}
    distance = f"if(count_if({on_day}) = 0, {double(0)}, {' + '.join(terms.values())})"
    comparisons = tuple(
        Comparison(
            difference=terms[n],
            value=f"100 * ({share})",
            text=f"{100 * usual[n]:.1f}% of strength {n}; on this day {{value:.1f}}%",
        )
        for n, share in shares.items()
    )
    return TableRule(
        name="strength_mix_against_trailing_days",
        column="strength",
        description="The shares of the strengths differ from the trailing days' by at most "
        f"{inputs.config.strength_drift:g} in all (L1 distance).",
        expression=distance if mix else double(0),
        minimum=0,
        maximum=inputs.config.strength_drift,
        comparisons=comparisons,
        severity=_once_there_is_history(inputs),
    )


def _once_there_is_history(inputs: RuleInputs) -> Severity:
    enough = len(inputs.trailing.rows) >= _ENOUGH_TRAILING_DAYS
    return "refuse" if enough else "report"


INTERACTIONS = Contract(
    name="interactions",
    grain="one feedback event or exposure of one item to one user",
    key=("user_id", "item_id", "event_time", "request_id", "position"),
    partition="day",
    order=("user_id", "event_time", "item_id"),
    columns=(
        Column(name="day", type="date", meaning="UTC date of event_time"),
        Column(name="user_id", type="string", meaning="the source's own user id"),
        Column(name="item_id", type="string", meaning="the source's own item id"),
        Column(name="event_time", type="timestamp", meaning="when it happened, UTC"),
        Column(
            name="request_id",
            type="string",
            nullable=True,
            meaning="the request that showed the item, where the source logs requests",
        ),
        Column(
            name="position",
            type="int",
            nullable=True,
            minimum=0,
            meaning="0-based place of the item in what was shown, where logged",
        ),
        Column(
            name="signals",
            type="map<string,string>",
            meaning="the source's raw signals by name, as they came (rating, action, …): text as "
            "it is, numbers in their shortest text, true and false",
        ),
        Column(
            name="strength",
            type="int",
            minimum=-1,
            maximum=3,
            allowed=(-1, 0, 1, 2, 3),
            meaning="-1 disliked, 0 exposed only, 1 clicked, 2 consumed, 3 strongest; "
            "mapped from signals by the preset's rule",
        ),
        Column(
            name="dwell_seconds",
            type="float",
            nullable=True,
            minimum=0,
            meaning="time spent on the item, where the source measures it",
        ),
        Column(name="source_file", type="string", meaning="the raw file the row came from"),
        Column(
            name="tie_order",
            type="long",
            minimum=0,
            meaning="order among the user's events of the same time: the row's place in its file; "
            "of rows of several files, a hash of file, user and time first",
        ),
        Column(
            name="delivery_day",
            type="date",
            nullable=True,
            meaning="the day whose delivery says so, of several the last; null: a log of all days",
        ),
        Column(
            name="also_delivered",
            type="map<string,string>",
            meaning="what other days' deliveries say of the event (`log`: a log of all days), as "
            "JSON: it stands once the later delivery no longer holds the event",
        ),
    ),
    rules=_rules,
)
