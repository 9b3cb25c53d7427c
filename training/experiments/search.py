"""Settings of a row's fits, chosen on validation targets by a small search.

Optuna's seeded TPE proposes; a trial is a cell like any other, fitted once and kept. Given the
results so far the next proposal is always the same one, so a search that was stopped reads its
cells and goes on, and one with more trials begins with those of the shorter one.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import optuna

from training.evaluation.metrics import metric_of
from training.experiments.cells import Validated
from training.experiments.result import Searched
from training.experiments.spaces import SPACES, Among, Domain
from training.experiments.table import Fit, Row, fits_of
from training.fit.loop import TrainingDiverged

LOG = logging.getLogger(__name__)
SEED = 0
"""Of the proposals."""
FIRST_DRAWN = 5
"""Trials that are drawn before earlier ones guide; whatever the number of trials, so that a longer
search goes on from a shorter one."""


@dataclass(frozen=True)
class Effort:
    """What may be spent on each row.

    Attributes:
        trials: fits beside that of the preset's own settings, at most.
        seconds: of fits and their validation after which no further one begins; None: no end.
    """

    trials: int
    seconds: float | None = None


class Validates(Protocol):
    """What a search is made on."""

    def validation_metric(self, fit: Fit) -> str:
        """The first metric of the table that a fit's models can be asked for."""
        ...

    def validate(self, fit: Fit, seed: int, metric: str) -> Validated:
        """What a cell is worth on validation targets; it is fitted where it is not kept."""
        ...


def search_rows(
    ground: Validates, rows: Sequence[Row], seed: int, effort: Effort
) -> tuple[tuple[Row, ...], dict[str, tuple[Searched, ...]]]:
    """The rows with the settings that were chosen, and how, by row.

    Args:
        ground: fits and validates.
        rows: whose fits begin with no other fit.
        seed: of every trial's fit.
        effort: for each fit.
    """
    searched: dict[Fit, Searched] = {}
    for fit in fits_of(rows):
        searched[fit] = search(ground, fit, seed, effort)

    def chosen(fit: Fit) -> Fit:
        if fit.parts:
            return replace(fit, parts=tuple(map(chosen, fit.parts)))
        return with_settings(fit, searched[fit].settings)

    rows_chosen = tuple(replace(row, fits=tuple(map(chosen, row.fits))) for row in rows)
    alone = {fit for row in rows for fit in row.fits}
    how = {
        row.name: tuple(
            searched[fit] for fit in fits_of([row]) if fit in row.fits or fit not in alone
        )
        for row in rows
    }
    return rows_chosen, how


def search(ground: Validates, fit: Fit, seed: int, effort: Effort) -> Searched:
    """The best settings of a fit: the preset's own, or those of a trial."""
    metric = ground.validation_metric(fit)
    sign, space = metric_of(metric).sign, _space(fit)
    before = best = ground.validate(fit, seed, metric)
    settings: Mapping[str, Any] = {}
    spent, failed, trials = before.seconds, 0, 0
    for trial, values in _proposals(space, effort.trials):
        if effort.seconds is not None and spent >= effort.seconds:
            break
        trials += 1
        try:
            found = ground.validate(with_settings(fit, values), seed, metric)
        except TrainingDiverged as error:
            LOG.warning("%s, trial %d: %s", fit.of, trials, error)
            trial.study.tell(trial, state=optuna.trial.TrialState.FAIL)
            failed += 1
            continue
        trial.study.tell(trial, sign * found.value)
        spent += found.seconds
        LOG.info("%s, trial %d: %s %.4f of %s", fit.of, trials, metric, found.value, values)
        if sign * found.value > sign * best.value:
            best, settings = found, values
    return Searched(
        family=fit.of,
        metric=metric,
        num_targets=best.num_targets,
        value=best.value,
        value_before=before.value,
        settings=settings,
        trials=trials,
        failed=failed,
        seconds=round(spent, 1),
        most_trials=effort.trials,
        most_seconds=effort.seconds,
    )


def with_settings(fit: Fit, settings: Mapping[str, Any]) -> Fit:
    """The fit under further settings, by their path."""
    changes = tuple(f"{path}={json.dumps(value)}" for path, value in settings.items())
    return replace(fit, changes=(*fit.changes, *changes))


def _space(fit: Fit) -> dict[str, Domain]:
    """What is searched: what the fit itself says is not."""
    said = {change.partition("=")[0] for change in fit.changes}
    return {path: each for path, each in SPACES[fit.of].paths(fit.of).items() if path not in said}


def _proposals(
    space: Mapping[str, Domain], most: int
) -> Iterator[tuple[optuna.Trial, dict[str, Any]]]:
    """Settings to try, each after the one before was told."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=SEED, n_startup_trials=FIRST_DRAWN)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(most):
        trial = study.ask()
        yield trial, {path: _proposed(trial, path, each) for path, each in space.items()}


def _proposed(trial: optuna.Trial, path: str, domain: Domain) -> Any:
    if isinstance(domain, Among):
        return trial.suggest_categorical(path, domain.values)
    drawn = trial.suggest_float(path, domain.low, domain.high, log=domain.is_logarithmic)
    return domain.rounded(drawn)
