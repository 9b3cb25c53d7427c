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
            name="first_day_is_past",
            column="first_day",
            description="No code counts from later than the day after what was met.",
            condition="first_day <= date_add(met_day, 1) AND met_day <= first_day",
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
            "of `impressions.day`; of bins the log's first",
        ),
        Column(
            name="first_day",
            type="date",
            meaning="the first day whose impressions have the code: the day after `met_day`, so "
            "that no row knows of its own day; what the log's first day knew counts at once",
        ),
    ),
    rules=_rules,
)
