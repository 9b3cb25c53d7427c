"""`index.html`: all runs of a preset in one table, the newest first."""

from collections.abc import Sequence
from pathlib import Path

from training.report.blocks import Tone, shown
from training.report.brief import Brief
from training.report.outcome import IN_SHORT, Kind
from training.report.page import render, replace_page
from training.report.places import INDEX, PAGE
from training.report.sections.trend import MOST, drawn

_TONES: dict[Kind, Tone] = {
    "promoted": "good", "unchanged": "good", "baseline": "warn", "data_only": "warn",
    "refused": "bad", "data_refused": "bad", "failed": "bad", "stopped": "bad",
}  # fmt: skip


def index_page(runs: Path, preset: str, description: str, briefs: Sequence[Brief]) -> str:
    """The page of all runs.

    Args:
        runs: `Settings.runs_of` the preset.
        preset: its name.
        description: of its data.
        briefs: every day, oldest first.
    """
    return render(
        "index.html",
        preset=preset,
        description=description,
        trend=drawn(briefs[-MOST:]) if len(briefs) > 1 else "",
        num_drawn=min(MOST, len(briefs)),
        rows=[_row(runs, brief) for brief in reversed(briefs)],
    )


def write_index(runs: Path, preset: str, description: str, briefs: Sequence[Brief]) -> Path:
    """Replace `index.html` below the preset's runs; returns its path."""
    path = runs / INDEX
    replace_page(path, index_page(runs, preset, description, briefs))
    return path


def _row(runs: Path, brief: Brief) -> dict[str, str]:
    value, gain = brief.value, brief.gain
    return {
        "day": brief.day,
        "address": f"{brief.day}/{PAGE}" if (runs / brief.day / PAGE).is_file() else "",
        "tone": _TONES[brief.kind],
        "kind": IN_SHORT[brief.kind],
        "sentence": brief.sentence,
        "metric": brief.metric,
        "value": f"{value.point:.4f}" if value else "–",
        "interval": f"{value.low:.4f} to {value.high:.4f}" if value else "",
        "gain": f"{gain.point:+.4f}".replace("-", "−") if gain else "–",
        "rows": shown(brief.rows),
        "alarms": str(len(brief.alarms)) if brief.alarms else "none",
        "seconds": f"{brief.seconds:,.0f}",
    }
