"""What to do about a day on which something is wrong; nothing where nothing is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.evaluation.champion_alarms import ADVICE, rollback_of
from training.report.brief import Brief
from training.report.outcome import OF_THE_DATA, Outcome, Steps, failed_rules

_LONGEST = 400
"""Characters of a step's own words."""
_CHAMPION = "champion: "


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """One thing that is wrong, and what helps.

    Attributes:
        wrong: what happened.
        advice: what to do.
        command: that does it; empty where no command does.
        page: of the documents, that says more; empty without.
    """

    wrong: str
    advice: str
    command: str = ""
    page: str = ""


def remedies(
    steps: Steps, outcome: Outcome, brief: Brief, earlier: Sequence[Brief], preset: str
) -> list[Remedy]:
    """Everything that is wrong with a day, the worst first.

    Args:
        steps: the records of its last run.
        outcome: what became of it.
        brief: the same in numbers.
        earlier: days before it, oldest first.
        preset: its name.
    """
    again = f"sidereal run --preset {preset} --day {brief.day}"
    found: list[Remedy] = []
    if outcome.kind == "data_refused":
        if outcome.step in OF_THE_DATA:
            advice = "Correct the delivery and run the day again. Nothing of it was published."
            found.append(_because(outcome, advice, again, "docs/deliveries.md"))
        else:
            rules = failed_rules(steps[outcome.step])
            what = "Look at the rows that the rules name" if rules else "Change what it names"
            advice = f"{what}, then run the day again."
            found.append(_because(outcome, advice, again, ""))
    elif outcome.step == "compare_answers":
        advice = "Serve neither before it is known why. If the version is new, roll it back."
        page = "docs/operations.md, section Models"
        found.append(_because(outcome, advice, rollback_of(preset), page))
    elif outcome.kind == "failed":
        advice = "Run the day again: it goes on where it ended."
        found.append(_because(outcome, advice, again, "docs/production.md"))
    elif outcome.kind in ("stopped", "data_only"):
        wrong = f"{outcome.step} has left no record." if outcome.step else outcome.sentence
        advice = "Run the day again to have the rest."
        found.append(Remedy(wrong=wrong, advice=advice, command=again))
    elif outcome.kind == "refused":
        found.append(_refusal(steps["promote_recommender"], earlier, preset))
    if outcome.is_decided and "recommend" not in steps:
        command = f"sidereal step recommend --preset {preset} --day {brief.day}"
        wrong = "The table recommendations has nothing of the day."
        found.append(Remedy(wrong=wrong, advice="Write it.", command=command))
    found = [*_champion(steps, preset), *found, *_missing_days(steps, preset, brief.day)]
    return found + [_alarm(text) for text in brief.alarms if not text.startswith(_CHAMPION)]


def _champion(steps: Steps, preset: str) -> list[Remedy]:
    """The champion that serves and should not comes before anything else."""
    alarms = steps.get("promote_recommender", {}).get("alarms") or ()
    page = "docs/operations.md, section Models"
    return [
        Remedy(wrong=f"{_sentence(text)}.", advice=ADVICE, command=rollback_of(preset), page=page)
        for text in alarms
    ]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _because(outcome: Outcome, advice: str, command: str, page: str) -> Remedy:
    reason = " ".join(outcome.reason.split())
    cut = reason if len(reason) <= _LONGEST else reason[:_LONGEST].rsplit(" ", 1)[0] + " …"
    wrong = cut or outcome.sentence
    return Remedy(wrong=wrong, advice=advice, command=command, page=page)


def _refusal(record: Mapping[str, Any], earlier: Sequence[Brief], preset: str) -> Remedy:
    failed = {reason["rule"] for reason in record["verdict"]["reasons"] if not reason["passed"]}
    before = 0
    for brief in reversed(earlier):
        if brief.kind != "refused":
            break
        before += 1
    wrong = f"The gate refused {record['verdict']['challenger']}" + (
        f", for the {before + 1}{_ordinal(before + 1)} day in a row." if before else "."
    )
    history = f"sidereal models history --preset {preset}"
    page = "docs/presets.md, section gate"
    if "withdrawn" in failed:
        advice = "A person rolled this bundle back. Only a person can promote it again."
        version = record.get("challenger_version") or "VERSION"
        command = f'sidereal models promote {version} --preset {preset} --reason "…"'
        return Remedy(wrong=wrong, advice=advice, command=command)
    if "on_baseline_win" in failed:
        advice = "A baseline is better. Set gate.on_baseline_win to promote_baseline to serve it."
        return Remedy(wrong=wrong, advice=advice, page=page)
    if "minimum_users" in failed:
        advice = "Wait for more people, or lengthen evaluation.holdout_days."
        return Remedy(wrong=wrong, advice=advice, page=page)
    if "reference" in failed:
        advice = "Small losses of several days have added up. Look for what changed since then."
        return Remedy(wrong=wrong, advice=advice, command=history, page=page)
    if record.get("champion_version") is None:
        advice = "Nothing is recommended until a challenger beats the floor. Compare the metrics."
        return Remedy(wrong=wrong, advice=advice, command=history, page=page)
    advice = "The champion goes on recommending. " + (
        "Look for what changed in the data." if before else "Wait for the next day."
    )
    return Remedy(wrong=wrong, advice=advice, command=history)


def _ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def _missing_days(steps: Steps, preset: str, day: str) -> list[Remedy]:
    missing = steps.get("ingest_interactions", {}).get("missing_days") or []
    if not missing:
        return []
    days = missing[0] if len(missing) == 1 else f"{missing[0]} to {missing[-1]}"
    return [
        Remedy(
            wrong=f"{len(missing)} earlier day{'s' * (len(missing) > 1)} never came in: {days}.",
            advice="Fill them in.",
            command=f"sidereal run --preset {preset} --from {missing[0]} --to {day}",
            page="docs/production.md",
        )
    ]


_ADVICE = {
    "embeddings": ("Name columns with content in the preset's catalogue.", "source"),
    "tokenizer": ("Change the tokenizer's levels or codebook.", "tokenizer"),
    "alignment": ("Lower alignment.learning_rate_share.", "alignment"),
    "evaluation": ("Read the comparison with the champion with this in mind.", ""),
}


def _alarm(text: str) -> Remedy:
    subject = text.partition(":")[0]
    advice, section = _ADVICE.get(subject, ("Look at the curves of the fit.", "training"))
    page = f"docs/presets.md, section {section}" if section else ""
    return Remedy(wrong=_sentence(text), advice=advice, page=page)
