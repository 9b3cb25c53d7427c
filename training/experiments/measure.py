"""From an experiment and its data to a result."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

from training.evaluation.bootstrap import Bootstrap, Draws
from training.experiments import grid
from training.experiments.recommenders import Recommenders
from training.experiments.request import Request
from training.experiments.result import Result, Searched
from training.experiments.search import Effort, search_rows
from training.experiments.table import Budget, Row, Table, fits_of
from training.experiments.tokenizers import Tokenizers
from training.settings import FAMILIES

PLAIN = ("items", "user_sequences")
"""Tables that every fit of a recommender reads."""


def tables_read(table: Table, rows: Sequence[Row]) -> tuple[str, ...]:
    """The tables that fits and questions of some rows read."""
    fits = fits_of(rows)
    read = [*table.reads]
    if table.subject == "recommenders":
        read += [*PLAIN, *(name for fit in fits for name in FAMILIES[fit.of].reads)]
    if any(fit.aligned for fit in fits):
        read += ["preference_pairs", "item_embeddings"]
    return tuple(dict.fromkeys(read))


def measure(
    request: Request,
    rows: Sequence[Row],
    seeds: Sequence[int],
    *,
    command: str,
    effort: Effort | None = None,
) -> Result:
    """The result of some rows; what is missing of them is fitted.

    Args:
        request: the experiment and its data.
        rows: of the table.
        seeds: of each row's fits.
        command: that asks for this, for whoever reads the result.
        effort: of a search for the settings of each row's fits; None: they are the preset's.
    Raises:
        ValueError: there is no seed.
        ProgramError: a table has no rows for the day, or they have nothing to ask for.
    """
    table, config = request.table, request.config()
    ground = Tokenizers(request) if table.subject == "tokenizers" else Recommenders(request)
    searched: Mapping[str, tuple[Searched, ...]] = {}
    if effort is not None and isinstance(ground, Recommenders):
        rows, searched = search_rows(ground, rows, seeds[0], effort)
    cells = grid.run(ground, rows, seeds)
    how = Bootstrap(
        config.evaluation.bootstrap_samples, config.evaluation.seed, config.gate.confidence
    )
    draws = Draws(how)
    some = [measured for of_row in cells.values() for of_fit in of_row for measured in of_fit]
    first = next(iter(some[0].samples.values()))
    return Result(
        experiment=table.name,
        preset=request.name,
        says=table.says,
        command=command,
        day=request.day.isoformat(),
        unit=table.unit,
        num_units=first.num_users,
        confidence=how.confidence,
        samples=how.samples,
        machines=tuple(sorted({measured.machine for measured in some})),
        inputs=ground.inputs,
        rows=tuple(
            replace(row, searched=searched.get(row.name, ()))
            for row in grid.row_results(table, cells, seeds, draws)
        ),
        comparisons=grid.comparisons(table, cells, draws),
        titles=table.facts,
        published={
            each.source: {
                row: {
                    metric: value
                    for metric, value in zip(table.metrics, figures, strict=True)
                    if value is not None
                }
                for row, figures in each.figures.items()
            }
            for each in table.published
            if each.preset == request.name
        },
        budget=_budget(request, rows),
    )


def _budget(request: Request, rows: Sequence[Row]) -> Budget | None:
    """What each neural fit could spend; None where there is none, or not the same of all."""
    names = [one.name for one in fields(Budget)]
    of_fits = set()
    for fit in fits_of(rows) if request.table.subject == "recommenders" else ():
        if FAMILIES[fit.of].by_epochs and not fit.aligned:
            training = request.config_of(fit, seed=0).training_for(fit.of)
            of_fits.add(Budget(**{name: getattr(training, name) for name in names}))
    return of_fits.pop() if len(of_fits) == 1 else None
