"""What became of a day, from its run records: one sentence, and which step is to blame."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from feature_store import steps as chain
from training.report.blocks import Tone

Steps = Mapping[str, Mapping[str, Any]]
"""Run records of a day by step name."""
Kind = Literal[
    "promoted", "baseline", "unchanged", "refused", "data_refused", "failed", "stopped", "data_only"
]
STEP_ORDER = tuple(name for name in chain.steps() if name != "write_report")
"""The day's chain, as its tasks run."""
OF_THE_DATA = ("build_items", "ingest_interactions")
"""Steps that bring a delivery in."""
_NEED_ALL = ("evaluate_recommender", "promote_recommender", "recommend", "compare_answers")
_DECISIONS: dict[str, tuple[Kind, Tone]] = {
    "promote": ("promoted", "good"),
    "promote_baseline": ("baseline", "warn"),
    "unchanged": ("unchanged", "good"),
    "refuse": ("refused", "bad"),
}
_IS_WORSE = "That champion is worse than another model beyond chance."
_BROKEN = ("failed", "refused")
IN_SHORT: dict[Kind, str] = {
    "promoted": "promoted",
    "baseline": "baseline promoted",
    "unchanged": "champion stays",
    "refused": "refused by the gate",
    "data_refused": "data refused",
    "failed": "failed",
    "stopped": "stopped half-way",
    "data_only": "data only",
}
"""Kind → a word or two for a table."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a day.

    Attributes:
        kind: of its end.
        tone: of the page.
        sentence: for a person.
        step: that failed, or that came to nothing; empty where every step left its record.
        reason: the step's own words.
    """

    kind: Kind
    tone: Tone
    sentence: str
    step: str = ""
    reason: str = ""

    @property
    def is_decided(self) -> bool:
        """Whether the gate had its say in the run that this is about."""
        return self.kind in ("promoted", "baseline", "unchanged", "refused")


def ordered(steps: Steps) -> list[str]:
    """The steps that left a record, in the order of the chain; the report's own is none of them."""
    known = [name for name in STEP_ORDER if name in steps]
    return known + [n for n in steps if n not in STEP_ORDER and n != "write_report"]


def outcome_of(steps: Steps, stopped_at: str = "") -> Outcome:
    """What became of a day.

    Args:
        steps: its run records.
        stopped_at: a step that ended without a record of its failure, where somebody saw that.
    """
    broken = next((n for n in ordered(steps) if steps[n].get("status") in _BROKEN), "")
    if broken:
        return _broken(broken, steps[broken])
    if stopped_at:
        return Outcome(
            kind="failed", tone="bad", sentence=f"{stopped_at} failed.", step=stopped_at,
            reason="Its process ended before it could say why.",
        )  # fmt: skip
    record = steps.get("promote_recommender", {})
    missing = next((name for name in STEP_ORDER if name not in steps), "")
    if "verdict" in record:
        kind, tone = _DECISIONS[record["verdict"]["decision"]]
        said = _decided(record)
        if record.get("alarms"):
            return Outcome(kind=kind, tone="bad", sentence=f"{said} {_IS_WORSE}")
        return Outcome(kind=kind, tone=tone, sentence=said)
    if not set(steps) - {*OF_THE_DATA, "write_report"}:
        said = "The data of the day came in, and nothing was trained."
        return Outcome(kind="data_only", tone="warn", sentence=said, step=missing)
    said = f"The day stopped before {missing}." if missing else "The day ended without a verdict."
    return Outcome(kind="stopped", tone="bad", sentence=said, step=missing)


def _broken(step: str, record: Mapping[str, Any]) -> Outcome:
    reason = str(record.get("error") or record.get("reason") or "")
    if record["status"] == "refused":
        failed = failed_rules(record)
        rules = f"{len(failed)} rule{'s' if len(failed) != 1 else ''}"
        said = f"The data of the day broke {rules} of {step}." if failed else (
            f"The data of the day were refused by {step}."
        )  # fmt: skip
        return Outcome(kind="data_refused", tone="bad", sentence=said, step=step, reason=reason)
    return Outcome(
        kind="failed", tone="bad", sentence=f"{step} failed.", step=step, reason=reason
    )  # fmt: skip


def of_this_run(steps: Steps, outcome: Outcome) -> Steps:
    """The records without those that an earlier run of the day left behind the step that failed."""
    if outcome.kind not in ("failed", "data_refused") or outcome.step not in STEP_ORDER:
        return steps
    behind = STEP_ORDER[STEP_ORDER.index(outcome.step) + 1 :]
    # Steps between the data and the evaluation don't all wait for each other.
    stale = behind if outcome.step in OF_THE_DATA else set(behind) & set(_NEED_ALL)
    return {name: record for name, record in steps.items() if name not in stale}


def failed_rules(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rules of a checked step that its rows broke."""
    return [rule for rule in record.get("validation", {}).get("rules", ()) if not rule["success"]]


def _decided(record: Mapping[str, Any]) -> str:
    verdict = record["verdict"]
    promoted, challenger = verdict["promoted"], verdict["challenger"]
    decision = verdict["decision"]
    if decision == "promote":
        is_first = record.get("previous_version", 0) is None
        return f"{promoted} became the {'first ' if is_first else ''}champion."
    if decision == "promote_baseline":
        return f"{promoted}, a baseline, became the champion in the place of {challenger}."
    if decision == "unchanged":
        return "The champion stays: its bundle is the one that was trained."
    if record.get("champion_version") is None:
        return f"{challenger} was refused, and there is no champion yet."
    return f"{challenger} was refused, and the champion stays."


def alarms_of(steps: Steps) -> list[str]:
    """What a person should look at, in the order of the chain: `step's subject: sentence`."""
    tokenizer = {**steps.get("train_tokenizer", {}), **steps.get("build_semantic_ids", {})}
    found = [f"embeddings: {text}" for text in steps.get("embed_items", {}).get("alarms") or ()]
    found += [f"tokenizer: {text}" for text in tokenizer.get("alarms") or ()]
    for name in ("train_recommender", "train_baselines"):
        for family, fit in steps.get(name, {}).get("families", {}).items():
            found += [f"{family}: {text}" for text in fit.get("alarms") or ()]
    if collapsed := steps.get("align_recommender", {}).get("collapsed"):
        found.append(f"alignment: stopped early, {collapsed}")
    found += [f"evaluation: {text}" for text in _warnings(steps)]
    decided = steps.get("promote_recommender", {})
    return found + [f"champion: {text}" for text in decided.get("alarms") or ()]


def _warnings(steps: Steps) -> list[str]:
    return list(steps.get("evaluate_recommender", {}).get("warnings", ()))
