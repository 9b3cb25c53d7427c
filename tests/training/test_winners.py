"""The first table of RESULTS.md is made of what each result says of its best row."""

from dataclasses import replace

import pytest

from training.evaluation.record import Interval
from training.experiments.result import Compared, Figure, Result, RowResult
from training.experiments.winners import winners

RESULT = Result(
    experiment="baselines",
    preset="films",
    says="",
    command="sidereal reproduce baselines --seed 0 --set evaluation.protocol=rolling",
    day="1998-04-22",
    unit="people",
    num_units=10,
    confidence=0.95,
    samples=1000,
    machines=(),
    inputs={},
    rows=(),
    comparisons=(),
)


def row(name, value, *, seeds=8):
    facts = {"fit.seconds": Figure(12.4)}
    return RowResult(
        name=name, seeds=tuple(range(seeds)), metrics={"m": Figure(value)}, facts=facts
    )


def compared(ours, theirs, low, point, high, metric="m"):
    return Compared(ours=ours, theirs=theirs, metric=metric, difference=Interval(low, point, high))


def line_of(*comparisons, rows):
    text = winners([replace(RESULT, rows=rows, comparisons=comparisons)])
    return [cell.strip() for cell in text.splitlines()[2].split("|")[1:-1]] if text else None


def test_the_best_row_is_told_beside_the_best_that_it_is_compared_with():
    rows = (row("knn", 0.2), row("ours", 0.4), row("theirs", 0.3), row("near", 0.35))
    comparisons = (
        compared("theirs", "ours", -0.3, -0.1, -0.01),
        compared("ours", "knn", 0.1, 0.2, 0.3),
        compared("ours", "near", 0.1, 0.05, 0.3, metric="another"),
    )
    assert line_of(*comparisons, rows=rows) == [
        "films, baselines, evaluation.protocol=rolling",
        "ours",
        "m 0.4000",
        "theirs",
        "+0.1000 [+0.0100, +0.3000]",
        "yes",
        "12",
        "12",
    ]


@pytest.mark.parametrize(
    ("low", "seeds", "said"),
    [(0.01, 8, "yes"), (0.01, 3, "of 3 seeds"), (0.01, 1, "of 1 seed"), (-0.01, 8, "no")],
)
def test_a_difference_is_claimed_of_enough_seeds_alone(low, seeds, said):
    rows = (row("ours", 0.4, seeds=seeds), row("theirs", 0.3, seeds=1))
    assert line_of(compared("ours", "theirs", low, 0.1, 0.2), rows=rows)[5] == said


def test_what_is_compared_with_nothing_or_is_of_no_people_has_no_line():
    rows = (row("ours", 0.4), row("theirs", 0.3))
    assert line_of(rows=rows) is None
    assert line_of(compared("ours", "theirs", 0.1, 0.2, 0.3), rows=rows[:1]) is None
    of_items = replace(
        RESULT, unit="items", rows=rows, comparisons=(compared("ours", "theirs", 0.1, 0.2, 0.3),)
    )
    assert winners([of_items]) == ""
