"""The gate: decides from one day's evaluation which bundle serves, and says why.

A pure function of the evaluation's facts and the preset's `gate` section. The challenger must be
measured on enough users, legal, above the floor when it is to be the first champion, no loss
against the champion otherwise, and not beaten by a baseline. Where a baseline beats it, the preset
says whether that baseline faces the same rules in its place, or nothing is promoted.

Metrics of feedback (AUC, GAUC, LogLoss) exist for entrants that can rank. Who can't is not compared
on them; where nobody is there to compare with, an order must at least be better than chance.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from training.config import Gate
from training.evaluation.compare import Comparison, Interval
from training.evaluation.metric_names import RANKING_METRICS
from training.evaluation.ranking import CHANCE, SMALLER_IS_BETTER
from training.evaluation.retrieval import ALL

CHAMPION = "champion"
"""Label of the serving bundle among the entrants; candidates are labelled by their family."""

PRETRAINED = "pretrained"
"""Label of an aligned challenger's bundle from before the alignment: one more baseline."""

Decision = Literal["promote", "promote_baseline", "refuse", "unchanged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One measured bundle."""

    label: str
    family: str
    digest: str
    illegal_share: float
    repeated_share: float
    contradictions: Sequence[str] = ()
    auc: Interval | None = None
    """Of the feedback on all targets; None for one that can't rank, or without both kinds of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the evaluation found.

    Attributes:
        num_users: users with a target.
        challenger: label of the family that is meant to serve.
        baselines: labels of those that it must face.
        entrants: by label; the champion among them where there is one.
        comparisons: (ours, theirs, slice, metric) → comparison.
        withdrawn: digests of bundles that a person rolled back; only a person promotes them again.
    """

    num_users: int
    challenger: str
    baselines: Sequence[str]
    entrants: Mapping[str, Entrant]
    comparisons: Mapping[tuple[str, str, str, str], Comparison]
    withdrawn: Collection[str] = ()

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], withdrawn: Collection[str] = ()) -> "Evidence":
        """Evidence from the JSON facts of `evaluate_recommender`."""
        return cls(
            num_users=facts["num_users"],
            challenger=facts["challenger"],
            baselines=tuple(facts["baselines"]),
            entrants={
                label: Entrant(
                    label=label,
                    family=entrant["family"],
                    digest=entrant["digest"],
                    # Whoever only ranks has no list that could break a promise.
                    illegal_share=entrant.get("illegal_share", 0.0),
                    repeated_share=entrant.get("repeated_share", 0.0),
                    contradictions=entrant.get("contradictions", ()),
                    auc=_auc(entrant),
                )
                for label, entrant in facts["entrants"].items()
            },
            comparisons={
                tuple(row[k] for k in ("ours", "theirs", "slice", "metric")): _comparison(row)
                for row in facts["comparisons"]
            },
            withdrawn=withdrawn,
        )

    @property
    def champion(self) -> Entrant | None:
        """The serving bundle, where there is one."""
        return self.entrants.get(CHAMPION)

    def slices(self, ours: str, theirs: str, metric: str) -> list[str]:
        """Slices, other than all targets, on which the two were compared."""
        keys = self.comparisons.keys()
        return sorted(s for a, b, s, m in keys if (a, b, m) == (ours, theirs, metric) and s != ALL)

    def is_unranked(self, ours: str, theirs: str, metric: str) -> bool:
        """Whether the two aren't compared on a metric of feedback: one of them can't rank."""
        return metric in RANKING_METRICS and (ours, theirs, ALL, metric) not in self.comparisons

    def compared(self, ours: str, theirs: str, metric: str, slice_name: str = ALL) -> Comparison:
        """One comparison.

        Raises:
            ValueError: the evaluation did not make it.
        """
        key = (ours, theirs, slice_name, metric)
        if key not in self.comparisons:
            metrics = sorted({found[3] for found in self.comparisons})
            raise ValueError(
                f"the evaluation has no {metric!r} of {ours} against {theirs} on {slice_name!r}; "
                f"it has the metrics {metrics}"
            )
        return self.comparisons[key]


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule and what it found, as a sentence with the numbers."""

    rule: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate says.

    Attributes:
        decision: `unchanged` where the bundle that would be promoted is the champion already.
        promoted: label of the entrant whose bundle becomes champion; None: no alias moves.
        reasons: every rule that was applied, in order, those about `promoted` last.
    """

    decision: Decision
    promoted: str | None
    challenger: str
    reasons: tuple[Reason, ...]

    @property
    def summary(self) -> str:
        """The decision and what decided it, in one sentence."""
        failed = [reason for reason in self.reasons if not reason.passed]
        faced = [reason for reason in self.reasons if reason.rule in ("floor", CHAMPION)]
        deciding = failed or faced
        named = f" {self.promoted}" if self.promoted else ""
        return f"{self.decision}{named}: " + "; ".join(reason.detail for reason in deciding)

    def to_json(self) -> dict[str, Any]:
        """Plain data for the registry and the report."""
        return {**asdict(self), "summary": self.summary}


def decide(evidence: Evidence, gate: Gate) -> Verdict:
    """The verdict on one day's challenger.

    Raises:
        ValueError: the evaluation lacks a comparison that a rule needs.
    """
    challenger = evidence.challenger
    enough = _enough_users(evidence, gate)
    if not enough.passed:
        return _verdict("refuse", None, challenger, [enough])
    faced = [_against_baseline(evidence, gate, challenger, b) for b in evidence.baselines]
    winners = [b for b, met in zip(evidence.baselines, faced, strict=True) if not met.passed]
    if not winners:
        return _admit(evidence, gate, challenger, "promote", [enough, *faced])
    best = max(winners, key=lambda b: _strength(evidence, gate, challenger, b))
    if gate.on_baseline_win == "refuse":
        told = Reason(
            "on_baseline_win", False, f"the preset refuses to promote {best} in its place"
        )
        return _verdict("refuse", None, challenger, [enough, *faced, told])
    told = Reason("on_baseline_win", True, f"{best} stands in for {challenger}, as the preset says")
    return _admit(evidence, gate, best, "promote_baseline", [enough, *faced, told])


def _admit(
    evidence: Evidence, gate: Gate, label: str, decision: Decision, before: list[Reason]
) -> Verdict:
    """The verdict once it is known who is to serve: that entrant against floor and champion."""
    challenger, champion = evidence.challenger, evidence.champion
    if champion is not None and champion.digest == evidence.entrants[label].digest:
        same = Reason("champion", True, f"{label}'s bundle is the champion already")
        return _verdict("unchanged", None, challenger, [*before, same])
    rules = [*_sound(evidence.entrants[label], evidence.withdrawn)]
    if champion is None:
        rules.append(_above_floor(evidence, gate, label))
    else:
        rules.append(_against_champion(evidence, gate, label))
        rules += _guards(evidence, gate, label)
    passed = all(rule.passed for rule in rules)
    return _verdict(
        decision if passed else "refuse",
        label if passed else None,
        challenger,
        [*before, *rules],
    )


def _verdict(
    decision: Decision, promoted: str | None, challenger: str, reasons: list[Reason]
) -> Verdict:
    return Verdict(
        decision=decision, promoted=promoted, challenger=challenger, reasons=tuple(reasons)
    )


def _enough_users(evidence: Evidence, gate: Gate) -> Reason:
    return Reason(
        "minimum_users",
        evidence.num_users >= gate.minimum_users,
        f"{evidence.num_users:,} users evaluated, at least {gate.minimum_users:,} needed",
    )


def _sound(entrant: Entrant, withdrawn: Collection[str]) -> Iterator[Reason]:
    yield Reason(
        "legal",
        entrant.illegal_share == 0 and entrant.repeated_share == 0,
        f"{entrant.label}: {entrant.illegal_share:.2%} of the list places name what does not "
        f"exist, {entrant.repeated_share:.2%} repeat an item",
    )
    yield Reason(
        "consistent",
        not entrant.contradictions,
        f"{entrant.label}: " + ("; ".join(entrant.contradictions) or "its metrics are consistent"),
    )
    if entrant.digest in withdrawn:
        yield Reason(
            "withdrawn",
            False,
            f"{entrant.label}: this very bundle was rolled back before; "
            "`sidereal models promote` brings it back",
        )


def _above_floor(evidence: Evidence, gate: Gate, label: str) -> Reason:
    if label == gate.floor:
        return Reason("floor", True, f"{label} is the floor itself")
    if evidence.is_unranked(label, gate.floor, gate.primary_metric):
        return _above_chance(evidence, "floor", label, gate.floor)
    found = evidence.compared(label, gate.floor, gate.primary_metric)
    return Reason(
        "floor",
        _gain(found, gate.primary_metric).low > 0,
        f"first champion: {_told(label, gate.floor, gate.primary_metric, found)}; "
        f"{_must_gain(gate.primary_metric)}",
    )


def _above_chance(evidence: Evidence, rule: str, label: str, other: str) -> Reason:
    """What stands for a comparison with somebody who can't rank."""
    auc, chance = evidence.entrants[label].auc, CHANCE["auc"]
    if auc is None:
        return Reason(rule, False, f"{label} can't rank, or no target has feedback of both kinds")
    return Reason(
        rule,
        auc.low > chance,
        f"{other} can't rank; {label}'s auc is {auc.point:.4f} (interval {auc.low:.4f} to "
        f"{auc.high:.4f}), whose lower bound must be above {chance}",
    )


def _against_baseline(evidence: Evidence, gate: Gate, label: str, baseline: str) -> Reason:
    metric = gate.primary_metric
    if evidence.is_unranked(label, baseline, metric):
        return Reason("baseline", True, f"{baseline} can't rank: it is not compared on {metric}")
    found = evidence.compared(label, baseline, metric)
    return Reason(
        "baseline",
        _gain(found, metric).high >= 0,
        f"{_told(label, baseline, metric, found)}; "
        f"a baseline wins where the whole interval is {_worse(metric)} 0",
    )


def _against_champion(evidence: Evidence, gate: Gate, label: str) -> Reason:
    metric = gate.primary_metric
    if evidence.is_unranked(label, CHAMPION, metric):
        return _above_chance(evidence, "champion", label, "the champion")
    found = evidence.compared(label, CHAMPION, metric)
    told, gain = _told(label, CHAMPION, metric, found), _gain(found, metric)
    if gate.champion_rule == "better":
        passed, rule = gain.low > 0, _must_gain(metric)
    else:
        passed = gain.high >= 0 and not _lost(found, metric, gate.max_primary_loss)
        rule = (
            "the interval must reach 0 and the loss may not be above "
            f"{gate.max_primary_loss:.1%} of the champion's"
        )
    return Reason("champion", passed, f"{told}; {rule}")


def _guards(evidence: Evidence, gate: Gate, label: str) -> Iterator[Reason]:
    """Guard metrics on all targets, the primary metric on each slice.

    A guard fails on a loss that is both large and more than luck: on few users a point estimate
    alone is often off by more than any sensible tolerance.
    """
    guarded = [(metric, ALL) for metric in gate.guard_metrics]
    metric = gate.primary_metric
    guarded += [(metric, name) for name in evidence.slices(label, CHAMPION, metric)]
    for metric, slice_name in guarded:
        if evidence.is_unranked(label, CHAMPION, metric):
            if evidence.entrants[CHAMPION].auc is not None:
                told = f"{metric}: {label} can't rank, and the champion that it would follow can"
                yield Reason("guard", False, told)
            continue
        found = evidence.compared(label, CHAMPION, metric, slice_name)
        where = metric if slice_name == ALL else f"{metric} on {slice_name}"
        few = slice_name != ALL and found.num_users < gate.minimum_users
        lost = _lost(found, metric, gate.max_guard_loss) and _gain(found, metric).high < 0
        failed = lost and not few
        yield Reason(
            "guard",
            not failed,
            _told(label, CHAMPION, where, found)
            + (
                f"; too few users to judge ({found.num_users:,})"
                if few
                else f"; fails on a loss above {gate.max_guard_loss:.1%} whose interval is "
                f"{_worse(metric)} 0"
            ),
        )


def _gain(found: Comparison, metric: str) -> Interval:
    """The difference, turned so that more is better."""
    difference = found.difference
    if metric not in SMALLER_IS_BETTER:
        return difference
    return Interval(-difference.high, -difference.point, -difference.low)


def _must_gain(metric: str) -> str:
    if metric in SMALLER_IS_BETTER:
        return "the upper bound must be below 0"
    return "the lower bound must be above 0"


def _worse(metric: str) -> str:
    return "above" if metric in SMALLER_IS_BETTER else "below"


def _lost(found: Comparison, metric: str, tolerated: float) -> bool:
    """Whether ours is worse than theirs by more than a share of theirs."""
    if metric in SMALLER_IS_BETTER:
        return found.ours > found.theirs * (1 + tolerated)
    return found.ours < found.theirs * (1 - tolerated)


def _strength(evidence: Evidence, gate: Gate, challenger: str, baseline: str) -> float:
    found = evidence.compared(challenger, baseline, gate.primary_metric).theirs
    return -found if gate.primary_metric in SMALLER_IS_BETTER else found


def _told(ours: str, theirs: str, metric: str, found: Comparison) -> str:
    difference = found.difference
    share = f", {found.relative.point:+.1%}" if found.relative is not None else ""
    return (
        f"{ours} against {theirs}, {metric}: {found.ours:.4f} against {found.theirs:.4f}{share} "
        f"(difference {difference.point:+.4f}, interval {difference.low:+.4f} to "
        f"{difference.high:+.4f}, {found.num_users:,} users)"
    )


def _comparison(row: Mapping[str, Any]) -> Comparison:
    return Comparison(
        num_users=row["num_users"],
        ours=row["ours_mean"],
        theirs=row["theirs_mean"],
        difference=Interval(**row["difference"]),
        relative=Interval(**row["relative"]) if row["relative"] else None,
        probability_better=row["probability_better"],
    )


def _auc(entrant: Mapping[str, Any]) -> Interval | None:
    values = entrant.get("ranking", {}).get(ALL, {}).get("values", {})
    return Interval(**values["auc"]) if "auc" in values else None
