"""quarantine: every raw row that was refused, with all reasons, so that nothing is lost."""

from feature_store.contract import Column, Contract
from feature_store.rules import RowRule, Rule, RuleInputs
from feature_store.shared_rules import of_the_day


def _rules(inputs: RuleInputs) -> tuple[Rule, ...]:
    return (
        of_the_day(inputs),
        RowRule(
            name="a_reason_is_given",
            column="reasons",
            description="Every refused row says why.",
            condition="size(reasons) > 0",
        ),
    )


QUARANTINE = Contract(
    name="quarantine",
    grain="one refused raw row of one delivery",
    key=("day", "source_file", "line"),
    partition="day",
    order=("source_file", "line"),
    columns=(
        Column(name="day", type="date", meaning="the day whose run refused the row"),
        Column(name="source_file", type="string", meaning="the raw file the row came from"),
        Column(
            name="line",
            type="long",
            minimum=0,
            meaning="0-based row within the file after the header (row within the read split for "
            "files that Spark splits, offset by the split so that it is unique)",
        ),
        Column(name="raw", type="string", meaning="the raw text, cut at 4,096 characters"),
        Column(name="raw_chars", type="long", minimum=0, meaning="its length before the cut"),
        Column(name="reasons", type="list<string>", meaning="every rule the row broke"),
    ),
    rules=_rules,
)
