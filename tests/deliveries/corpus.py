"""All small inputs that the tests make themselves, by what they are about."""

from collections.abc import Iterator

from tests.deliveries.inputs import (
    csv_files,
    errors,
    json_files,
    meaning,
    parquet_files,
    reading,
    redelivery,
    rules,
)
from tests.deliveries.night import Input

CORPUS: dict[str, list[Input]] = {
    "reading": reading.INPUTS,
    "csv": csv_files.INPUTS,
    "json": json_files.INPUTS,
    "parquet": parquet_files.INPUTS,
    "meaning": meaning.INPUTS,
    "rules": rules.INPUTS,
    "redelivery": redelivery.INPUTS,
    "errors": errors.INPUTS,
}


def outcomes(case: Input) -> Iterator[tuple]:
    """Everything that an input asks of the product, as values that compare.

    A night's exit code with what it must say; each reason for which a row is refused, without the
    rule that it quotes; that files are left out, that rows are duplicates; each fact of the record,
    and whether it is zero.
    """
    for night in case.nights:
        yield "exit", night.exit_code, *night.says
        yield from (("reason", reason.partition(": ")[0]) for reason in night.reasons)
        yield from (("fact", name, bool(value)) for name, value in night.facts.items())
        if night.left_out:
            yield ("left out",)
        if night.duplicates:
            yield ("duplicates",)


def first_of_their_outcomes() -> set[str]:
    """Names (`kind: name`) of the inputs that show something which no earlier one of a kind shows.

    They cover every exit code, message, reason and fact of every kind; what they leave out differs
    in what is delivered, and comes to the same.
    """
    names = set()
    for kind, inputs in CORPUS.items():
        shown: set[tuple] = set()
        for case in inputs:
            if not shown.issuperset(outcomes(case)):
                names.add(f"{kind}: {case.name}")
                shown.update(outcomes(case))
    return names
