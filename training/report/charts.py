"""The report's pictures: facts in, one inline SVG out."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl

from training.report.drawing import (
    ACCENT,
    BAD,
    GOOD,
    HALF,
    INK,
    MUTED,
    STRENGTH_COLOURS,
    STRENGTH_NAMES,
    WIDE,
    family_colour,
    figure_of,
    forest,
    name_days,
    name_rows,
    svg,
)


def daily_volume(days: Sequence[str], counts: Mapping[int, Sequence[int]]) -> str:
    """Published rows per day, stacked by strength, the run's own day last.

    Args:
        days: ISO days, oldest first.
        counts: strength → rows per day, aligned with `days`.
    """
    with figure_of(HALF, 2.2) as figure:
        axes = figure.subplots()
        floor = [0] * len(days)
        for strength in sorted(counts):
            rows = list(counts[strength])
            axes.bar(
                range(len(days)), rows, bottom=floor, width=0.8,
                color=STRENGTH_COLOURS.get(strength, ACCENT),
                label=f"{strength} {STRENGTH_NAMES.get(strength, '')}",
            )  # fmt: skip
            floor = [low + row for low, row in zip(floor, rows, strict=True)]
        name_days(axes, days, 10)
        figure.legend(ncols=5, loc="outside upper left", fontsize=8, columnspacing=1.2)
        return svg(figure, f"Rows published on each of {len(days)} days, by strength")


def code_usage(counts_per_level: Sequence[Sequence[int]]) -> str:
    """Items per code, codes sorted by use, one panel a level; a flat line is a well-used level."""
    with figure_of(HALF, 1.7) as figure:
        panels = figure.subplots(1, len(counts_per_level), squeeze=False, sharey=True)[0]
        for level, (axes, counts) in enumerate(zip(panels, counts_per_level, strict=True), 1):
            sizes = sorted(counts, reverse=True)
            used = sum(count > 0 for count in sizes)
            axes.bar(range(len(sizes)), sizes, width=1.0, color=ACCENT)
            axes.set_title(f"level {level}: {used} of {len(sizes)} used")
            axes.set_xlabel("codes by use")
            axes.grid(axis="x", visible=False)
        panels[0].set_ylabel("items")
        return svg(figure, "Items per code, level by level")


def prefix_clusters(points: Sequence[Sequence[float]], first_codes: Sequence[int]) -> str:
    """Item embeddings in 2-D, one colour per level-1 code; islands of one colour are clusters."""
    with figure_of(7.6, 4.2) as figure:
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
        title = f"{len(points):,} items, coloured by level-1 code (of {biggest + 1})"
        axes.set_title(title)
        return svg(figure, title)


def training_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Training loss, and each metric that stopped a fit, per epoch; one line a family.

    Args:
        curves: family → epochs, each with `epoch`, `train_loss`, `validation_metric` and, what that
            is, `validated_by`.
    """
    metrics = list(dict.fromkeys(e["validated_by"] for epochs in curves.values() for e in epochs))
    with figure_of(WIDE, 1.7) as figure:
        loss, *others = figure.subplots(1, 1 + len(metrics))
        panel = dict(zip(metrics, others, strict=True))
        for family, epochs in curves.items():
            colour = family_colour(family)
            x = [e["epoch"] for e in epochs]
            loss.plot(x, [e["train_loss"] for e in epochs], color=colour, label=family, marker=".")
            values = [e["validation_metric"] for e in epochs]
            panel[epochs[0]["validated_by"]].plot(x, values, color=colour, marker=".", label=family)
        loss.set_title("training loss, nats")
        for name, axes in panel.items():
            axes.set_title("validation loss, nats" if name == "loss" else f"validation {name}")
        for axes in (loss, *others):
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend()
        return svg(figure, "Training loss and validation, epoch by epoch")


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
    with figure_of(WIDE, 2.0) as figure:
        panels = figure.subplots(1, len(shown))
        for axes, (name, title) in zip(panels, shown.items(), strict=True):
            for family, epochs in curves.items():
                points = [(e["epoch"], e[name]) for e in epochs if name in e]
                axes.plot(*zip(*points, strict=True), color=family_colour(family), marker=".")
            axes.set_title(title)
            axes.set_xlabel("epoch")
        return svg(figure, "Retrieval and ranking, epoch by epoch")


def metric_intervals(rows: Sequence[Mapping[str, Any]]) -> str:
    """A forest plot: one panel a metric, one row a candidate, its interval as a bar.

    Args:
        rows: each with `metric`, `family`, `label`, `value`, `low`, `high`.
    """
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    families = list(dict.fromkeys(row["family"] for row in rows))
    with figure_of(HALF, 0.7 + 0.26 * len(families)) as figure:
        panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            for row in (r for r in rows if r["metric"] == metric):
                interval = (row["low"], row["value"], row["high"])
                place = families.index(row["family"])
                forest(axes, place, interval, family_colour(row["family"]))
            axes.set_title(metric)
            axes.set_xlim(left=0)
            axes.locator_params(axis="x", nbins=4)
            axes.tick_params(axis="y", length=0)
        labels = {row["family"]: row["label"] for row in rows}
        name_rows(panels[0], [labels[family] for family in families])
        return svg(figure, f"{', '.join(metrics)} of each entrant, with intervals")


def calibration(
    curves: Mapping[str, Sequence[tuple[float, float]]], labels: Mapping[str, str]
) -> str:
    """What was said against what happened; on the diagonal the two are the same.

    Args:
        curves: family → mean probability and share of positives of bins of like probability.
        labels: family → its name in the legend.
    """
    with figure_of(HALF, 2.6) as figure:
        axes = figure.subplots()
        axes.axline((0, 0), slope=1, color=MUTED, linewidth=0.9)
        for family, points in curves.items():
            axes.plot(
                *zip(*points, strict=True), color=family_colour(family), marker=".",
                label=labels[family],
            )  # fmt: skip
        furthest = max(value for points in curves.values() for point in points for value in point)
        axes.set(xlim=(0, furthest * 1.05), ylim=(0, furthest * 1.05), aspect="equal")
        axes.set_xlabel("probability that was given")
        axes.set_ylabel("share of positive feedback")
        axes.legend()
        return svg(figure, "Calibration, in bins of as many events each")


def paired_differences(rows: Sequence[Mapping[str, Any]], *, less_is_better: bool = False) -> str:
    """Challenger minus each opponent with its interval; green where the challenger wins.

    Args:
        rows: each with `label`, `difference`, `low`, `high`.
        less_is_better: whether the challenger wins on the left of zero.
    """
    right, left = (BAD, GOOD) if less_is_better else (GOOD, BAD)
    with figure_of(HALF, 0.4 + 0.22 * len(rows)) as figure:
        axes = figure.subplots()
        for place, row in enumerate(rows):
            low, high = row["low"], row["high"]
            colour = right if low > 0 else left if high < 0 else MUTED
            forest(axes, place, (low, row["difference"], high), colour)
        axes.axvline(0, color=INK, linewidth=0.9)
        name_rows(axes, [row["label"] for row in rows])
        return svg(figure, "Differences, with intervals")


def step_seconds(steps: Sequence[tuple[str, float]]) -> str:
    """Seconds per step, in the order they ran."""
    with figure_of(HALF, 0.35 + 0.21 * len(steps)) as figure:
        axes = figure.subplots()
        seconds = [value for _, value in steps]
        axes.barh(range(len(steps)), seconds, color=ACCENT, height=0.62)
        for place, value in enumerate(seconds):
            axes.text(value, place, f" {value:,.1f} s", va="center", color=MUTED, fontsize=8)
        axes.set_yticks(range(len(steps)), [name for name, _ in steps])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, max([*seconds, 1.0]) * 1.14)
        return svg(figure, "Seconds of work in each step")
