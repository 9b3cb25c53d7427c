"""The report's pictures: facts in, one inline SVG string out.

Text stays text (searchable, scalable), colours are the same family by family on every picture,
and nothing is fetched: the SVG goes into the page as it is.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

INK, MUTED, GRID = "#1d2733", "#66788a", "#e3e8ee"
ACCENT, GOOD, BAD = "#3558d6", "#1f8a5b", "#c4423b"
FAMILY_COLOURS = {
    "champion": "#8a6d1f",
    "tiger": "#3558d6",
    "unigrf": "#6b4fb3",
    "sasrec": "#c2571a",
    "item_knn": "#1f8a5b",
    "popularity": "#7a8896",
}
_STRENGTH_COLOURS = {
    -1: "#c4423b", 0: "#c9d1da", 1: "#a9c1f5", 2: "#6a8fe8", 3: "#27459f",
}  # fmt: skip
_STRENGTH_NAMES = {-1: "disliked", 0: "exposed", 1: "clicked", 2: "consumed", 3: "strongest"}

_STYLE = {
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
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def family_colour(family: str) -> str:
    """The colour a model family has on every picture."""
    return FAMILY_COLOURS.get(family, "#a13f86")


def daily_volume(days: Sequence[str], counts: Mapping[int, Sequence[int]]) -> str:
    """Published rows per day, stacked by strength, the run's own day last.

    Args:
        days: ISO days, oldest first.
        counts: strength → rows per day, aligned with `days`.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 2.3))
        axes = figure.subplots()
        floor = [0] * len(days)
        for strength in sorted(counts):
            rows = list(counts[strength])
            axes.bar(
                range(len(days)), rows, bottom=floor, width=0.8,
                color=_STRENGTH_COLOURS.get(strength, ACCENT),
                label=f"{strength} {_STRENGTH_NAMES.get(strength, '')}",
            )  # fmt: skip
            floor = [low + row for low, row in zip(floor, rows, strict=True)]
        step = max(1, len(days) // 10)
        axes.set_xticks(range(0, len(days), step), [days[i][5:] for i in range(0, len(days), step)])
        axes.set_ylabel("rows published")
        axes.grid(axis="x", visible=False)
        axes.legend(ncols=5, loc="upper left", bbox_to_anchor=(0, 1.22), fontsize=8)
        return _svg(figure)


def code_usage(counts_per_level: Sequence[Sequence[int]]) -> str:
    """Items per code, codes sorted by use, one panel a level; a flat line is a well-used level."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 1.9))
        panels = figure.subplots(1, len(counts_per_level), squeeze=False, sharey=True)[0]
        for level, (axes, counts) in enumerate(zip(panels, counts_per_level, strict=True), 1):
            ordered = sorted(counts, reverse=True)
            used = sum(count > 0 for count in ordered)
            axes.bar(range(len(ordered)), ordered, width=1.0, color=ACCENT)
            axes.set_title(f"level {level}: {used} of {len(ordered)} used")
            axes.set_xlabel("codes by use")
            axes.grid(axis="x", visible=False)
        panels[0].set_ylabel("items")
        return _svg(figure)


def prefix_clusters(points: Sequence[Sequence[float]], first_codes: Sequence[int]) -> str:
    """Item embeddings in 2-D, one colour per level-1 code; islands of one colour are clusters."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 4.2))
        axes = figure.subplots()
        wheel = mpl.colormaps["turbo"]
        biggest = max([*first_codes, 1])
        # Neighbouring codes get distant hues: codes have no order that a colour should show.
        hues = [wheel(((code * 0.618034) % 1.0) * 0.9 + 0.05) for code in first_codes]
        axes.scatter(
            [p[0] for p in points], [p[1] for p in points], c=hues, s=11, alpha=0.85, linewidths=0
        )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.set_title(f"{len(points):,} items, coloured by level-1 code (of {biggest + 1})")
        return _svg(figure)


def training_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Training loss, and each metric that stopped a fit, per epoch; one line a family.

    Args:
        curves: family → epochs, each with `epoch`, `train_loss`, `validation_metric` and, what that
            is, `validated_by`.
    """
    metrics = list(dict.fromkeys(e["validated_by"] for epochs in curves.values() for e in epochs))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 2.5))
        loss, *others = figure.subplots(1, 1 + len(metrics))
        panel = dict(zip(metrics, others, strict=True))
        for family, epochs in curves.items():
            colour = family_colour(family)
            x = [e["epoch"] for e in epochs]
            loss.plot(x, [e["train_loss"] for e in epochs], color=colour, label=family)
            found = [e["validation_metric"] for e in epochs]
            panel[epochs[0]["validated_by"]].plot(x, found, color=colour, marker=".")
        loss.set_title("training loss, nats")
        for name, axes in panel.items():
            axes.set_title("validation loss, nats" if name == "loss" else f"validation {name}")
        for axes in (loss, *others):
            axes.set_xlabel("epoch")
        loss.legend()
        return _svg(figure)


def task_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Retrieval's loss, ranking's loss, ranking's AUC and ranking's share of the weights.

    Args:
        curves: family → epochs, each with `epoch`, `loss_retrieval`, `loss_ranking` and
            `validation_auc`; `share_ranking` where the tasks are weighed.
    """
    shown = {
        "loss_retrieval": "retrieval loss, nats",
        "loss_ranking": "ranking loss, nats",
        "validation_auc": "validation AUC",
        "share_ranking": "ranking's share",
    }
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 2.1))
        panels = figure.subplots(1, len(shown))
        for axes, (name, title) in zip(panels, shown.items(), strict=True):
            for family, epochs in curves.items():
                points = [(e["epoch"], e[name]) for e in epochs if name in e]
                axes.plot(*zip(*points, strict=True), color=family_colour(family), marker=".")
            axes.set_title(title)
            axes.set_xlabel("epoch")
        return _svg(figure)


def metric_intervals(rows: Sequence[Mapping[str, Any]]) -> str:
    """A forest plot: one panel a metric, one row a candidate, its interval as a bar.

    Args:
        rows: each with `metric`, `family`, `value`, `low`, `high`.
    """
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    families = list(dict.fromkeys(row["family"] for row in rows))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 0.75 + 0.32 * len(families)))
        panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            for row in (r for r in rows if r["metric"] == metric):
                y = -families.index(row["family"])
                colour = family_colour(row["family"])
                axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2.4)
                axes.plot(row["value"], y, "o", color=colour, markersize=5)
            axes.set_title(metric)
            axes.set_xlim(left=0)
            axes.set_ylim(-len(families) + 0.4, 0.6)
        panels[0].set_yticks([-i for i in range(len(families))], families)
        return _svg(figure)


def paired_differences(rows: Sequence[Mapping[str, Any]]) -> str:
    """Challenger minus each opponent with its interval; right of zero the challenger wins.

    Args:
        rows: each with `label`, `difference`, `low`, `high`.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 0.6 + 0.27 * len(rows)))
        axes = figure.subplots()
        for place, row in enumerate(rows):
            low, high = row["low"], row["high"]
            colour = GOOD if low > 0 else BAD if high < 0 else MUTED
            axes.plot([low, high], [-place, -place], color=colour, linewidth=2.4)
            axes.plot(row["difference"], -place, "o", color=colour, markersize=5)
        axes.axvline(0, color=INK, linewidth=0.9)
        axes.set_yticks([-i for i in range(len(rows))], [row["label"] for row in rows])
        axes.set_ylim(-len(rows) + 0.4, 0.6)
        return _svg(figure)


def step_seconds(steps: Sequence[tuple[str, float]]) -> str:
    """Seconds per step, in the order they ran."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 0.5 + 0.24 * len(steps)))
        axes = figure.subplots()
        names = [name for name, _ in steps]
        seconds = [value for _, value in steps]
        axes.barh(range(len(steps)), seconds, color=ACCENT, height=0.62)
        for place, value in enumerate(seconds):
            axes.text(value, place, f" {value:.1f} s", va="center", color=MUTED, fontsize=8)
        axes.set_yticks(range(len(steps)), names)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, max([*seconds, 1.0]) * 1.12)
        return _svg(figure)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None}
    )
    text = buffer.getvalue()
    return text[text.index("<svg") :]
