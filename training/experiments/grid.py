"""Rows by seeds: what is missing is fitted, and everything is compared over units and seeds."""

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from training.evaluation.bootstrap import Bootstrap, Draws, Fits, compare_fits, over_seeds
from training.experiments.cells import Measured
from training.experiments.result import Compared, Figure, RowResult
from training.experiments.table import Fit, Row, Table

LOG = logging.getLogger(__name__)
Cells = Sequence[Sequence[Measured]]
"""Of one row: by fit and seed."""


class Ground(Protocol):
    """What the cells of a table are fitted on, and how they are measured."""

    def seeds_of(self, fit: Fit, seeds: Sequence[int]) -> Sequence[int]:
        """The seeds that say something: the first alone for a fit that draws nothing."""
        ...

    def measure(self, fit: Fit, seed: int) -> Measured:
        """What a cell is worth; it is fitted and asked where that is not kept."""
        ...


def run(ground: Ground, rows: Sequence[Row], seeds: Sequence[int]) -> dict[str, Cells]:
    """Every cell, by the row's name; one seed of all rows before the next.

    Raises:
        ValueError: there is no seed.
    """
    if not seeds:
        raise ValueError("no seeds; a row is fitted once for each")
    fits = dict.fromkeys(fit for row in rows for fit in row.fits)
    cells: dict[Fit, list[Measured]] = {fit: [] for fit in fits}
    for place, seed in enumerate(seeds, start=1):
        for fit in fits:
            if seed in ground.seeds_of(fit, seeds):
                cells[fit].append(ground.measure(fit, seed))
        LOG.info("seed %d is measured, %d of %d", seed, place, len(seeds))
    return {row.name: [cells[fit] for fit in row.fits] for row in rows}


def row_results(
    table: Table, cells: Mapping[str, Cells], seeds: Sequence[int], draws: Draws
) -> tuple[RowResult, ...]:
    """What the table says of each row."""
    return tuple(
        RowResult(
            name=name,
            seeds=tuple(seeds[: max(len(of_fit) for of_fit in of_row)]),
            metrics={
                metric: _figure(fits, draws.bootstrap)
                for metric in table.metrics
                if (fits := _fits(of_row, metric, draws)) is not None
            },
            facts={
                fact: Figure(**over_seeds(values))
                for fact in ("fit.seconds", *table.facts)
                if (values := _values(of_row, fact))
            },
        )
        for name, of_row in cells.items()
    )


def comparisons(table: Table, cells: Mapping[str, Cells], draws: Draws) -> tuple[Compared, ...]:
    """Every pair of the table whose rows are there, in every metric that both have."""
    rows = {row.name: row for row in table.rows}
    differences = []
    for ours, theirs in table.comparisons:
        if not {ours, theirs} <= cells.keys():
            continue
        for metric in table.compared:
            pair = [_fits(cells[name], metric, draws) for name in (ours, theirs)]
            if pair[0] is None or pair[1] is None:
                continue
            difference = compare_fits(
                pair[0],
                pair[1],
                bootstrap=draws.bootstrap,
                shared_seeds=_goes_on(rows[ours], rows[theirs]),
            )
            differences.append(
                Compared(
                    ours=ours,
                    theirs=theirs,
                    metric=metric,
                    difference=difference.difference,
                    relative=difference.relative,
                )
            )
    return tuple(differences)


def _goes_on(ours: Row, theirs: Row) -> bool:
    """Whether each of our fits begins with the weights of one of theirs, of the same seed."""
    return all(fit.after in theirs.fits for fit in ours.fits)


def _fits(cells: Cells, metric: str, draws: Draws) -> Fits | None:
    """The metric of the fit that has it, on every draw; None where none has."""
    for of_fit in cells:
        samples = [measured.sample_of(metric) for measured in of_fit]
        there = [sample for sample in samples if sample is not None]
        if there:
            return draws.fits(there, metric)
    return None


def _figure(fits: Fits, bootstrap: Bootstrap) -> Figure:
    return Figure(**over_seeds(fits.points_K.tolist()), interval=fits.interval(bootstrap))


def _values(cells: Cells, fact: str) -> list[float]:
    """A number by seed; seconds of several fits add up, of the others the first counts."""
    there = [[m.facts[fact] for m in of_fit if fact in m.facts] for of_fit in cells]
    there = [values for values in there if values]
    if fact == "fit.seconds":
        return [sum(values) for values in zip(*there, strict=True)]
    return there[0] if there else []
