"""Options that mean the same, with the same default, in every command that has them."""

from collections.abc import Callable
from datetime import date
from typing import Any, TypeVar

import click

DEFAULT_PRESET = "movielens-100k"
VARIABLE = "SIDEREAL_PRESET"

Command = TypeVar("Command", bound=Callable[..., Any])


class Day(click.ParamType[date]):
    """A day, as in 1998-04-15."""

    name = "day"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """How a day is written."""
        return "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """The day; a usage error where the text is none."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no day; write it as in 1998-04-15", param, ctx)


DAY = Day()

preset = click.option(
    "--preset",
    envvar=VARIABLE,
    default=DEFAULT_PRESET,
    metavar="NAME|PATH",
    help=f"A preset's name, or the path of its YAML.  [default: {VARIABLE}, or {DEFAULT_PRESET}]",
)
"""Whose tables, records and models a command works on."""

overrides = click.option(
    "--set", "overrides", multiple=True, metavar="A.B=C", help="Change a key of the preset."
)
"""Changes to the preset for this command alone."""

as_json = click.option(
    "--json", "as_json", is_flag=True, is_eager=True, help="Print facts as JSON, and nothing else."
)
"""Output for programs; what is said on the way goes to standard error."""

made_day = click.option("--day", "day", type=DAY, required=True, help="The day that is made.")
"""The day of a step, which must be said: nothing that writes reads the clock."""


def latest_day(of: str) -> Callable[[Command], Command]:
    """`--day` of a command that looks at what is there.

    Args:
        of: what the day has, as in "a report": without the option it is the latest such day.
    """
    return click.option("--day", type=DAY, help=f"A day.  [default: the latest with {of}]")
