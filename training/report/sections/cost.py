"""Where the day's time went."""

from training.report import charts
from training.report.blocks import Section, facts, folded, note, picture
from training.report.outcome import Steps, ordered


def cost(steps: Steps, price_per_hour: float) -> Section | None:
    """Seconds of each step and, where a machine's price is set, what they cost."""
    seconds = [(name, float(steps[name].get("seconds", 0.0))) for name in ordered(steps)]
    if not seconds:
        return None
    total = sum(value for _, value in seconds)
    slowest, most = max(seconds, key=lambda step: step[1])
    spent = [("cost, in your currency", total / 3600 * price_per_hour)] if price_per_hour else []
    blocks = [
        facts(
            ("seconds of work", f"{total:,.1f}"),
            (f"of them in {slowest}", f"{most:,.1f}"),
            *spent,
        ),
        folded("Seconds of each step", picture(charts.step_seconds(seconds))),
    ]
    if not price_per_hour:
        blocks.append(note("The cost is shown where SIDEREAL_MACHINE_COST_PER_HOUR is set."))
    return Section(anchor="cost", title="Time and cost", half=True, blocks=blocks)
