"""How every picture of a report looks, and how it becomes an inline SVG.

Text stays text (searchable, scalable), colours are the same family by family on every picture,
and nothing is fetched: the SVG goes into the page as it is.
"""

import html
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, GRID = "#1d2733", "#566576", "#e3e8ee"
ACCENT, GOOD, BAD = "#3558d6", "#1f7a50", "#b83a33"
FAMILY_COLOURS = {
    "champion": "#8a6d1f",
    "reference": "#c2a75a",
    "tiger": "#3558d6",
    "rankgr": "#0f7f8c",
    "unigrf": "#6b4fb3",
    "higr": "#3558d6",
    "groupce": "#3558d6",
    "pretrained": "#7d93dd",
    "sasrec": "#c2571a",
    "item_knn": "#1f7a50",
    "popularity": "#7a8896",
    "rates": "#7a8896",
}
STRENGTH_COLOURS = {
    -1: "#c4423b", 0: "#c9d1da", 1: "#a9c1f5", 2: "#6a8fe8", 3: "#27459f",
}  # fmt: skip
STRENGTH_NAMES = {-1: "disliked", 0: "exposed", 1: "clicked", 2: "consumed", 3: "strongest"}
WIDE, HALF = 12.6, 6.1
"""Inches of a picture over the whole width of the page, and over half of it."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sidereal",  # element ids repeat from run to run: equal facts, equal page
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
_METADATA = re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL)


def family_colour(family: str) -> str:
    """The colour a model family has on every picture."""
    return FAMILY_COLOURS.get(family, "#a13f86")


@contextmanager
def figure_of(width: float, height: float) -> Iterator[Figure]:
    """An empty figure in the report's style, sizes in inches; `svg` it within the block."""
    with mpl.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure, title: str) -> str:
    """The figure as one SVG element, with a title for those who can't see it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    drawn = _METADATA.sub("", text[text.index("<svg") :], count=1)
    start = drawn.index(">")
    said = html.escape(title, quote=False)
    return f'{drawn[:start]} role="img">\n <title>{said}</title>{drawn[start + 1 :]}'


def forest(
    axes: Axes, place: int, interval: tuple[float, float, float], colour: str, *, size: float = 5
) -> None:
    """One row of a forest plot: a bar from low to high, a dot at the estimate.

    Args:
        axes: to draw in.
        place: of the row, 0 the topmost.
        interval: low, estimate, high.
        colour: of bar and dot.
        size: of the dot, points.
    """
    low, point, high = interval
    axes.plot([low, high], [-place, -place], color=colour, linewidth=2.4, solid_capstyle="butt")
    axes.plot(point, -place, "o", color=colour, markersize=size)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of a forest plot."""
    axes.set_yticks([-i for i in range(len(names))], names)
    axes.set_ylim(-len(names) + 0.4, 0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def name_days(axes: Axes, days: Sequence[str], most: int) -> None:
    """Name at most so many of the days along the lower edge, the last one always."""
    step = max(1, -(-len(days) // most))
    shown = list(range(len(days) - 1, -1, -step))[::-1]
    axes.set_xticks(shown, [days[i][5:] for i in shown])
    axes.grid(axis="x", visible=False)
