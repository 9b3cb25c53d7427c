"""The first table of RESULTS.md is made of what each result says of its best rows."""

from dataclasses import replace

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


def row(name, value, **facts):
    facts = {"fit.seconds": 12.4, **{f"fit.{key}": fact for key, fact in facts.items()}}
    return RowResult(
        name=name,
        seeds=tuple(range(8)),
        metrics={"m": Figure(value)},
        facts={key: Figure(fact) for key, fact in facts.items()},
    )


def compared(ours, theirs, low, point, high, metric="m"):
    return Compared(ours=ours, theirs=theirs, metric=metric, difference=Interval(low, point, high))


def lines_of(*comparisons, rows, **changes):
    text = winners([replace(RESULT, rows=rows, comparisons=comparisons, **changes)])
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:]]


def test_the_best_row_stands_beside_the_next_and_the_best_that_it_surely_beats():
    rows = (row("knn", 0.2), row("ours", 0.4), row("theirs", 0.3), row("near", 0.35))
    comparisons = (
        compared("theirs", "ours", -0.3, -0.1, 0.01),
        compared("ours", "knn", 0.1, 0.2, 0.3),
        compared("ours", "near", 0.1, 0.05, 0.3, metric="another"),
    )
    where = "films, baselines, evaluation.protocol=rolling"
    ahead = ["theirs", "+0.1000 [-0.0100, +0.3000]", "knn, +0.2000 [+0.1000, +0.3000]"]
    assert lines_of(*comparisons, rows=rows) == [[where, "ours", "m 0.4000", *ahead, "8", "12"]]


def test_the_best_single_model_has_a_line_beside_a_blend_that_wins():
    rows = (row("ours", 0.4), row("ours + theirs", 0.5, weight=0.6), row("theirs", 0.3))
    comparisons = (
        compared("ours + theirs", "ours", -0.1, 0.1, 0.2),
        compared("ours", "theirs", -0.1, 0.1, 0.2),
    )
    both, ours = lines_of(*comparisons, rows=rows)
    assert both[1:4] == ["ours + theirs", "m 0.5000", "ours"]
    assert both[4:] == ["+0.1000 [-0.1000, +0.2000]", "none", "8", "37"]  # 3 × 12.4 s
    assert ours[1:6] == ["ours", "m 0.4000", "theirs", "+0.1000 [-0.1000, +0.2000]", "none"]


def test_a_difference_of_few_seeds_is_not_claimed_but_of_long_fits():
    def last_but_two(seeds, seconds):
        ours = replace(row("ours", 0.4), seeds=tuple(range(seeds)))
        ours.facts["fit.seconds"] = Figure(seconds)
        rows = (ours, row("theirs", 0.3))
        [line] = lines_of(compared("ours", "theirs", 0.1, 0.2, 0.3), rows=rows)
        return line[5]

    claimed = "theirs, +0.2000 [+0.1000, +0.3000]"
    assert last_but_two(8, 12.0) == last_but_two(3, 301.0) == claimed
    assert last_but_two(7, 299.0) == last_but_two(2, 301.0) == "too few seeds"


def test_what_is_compared_with_nothing_or_is_of_no_people_has_no_line():
    rows = (row("ours", 0.4), row("theirs", 0.3))
    difference = compared("ours", "theirs", 0.1, 0.2, 0.3)
    assert lines_of(rows=rows) == []
    assert lines_of(difference, rows=rows[:1]) == []
    assert lines_of(difference, rows=rows, unit="items") == []
