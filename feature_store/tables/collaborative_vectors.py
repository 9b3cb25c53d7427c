"""collaborative_vectors: what an item is by who took to it, as far as weights may know."""

from feature_store.contract import Column, Contract
from feature_store.rules import RowRule, Rule, RuleInputs, instant
from feature_store.shared_rules import equal_size, known_index, of_the_day, unit_norm


def _rules(inputs: RuleInputs) -> tuple[Rule, ...]:
    return (
        of_the_day(inputs),
        unit_norm("embedding"),
        equal_size("embedding", "Every vector has the same width."),
        RowRule(
            name="newest_event_is_within_the_run",
            column="newest_event_time",
            description=f"No vector knows of an event after {inputs.end_of_day} (UTC).",
            condition=f"newest_event_time < {instant(inputs.end_of_day)}",
        ),
        *known_index(inputs, "item_index"),
    )


COLLABORATIVE_VECTORS = Contract(
    name="collaborative_vectors",
    grain="one item that somebody took to before the border of what weights may see",
    key=("day", "item_index"),
    partition="day",
    order=("item_index",),
    columns=(
        Column(name="day", type="date", meaning="of the histories that the vectors were made from"),
        Column(name="item_index", type="int", minimum=0, meaning="as in items"),
        Column(
            name="embedding",
            type="list<float>",
            meaning="unit-norm vector; alike where the same users took to the items. Of another "
            "day it may be turned",
        ),
        Column(
            name="num_users",
            type="long",
            minimum=1,
            meaning="users who took to the item before the border",
        ),
        Column(
            name="newest_event_time",
            type="timestamp",
            meaning="the latest event with the item that the vectors were made from",
        ),
    ),
    rules=_rules,
)
