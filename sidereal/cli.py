"""The one console command: every package's commands under one roof, imported when they are used.

`sidereal --help` and a mistyped command answer in a fraction of a second, so nothing here imports
more than click: a mount names its command by import path and brings its own line of help.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click

from feature_store import env_file
from feature_store.installed import PluginError


@dataclass(frozen=True, slots=True)
class Mount:
    """A command that lives elsewhere.

    Args:
        name: as typed.
        target: `module:attribute` of the click command.
        summary: its line in `sidereal --help`.
        checks: whether the preset that it is given is checked, as a whole, before it runs.
    """

    name: str
    target: str
    summary: str
    checks: bool = False

    def load(self) -> click.Command:
        """The command itself; imports its module."""
        module, _, attribute = self.target.partition(":")
        command = cast(click.Command, getattr(importlib.import_module(module), attribute))
        if not self.checks:
            return command
        from sidereal.preset_check import checking

        return checking(command)


SECTIONS: dict[str, tuple[Mount, ...]] = {
    "Daily run": (
        Mount("init", "sidereal.init:init", "Begin with your own data: a preset, a .env."),
        Mount("run", "sidereal.run:run", "Run the whole chain for some days, through Airflow."),
        Mount("presets", "sidereal.presets:presets", "Check, list and show presets."),
        Mount("report", "sidereal.report:report", "Say where a day's report is, or open it."),
        Mount(
            "ui", "sidereal.ui:ui", "Serve the Airflow and MLflow UIs over the last run's state."
        ),
        Mount("fetch", "pipelines.cli:fetch", "Get a public data set."),
    ),
    "Steps": (Mount("step", "sidereal.step:step", "Run steps for a day, or list them.", True),),
    "Stores": (
        Mount("serve", "sidereal.serve:serve", "Answer requests with a preset's champion.", True),
        Mount("export", "sidereal.export:export", "Write recommendations to a file or to Redis."),
        Mount("tables", "feature_store.cli:tables", "List, show, compare, roll back tables."),
        Mount("models", "training.cli:models", "List, verify, promote, roll back models.", True),
    ),
    "Research": (
        Mount("bench", "sidereal.bench:bench", "Measure ours against the peers on the same work."),
        Mount(
            "reproduce", "sidereal.reproduce:reproduce", "Run a published experiment again.", True
        ),
    ),
}


HELP = """Retrain generative recommenders every day.

Raw feedback comes in; a validated, registered, promoted model and a fresh table of
recommendations come out, with a report that says why.

\b
  sidereal init DIR               a folder for your own data: a preset, a .env
  sidereal run                    the default preset, two days, everything on this machine
  sidereal run --model sasrec     the same with another model family as challenger
  sidereal tables list --preset movielens-100k   what the run wrote
  sidereal ui                     look at the tasks and the models

Presets say what runs (SIDEREAL_PRESETS), state lies in one folder (SIDEREAL_HOME); variables
are read from .env in the working directory, too. Commands exit with
0 done, 1 failed, 2 wrong usage or preset, 3 data refused by validation.
"""


class LazyGroup(click.Group):
    """A group whose commands are imported only when one of them is asked for."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Read `.env`, then do what the arguments say; exits 2 where the file is wrong."""
        try:
            env_file.apply(Path.cwd())
        except env_file.EnvironmentFileError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)
        try:
            return super().main(*args, **options)
        except PluginError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the help text."""
        return [mount.name for mount in _mounts()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None where there is none."""
        # Read once, when torch is loaded. Threads that wait by spinning are some ten times slower
        # as soon as anything else wants a core; those that sleep lose a tenth to a quarter when
        # nothing does.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        return next((mount.load() for mount in _mounts() if mount.name == cmd_name), None)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments begin with; a misspelt one is told the nearest."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            # Click looks among the commands that a group holds; ours are imported when asked for.
            names = self.list_commands(ctx)
            raise click.exceptions.NoSuchCommand(
                error.command_name, possibilities=names, ctx=ctx
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section, from the mounts alone."""
        width = max(len(mount.name) for mount in _mounts())
        for section, mounts in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(m.name.ljust(width), m.summary) for m in mounts])


def _mounts() -> Iterator[Mount]:
    for mounts in SECTIONS.values():
        yield from mounts


@click.command(cls=LazyGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sidereal", prog_name="sidereal")
def main() -> None:
    """Mounts every command; `--help` shows `HELP`."""


if __name__ == "__main__":
    main()
