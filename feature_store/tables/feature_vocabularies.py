"""feature_vocabularies: the code of each value, and of each bin, that features of impressions have.

Codes are appended and never move, so that weights of yesterday mean the same today.
"""

from feature_store.contract import Column, Contract
from feature_store.rules import KeyRule, RowRule, Rule, RuleInputs, TableRule


def _rules(inputs: RuleInputs) -> tuple[Rule, ...]:
    return (
        KeyRule(
            name="code_is_unique",
            column="code",
            description="No two values of a field have the same code.",
            columns=("field", "code"),
        ),
        TableRule(
            name="codes_begin_at_one",
            column="code",
            description="Every field has a code 1.",
            expression="count_if(code = 1) - count(DISTINCT field)",
            minimum=0,
            maximum=0,
        ),
        RowRule(
            name="counts_once_it_was_met",
            column="first_day",
            description="No code counts before its value was met.",
            condition="met_day <= first_day",
        ),
    )


FEATURE_VOCABULARIES = Contract(
    name="feature_vocabularies",
    grain="one value, or one bin, of one field",
    key=("field", "value"),
    order=("field", "code"),
    columns=(
        Column(
            name="field",
            type="string",
            meaning="name of the feature, as in `impressions.fields` (user_id, item.author, …)",
        ),
        Column(
            name="value",
            type="string",
            meaning="the id or the attribute's text; of a bin its lower bound, included",
        ),
        Column(
            name="code",
            type="int",
            minimum=1,
            meaning="from 1, append-only; 0 is what has no code",
        ),
        Column(
            name="met_day",
            type="date",
            meaning="day of the first event of somebody or something with the value, in the sense "
            "of `impressions.day`; of bins the first day of impressions",
        ),
        Column(
            name="first_day",
            type="date",
            meaning="the first day whose impressions have the code: the day after `met_day`, so "
            "that no row knows of its own day, and never before that of a smaller code; what the "
            "first day of impressions met counts at once",
        ),
    ),
    rules=_rules,
)
