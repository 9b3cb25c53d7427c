"""Where the pages of a day lie, and how they lead to each other and to what they are about."""

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from feature_store.settings import Settings
from training.report.blocks import Entry
from training.report.brief import Brief
from training.report.opening import Link

PAGE = "report.html"
INDEX = "index.html"


def links(settings: Settings, preset: str, day: date, briefs: Sequence[Brief]) -> list[Link]:
    """Where to look from a day's page; what isn't there is left out.

    Args:
        settings: where everything is.
        preset: its name.
        day: of the page.
        briefs: the runs up to the day, oldest first, the day's own last.
    """
    runs = settings.runs_of(preset)
    found = [Link(text="All runs", address=f"../{INDEX}")]
    earlier = [b.day for b in briefs[:-1] if (runs / b.day / PAGE).is_file()]
    if earlier:
        found.append(Link(text=f"Report of {earlier[-1]}", address=f"../{earlier[-1]}/{PAGE}"))
    if data_docs(settings, preset, day):
        found.append(Link(text="Data Docs of the day", address="#health"))
    if (version := briefs[-1].version) is not None:
        found.append(_model(settings, preset, version))
    return found


def data_docs(settings: Settings, preset: str, day: date) -> list[Entry]:
    """The day's Data Docs, a link a table, as they are reached from the day's page."""
    folder = settings.data_docs_of(preset)
    pages = sorted(folder.glob(f"*/{day.isoformat()}.html"))
    return [
        Entry(page.parent.name, address=_from_day(settings, preset, day, page)) for page in pages
    ]


def _from_day(settings: Settings, preset: str, day: date, page: Path) -> str:
    return Path(os.path.relpath(page, settings.runs_of(preset) / day.isoformat())).as_posix()


def _model(settings: Settings, preset: str, version: int) -> Link:
    """The champion in MLflow's pages, where their address is known; else the command."""
    address = settings.resolved_mlflow_tracking_uri
    text = f"Champion, version {version}"
    if address.startswith(("http://", "https://")) and "@" not in address:
        return Link(
            text=text, address=f"{address.rstrip('/')}/#/models/{preset}/versions/{version}"
        )
    return Link(text=text, command=f"sidereal models list --preset {preset}")
