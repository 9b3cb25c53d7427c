"""`sidereal report`: where a day's report is."""

import sys
from datetime import datetime

import click

from feature_store.settings import Settings


@click.command()
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="Default: the latest with a report.")
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def report(day: datetime | None, show: bool) -> None:
    """Print the path of a day's report, or open it.

    A report is written at the end of each day's run; `sidereal program write_report` writes it
    again.
    """
    runs = Settings().runs_path
    found = {path.parent.name: path for path in sorted(runs.glob("*/report.html"))}
    if not found:
        click.echo(f"error: no report below {runs}; `sidereal run` writes them", err=True)
        sys.exit(1)
    wanted = day.date().isoformat() if day else max(found)
    if wanted not in found:
        click.echo(
            f"error: no report of {wanted}; there are reports of {', '.join(found)}", err=True
        )
        sys.exit(1)
    click.echo(str(found[wanted]))
    if show:
        click.launch(found[wanted].as_uri())
