"""The pictures of runs beside each other: what decided today, the last runs, the champions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from training.evaluation.record import Interval
from training.report.drawing import (
    ACCENT,
    BAD,
    FAMILY_COLOURS,
    GOOD,
    INK,
    MUTED,
    STRENGTH_COLOURS,
    STRENGTH_NAMES,
    WIDE,
    figure_of,
    forest,
    name_days,
    name_rows,
    svg,
)
from training.report.outcome import Kind

_DWARFS = 20
"""Times the usual rows of a run that make the others' bars vanish."""
_THOUSANDS = "{x:,.0f}"
_KIND_COLOURS: dict[Kind, str] = {
    "promoted": ACCENT, "baseline": ACCENT, "unchanged": ACCENT, "refused": BAD,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Faced:
    """Somebody that the challenger is shown beside.

    Attributes:
        label: for a person.
        value: of the deciding metric; None where it was not measured.
        difference: challenger less this one; None for the challenger, or without a comparison.
        is_better: whether the difference is in the challenger's favour, True, against it, False,
            or neither, None.
    """

    label: str
    value: Interval | None
    difference: Interval | None = None
    is_better: bool | None = None


def deciding(metric: str, rows: Sequence[Faced], *, confidence: float, less_is_better: bool) -> str:
    """Two forests side by side: the deciding metric of each, and the challenger less each.

    Args:
        metric: its name.
        rows: the challenger, then those that it faces.
        confidence: of the intervals.
        less_is_better: whether a smaller value wins.
    """
    with figure_of(7.9, 1.0 + 0.4 * len(rows)) as figure:
        values, differences = figure.subplots(1, 2, sharey=True)
        for place, row in enumerate(rows):
            if row.value is not None:
                forest(values, place, _bounds(row.value), ACCENT if not place else MUTED, size=6)
            if row.difference is not None:
                colour = {True: GOOD, False: BAD, None: MUTED}[row.is_better]
                forest(differences, place, _bounds(row.difference), colour, size=6)
        better = "left" if less_is_better else "right"
        values.set_title(f"{metric}, {confidence:.0%} intervals")
        differences.set_title(f"{rows[0].label} minus each")
        differences.set_xlabel(f"{better} of 0 {rows[0].label} is better; grey holds 0")
        differences.axvline(0, color=INK, linewidth=0.9)
        name_rows(values, [row.label for row in rows])
        differences.grid(axis="y", visible=False)
        differences.tick_params(axis="y", length=0)
        for axes in (values, differences):
            axes.locator_params(axis="x", nbins=5)
        said = "; ".join(f"{r.label} {r.value.point:.4f}" for r in rows if r.value is not None)
        return svg(figure, f"{metric}: {said}")


def _bounds(interval: Interval) -> tuple[float, float, float]:
    return interval.low, interval.point, interval.high


@dataclass(frozen=True, kw_only=True)
class Run:
    """One day of the trend.

    Attributes:
        day: ISO.
        kind: of its end.
        value: the challenger's deciding metric; None without one, or of another metric.
        champion: the champion's on the same targets.
        rows: published.
        strengths: events by strength.
        seconds: of work.
    """

    day: str
    kind: Kind
    value: Interval | None
    champion: Interval | None
    rows: int | None
    strengths: Mapping[int, int]
    seconds: float


def trend(metric: str, runs: Sequence[Run]) -> str:
    """Four small pictures of the last runs: metric, rows, mix of strengths, seconds.

    Args:
        metric: what decides; empty where no run has one.
        runs: oldest first.
    """
    days = [run.day for run in runs]
    with figure_of(WIDE, 1.95) as figure:
        first, rows, mix, seconds = figure.subplots(1, 4)
        _metrics(first, runs)
        first.set_title(metric or "deciding metric")
        _rows(rows, runs)
        _mix(mix, runs)
        seconds.bar(range(len(runs)), [run.seconds for run in runs], width=0.7, color=ACCENT)
        seconds.yaxis.set_major_formatter(_THOUSANDS)
        seconds.set_title("seconds of work")
        for axes in (first, rows, mix, seconds):
            name_days(axes, days, 5)
            axes.set_xlim(-0.6, max(len(runs) - 0.4, 3.6))
        for axes in (first, mix, seconds):
            axes.locator_params(axis="y", nbins=4)
        return svg(figure, f"The last {len(runs)} runs, up to {days[-1]}")


@dataclass(frozen=True, kw_only=True)
class Link:
    """One run of a chain of champions, measured on its own questions.

    Attributes:
        day: ISO.
        kind: of its end.
        lead: of the challenger over the reference, as a share of what that one has above chance.
        champion: the same of the champion that was challenged; None where it was not measured.
    """

    day: str
    kind: Kind
    lead: Interval
    champion: float | None


def chain(metric: str, links: Sequence[Link], *, budget: float) -> str:
    """Challenger and champion of each run against the reference, and what may be lost.

    Args:
        metric: what decides.
        links: oldest first.
        budget: largest loss, as a share.
    """
    with figure_of(WIDE, 2.1) as figure:
        axes = figure.subplots()
        axes.axhline(0, color=INK, linewidth=0.9)
        axes.axhline(-budget, color=BAD, linewidth=1.2, linestyle="--", label="budget")
        served = [(place, link.champion) for place, link in enumerate(links)]
        _ticks(axes, [(place, lead) for place, lead in served if lead is not None])
        for place, link in enumerate(links):
            colour = _KIND_COLOURS.get(link.kind, MUTED)
            low, point, high = _bounds(link.lead)
            axes.plot([place, place], [low, high], color=colour, linewidth=2.2)
            axes.plot(place, point, "o", color=colour, markersize=4.5)
        _name_outcomes(axes, [link.kind for link in links])
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:+.0%}")
        axes.locator_params(axis="y", nbins=5)
        axes.set_title(f"{metric} against the reference, the best champion of the last weeks")
        name_days(axes, [link.day for link in links], 12)
        axes.set_xlim(-0.6, max(len(links) - 0.4, 3.6))
        last = links[-1]
        said = f"{last.lead.point:+.1%} against the reference on {last.day}, budget {-budget:.1%}"
        return svg(figure, f"{metric} of {len(links)} runs: {said}")


def _ticks(axes: Axes, points: Sequence[tuple[int, float]]) -> None:
    """The champion's value of each run that has one, as (place, value)."""
    if points:
        axes.plot(
            [place for place, _ in points],
            [value for _, value in points],
            "_", color=FAMILY_COLOURS["champion"], markersize=9, markeredgewidth=2,
            label="champion",
        )  # fmt: skip


def _name_outcomes(axes: Axes, kinds: Sequence[Kind]) -> None:
    axes.plot([], [], "o-", color=ACCENT, label="challenger", markersize=4)
    if "refused" in kinds:
        axes.plot([], [], "o-", color=BAD, label="refused", markersize=4)
    axes.margins(y=0.45)
    axes.legend(fontsize=7.5, ncols=4, loc="upper left", handlelength=1.2, columnspacing=1.0)


def _metrics(axes: Axes, runs: Sequence[Run]) -> None:
    measured = [(place, run) for place, run in enumerate(runs) if run.value is not None]
    _ticks(axes, [(n, run.champion.point) for n, run in measured if run.champion is not None])
    for place, run in measured:
        if run.value is not None:
            colour = _KIND_COLOURS.get(run.kind, MUTED)
            axes.plot([place, place], [run.value.low, run.value.high], color=colour, linewidth=2.2)
            axes.plot(place, run.value.point, "o", color=colour, markersize=4.5)
    _name_outcomes(axes, [run.kind for _, run in measured])


def _rows(axes: Axes, runs: Sequence[Run]) -> None:
    """Rows a run; on a scale of powers where one run, often the first, dwarfs the others."""
    counts = [run.rows or 0 for run in runs]
    axes.bar(range(len(runs)), counts, width=0.7, color=ACCENT)
    usual = sorted(count for count in counts if count)[: max(1, len(counts) // 2)]
    is_dwarfed = bool(usual) and max(counts) > _DWARFS * usual[-1]
    if is_dwarfed:
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(1, min(usual) / 4))
        axes.minorticks_off()
    axes.yaxis.set_major_formatter(_THOUSANDS)
    axes.set_title("events published" + (", powers of 10" if is_dwarfed else ""))


def _share(strengths: Mapping[int, int], strength: int) -> float:
    return strengths.get(strength, 0) / max(1, sum(strengths.values()))


def _mix(axes: Axes, runs: Sequence[Run]) -> None:
    """Shares of the strengths, a column a run; a run without counts has none."""
    floor = [0.0] * len(runs)
    for strength in sorted({strength for run in runs for strength in run.strengths}):
        shares = [_share(run.strengths, strength) for run in runs]
        axes.bar(
            range(len(runs)), shares, bottom=floor, width=0.7,
            color=STRENGTH_COLOURS.get(strength, ACCENT),
            label=STRENGTH_NAMES.get(strength, str(strength)),
        )  # fmt: skip
        floor = [low + share for low, share in zip(floor, shares, strict=True)]
    axes.set_title("mix of strengths")
    axes.set_ylim(0, 1)
    if runs and any(run.strengths for run in runs):
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(
            handles[::-1], labels[::-1], fontsize=7.5, loc="center left", handlelength=0.9,
            bbox_to_anchor=(1.0, 0.5), borderaxespad=0.2,
        )  # fmt: skip
