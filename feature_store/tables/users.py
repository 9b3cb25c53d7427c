"""users: what the source says of people, apart from what they do."""

from feature_store.contract import Column, Contract
from feature_store.rules import RowRule, Rule, RuleInputs


def _rules(inputs: RuleInputs) -> tuple[Rule, ...]:
    return (
        RowRule(
            name="first_day_is_not_after_the_change",
            column="changed_day",
            description="Nobody's attributes changed before they were first seen.",
            condition="first_day <= changed_day",
        ),
    )


USERS = Contract(
    name="users",
    grain="one person that the source says something of",
    key=("user_id",),
    order=("user_id",),
    columns=(
        Column(name="user_id", type="string", meaning="the source's own user id"),
        Column(name="first_day", type="date", meaning="the day whose run first saw the person"),
        Column(
            name="changed_day",
            type="date",
            meaning="the day whose run brought the attributes as they are; an earlier day's run "
            "leaves them",
        ),
        Column(
            name="attributes",
            type="map<string,string>",
            meaning="attributes by name (city, register_days, …); several values are joined by '|'",
        ),
    ),
    rules=_rules,
)
