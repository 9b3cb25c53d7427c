"""`sidereal step`: run steps for a day, whatever runs them.

The command is the same on every machine; what differs is the kinds of steps that a machine can
run. The image of Spark holds no training and that of training no Spark, so what runs a kind is
named by its import path and imported once a step of it runs.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.util import find_spec
from typing import Any

import click

from feature_store import options
from feature_store.choices import OneOf
from feature_store.installed import PluginError, imported
from feature_store.step import Kind, Step
from feature_store.steps import steps

Facts = Mapping[str, Any]
LIST = "list"
_HELP = """Run STEPs for a day, one after the other; `sidereal step list` shows them.

\b
{steps}

A run sees events before the end of the day (UTC). Running a day again gives the same rows, and a
step that finds its work done says so. Steps of a kind share a process; the first that fails is the
last that runs.

Exit codes: 0 done (a refused promotion is an outcome, too), 1 failed, 2 usage or preset, 3 data
refused by validation.
"""


@dataclass(frozen=True, slots=True)
class Request:
    """One run of a step.

    Args:
        step: which.
        preset: as the command was given it: a name or a path.
        day: the partition.
        overrides: `section.key=value` texts.
        families: what a step that trains recommenders trains; empty: what the preset says.
    """

    step: Step
    preset: str
    day: date
    overrides: tuple[str, ...]
    families: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Runner:
    """What runs the steps of a kind.

    Args:
        run: runs one and writes its record; its facts, None where another process tells them.
        describe: facts for a person; the second argument is the preset as it was given.
        exits: turns what a person can act on into a line, beginning with the name that it is given,
            and an exit code.
        progress: what else to say of a long run.
    """

    run: Callable[[Request], Facts | None]
    describe: Callable[[Facts, str], str]
    exits: Callable[[str], AbstractContextManager[None]]
    progress: Callable[[], str] = str


def step_command(runners: Mapping[Kind, str]) -> click.Command:
    """The command for machines that run these kinds of steps.

    Args:
        runners: `module:attribute` of a `Runner` by the kind of step.
    """
    try:
        offered = {name: step for name, step in steps().items() if step.kind in runners}
    except PluginError as error:
        return _refusing(str(error))

    @click.command(name="step", help=_HELP.format(steps=_lines(offered)))
    @click.argument(
        "names",
        metavar="STEP... | list",
        nargs=-1,
        required=True,
        is_eager=True,
        type=OneOf([*offered, LIST]),
        callback=_listed(offered),
    )
    @options.preset
    @options.made_day
    @click.option("--from", "first", type=options.DAY, help="Run the days from this one on first.")
    @options.overrides
    @click.option("--family", "families", multiple=True, help="Train this family; may be repeated.")
    @options.as_json
    def step(
        names: tuple[str, ...],
        preset: str,
        day: date,
        first: date | None,
        overrides: tuple[str, ...],
        families: tuple[str, ...],
        as_json: bool,
    ) -> None:
        days = _days(first, day)
        chosen = [offered[name] for name in names]
        if families:
            _require_families(chosen)
        _require_packages({step.kind: runners[step.kind] for step in chosen})
        _show_log_lines()
        for each in days:
            for one in chosen:
                request = Request(one, preset, each, overrides, families)
                label = one.name if len(days) == 1 else f"{one.name} {each}"
                _run(_runner(runners[one.kind]), request, label, as_json=as_json)

    return step


def _refusing(told: str) -> click.Command:
    """The command where the list of steps can't be made: whatever it is asked, it says why."""

    @click.command(name="step", context_settings={"ignore_unknown_options": True})
    @click.argument("names", nargs=-1)
    def step(names: tuple[str, ...]) -> None:
        raise click.UsageError(told)

    return step


def _run(runner: Runner, request: Request, label: str, *, as_json: bool) -> None:
    from feature_store.log_lines import at_work

    work = f"{request.step.name} {request.day}"
    with runner.exits(label), at_work(work, detail=runner.progress):
        facts = runner.run(request)
    if facts is None:
        return
    told = json.dumps(facts, indent=1, sort_keys=True, default=str) if as_json else None
    click.echo(told or runner.describe(facts, request.preset))


def _show_log_lines() -> None:
    from feature_store.log_lines import show_log_lines

    if os.environ.get("RANK", "0") == "0":  # of several processes of torchrun one speaks
        show_log_lines()


def _runner(target: str) -> Runner:
    found = imported(target)
    assert isinstance(found, Runner)
    return found


def _require_packages(runners: Mapping[Kind, str]) -> None:
    for kind, target in runners.items():
        package = target.partition(".")[0]
        if find_spec(package) is None:
            raise click.UsageError(
                f"this machine has no package {package!r}, which runs {kind} steps; run them where "
                f"the {kind} image runs"
            )


def _require_families(chosen: list[Step]) -> None:
    for step in chosen:
        if not {"challenger", "baselines"}.intersection(step.writes):
            raise click.UsageError(f"--family says what is trained; {step.name} has no use for it")


def _days(first: date | None, last: date) -> list[date]:
    if first is not None and first > last:
        raise click.UsageError(f"--from {first} is after --day {last}")
    span = (last - (first or last)).days
    return [last - timedelta(days=back) for back in range(span, -1, -1)]


def _listed(offered: Mapping[str, Step]) -> Callable[..., Any]:
    """What the argument `list` does in the place of a step's name."""

    def shown(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> Any:
        if LIST not in names:
            return names
        if len(names) > 1:
            raise click.UsageError(f"`{LIST}` stands alone: it shows the steps and runs none")
        from feature_store.display import output, print_rows

        facts = [
            {
                "step": step.name,
                "kind": step.kind,
                "dag": step.dag,
                "reads": list(step.reads),
                "looks_back": list(step.looks_back),
                "writes": list(step.writes),
                "says": step.says,
            }
            for step in offered.values()
        ]
        rows = [
            {"step": step.name, "reads → writes": step.flow, "": step.says}
            for step in offered.values()
        ]
        output(facts, ctx.params.get("as_json", False), lambda: print_rows(rows))
        ctx.exit()

    return shown


def _lines(offered: Mapping[str, Step]) -> str:
    """Two lines for each step: what it is for, and below it what it reads and writes."""
    width = max(map(len, offered))
    return "\n".join(
        f"  {name:{width}}  {step.says}\n  {'':{width}}  {step.flow}"
        for name, step in offered.items()
    )
