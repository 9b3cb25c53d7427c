"""item_cooccurrence: what users engaged with together, for the tokenizer's positive pairs."""

from feature_store.contract import Column, Contract
from feature_store.rules import RowRule, Rule, RuleInputs
from feature_store.shared_rules import known_index, of_the_day


def _rules(inputs: RuleInputs) -> tuple[Rule, ...]:
    return (
        of_the_day(inputs),
        RowRule(
            name="no_item_beside_itself",
            column="other_index",
            description="No item is its own neighbour.",
            condition="item_index <> other_index",
        ),
        *known_index(inputs, "item_index", "other_index"),
    )


ITEM_COOCCURRENCE = Contract(
    name="item_cooccurrence",
    grain="one item and one of those most often engaged with in the same slates",
    key=("day", "item_index", "other_index"),
    partition="day",
    order=("item_index", "other_index"),
    columns=(
        Column(
            name="day",
            type="date",
            meaning="of the run; counted are days before the border",
        ),
        Column(name="item_index", type="int", minimum=0, meaning="as in items"),
        Column(
            name="other_index",
            type="int",
            minimum=0,
            meaning="one of the `cooccurrence.neighbours` with the highest score; ties by "
            "other_index",
        ),
        Column(
            name="together",
            type="long",
            minimum=1,
            meaning="slates in which both were engaged with",
        ),
        Column(
            name="score",
            type="double",
            minimum=0,
            maximum=1,
            meaning="cosine: together / √(slates of the one · slates of the other)",
        ),
    ),
    rules=_rules,
)
