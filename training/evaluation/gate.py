"""The gate: decides from one day's evaluation which bundle serves, and says why.

A pure function of the evaluation's record and the preset's `gate` section. The challenger must be
measured on enough users, legal, above the floor when it is to be the first champion, no loss
against the champion and little against the best one of the last weeks otherwise, and not beaten by
a baseline. Where a baseline beats it, the preset says whether that baseline faces the same rules in
its place, or nothing is promoted.

Not every entrant answers every board: AUC, GAUC and LogLoss are of those that can rank. Who does
not answer is not compared; where nobody is there to compare with, an order must at least be better
than chance.
"""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from feature_store.preset import PresetError
from training.config import Gate
from training.evaluation.metrics import CANNOT, FEEDBACK, LISTS, metric_of, order_of
from training.evaluation.record import (
    ALL,
    CHAMPION,
    REFERENCE,
    BoardRow,
    Entrant,
    Evaluation,
    Interval,
)
from training.evaluation.shares import in_words, is_loss_above

Decision = Literal["promote", "promote_baseline", "refuse", "unchanged"]


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


def require_measured(gate: Gate, names: Collection[str]) -> None:
    """Refuse a gate that asks for what was not measured of the challenger.

    Args:
        gate: the preset's.
        names: metrics that were measured.
    Raises:
        PresetError: with the metrics that are missing, and those there are.
    """
    # A guard of feedback guards those who can rank; it may be that nobody can.
    guards = {name for name in gate.guard_metrics if metric_of(name).board != FEEDBACK}
    unknown = sorted({gate.primary_metric, *guards} - set(names))
    if unknown:
        raise PresetError(
            f"the gate asks for {', '.join(unknown)}, the evaluation measures "
            f"{', '.join(sorted(names))}; "
            "change gate.primary_metric, gate.guard_metrics or evaluation.cutoffs"
        )


def decide(evaluation: Evaluation, gate: Gate, withdrawn: Collection[str] = ()) -> Verdict:
    """The verdict on one day's challenger.

    Args:
        evaluation: of the day.
        gate: the preset's.
        withdrawn: digests of bundles that a person rolled back; only a person promotes them again.
    Raises:
        ValueError: the evaluation lacks a comparison that a rule needs.
    """
    challenger, baselines = evaluation.challenger, evaluation.baselines
    enough = _enough_users(evaluation, gate)
    if not enough.passed:
        return _verdict("refuse", None, challenger, [enough])
    faced = [_against_baseline(evaluation, gate, challenger, b) for b in baselines]
    winners = [b for b, met in zip(baselines, faced, strict=True) if not met.passed]
    if not winners:
        return _admit(evaluation, gate, challenger, "promote", [enough, *faced], withdrawn)
    best = max(winners, key=lambda b: _strength(evaluation, gate, challenger, b))
    if gate.on_baseline_win == "refuse":
        told = Reason(
            "on_baseline_win", False, f"the preset refuses to promote {best} in its place"
        )
        return _verdict("refuse", None, challenger, [enough, *faced, told])
    told = Reason("on_baseline_win", True, f"{best} stands in for {challenger}, as the preset says")
    return _admit(evaluation, gate, best, "promote_baseline", [enough, *faced, told], withdrawn)


def _admit(
    evaluation: Evaluation,
    gate: Gate,
    label: str,
    decision: Decision,
    before: list[Reason],
    withdrawn: Collection[str],
) -> Verdict:
    """The verdict once it is known who is to serve: that entrant against floor and champion."""
    challenger, champion = evaluation.challenger, evaluation.champion
    entrant = evaluation.entrants[label]
    if champion is not None and champion.digest == entrant.digest:
        same = Reason("champion", True, f"{label}'s bundle is the champion already")
        return _verdict("unchanged", None, challenger, [*before, same])
    rules = [*_sound(label, entrant, withdrawn)]
    if champion is None:
        rules.append(_above_floor(evaluation, gate, label))
    else:
        rules.append(_against_champion(evaluation, gate, label))
        rules += _against_reference(evaluation, gate, label)
        rules += _guards(evaluation, gate, label)
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


def _enough_users(evaluation: Evaluation, gate: Gate) -> Reason:
    num_users = evaluation.sizes.num_users
    return Reason(
        "minimum_users",
        num_users >= gate.minimum_users,
        f"{num_users:,} users evaluated, at least {gate.minimum_users:,} needed",
    )


def _sound(label: str, entrant: Entrant, withdrawn: Collection[str]) -> Iterator[Reason]:
    if LISTS in entrant.boards:  # who only ranks has no list that could break a promise
        yield from _sound_lists(label, entrant.boards[LISTS])
    if entrant.digest in withdrawn:
        yield Reason(
            "withdrawn",
            False,
            f"{label}: this very bundle was rolled back before; "
            "`sidereal models promote` brings it back",
        )


def _sound_lists(label: str, lists: BoardRow) -> Iterator[Reason]:
    illegal, repeated = lists.facts["illegal_share"], lists.facts["repeated_share"]
    yield Reason(
        "legal",
        illegal == 0 and repeated == 0,
        f"{label}: {illegal:.2%} of the list places name what does not "
        f"exist, {repeated:.2%} repeat an item",
    )
    yield Reason(
        "consistent",
        not lists.contradictions,
        f"{label}: " + ("; ".join(lists.contradictions) or "its metrics are consistent"),
    )


def _above_floor(evaluation: Evaluation, gate: Gate, label: str) -> Reason:
    metric = gate.primary_metric
    if label == gate.floor:
        return Reason("floor", True, f"{label} is the floor itself")
    if _is_unanswered(evaluation, label, gate.floor, metric):
        return _above_chance(evaluation, "floor", label, gate.floor, metric)
    row = evaluation.compared(label, gate.floor, metric)
    return Reason(
        "floor",
        row.gain.low > 0,
        f"first champion: {in_words(evaluation, row)}; {_must_gain(metric)}",
    )


def _is_unanswered(evaluation: Evaluation, ours: str, theirs: str, metric: str) -> bool:
    """Whether two aren't compared because one does not answer, or targets don't define the metric.

    Any other comparison that is missing is an error, which `Evaluation.compared` raises.
    """
    if evaluation.find(ours, theirs, metric) is not None:
        return False
    about = metric_of(metric)
    both = all(about.board in evaluation.entrants[label].boards for label in (ours, theirs))
    return about.may_be_undefined or not both


def _order(entrant: Entrant, metric: str) -> Interval | None:
    """What chance can be compared with on a metric's board; None for one that does not answer."""
    order = order_of(metric_of(metric).board)
    return entrant.value(order.name) if order else None


def _above_chance(evaluation: Evaluation, rule: str, label: str, other: str, metric: str) -> Reason:
    """What stands for a comparison with somebody who does not answer."""
    board = metric_of(metric).board
    order, bounds = order_of(board), _order(evaluation.entrants[label], metric)
    if order is None or order.chance is None or bounds is None:
        return Reason(
            rule, False, f"{label} {CANNOT[board]}, or no target has feedback of both kinds"
        )
    return Reason(
        rule,
        bounds.low > order.chance,
        f"{other} {CANNOT[board]}; {label}'s {order.name} is {bounds.point:.4f} (interval "
        f"{bounds.low:.4f} to {bounds.high:.4f}), whose lower bound must be above {order.chance}",
    )


def _against_baseline(evaluation: Evaluation, gate: Gate, label: str, baseline: str) -> Reason:
    metric = gate.primary_metric
    if _is_unanswered(evaluation, label, baseline, metric):
        cannot = CANNOT[metric_of(metric).board]
        return Reason("baseline", True, f"{baseline} {cannot}: it is not compared on {metric}")
    row = evaluation.compared(label, baseline, metric)
    return Reason(
        "baseline",
        row.gain.high >= 0,
        f"{in_words(evaluation, row)}; a baseline wins where the whole interval is "
        f"{_worse(metric)} 0",
    )


def _against_champion(evaluation: Evaluation, gate: Gate, label: str) -> Reason:
    metric = gate.primary_metric
    if _is_unanswered(evaluation, label, CHAMPION, metric):
        return _above_chance(evaluation, "champion", label, "the champion", metric)
    row = evaluation.compared(label, CHAMPION, metric)
    if gate.champion_rule == "better":
        passed, rule = row.gain.low > 0, _must_gain(metric)
    else:
        passed = row.gain.high >= 0 and not is_loss_above(evaluation, row, gate.max_primary_loss)
        rule = (
            "the interval must reach 0 and the loss may not be above "
            f"{gate.max_primary_loss:.1%} of what the champion has above chance"
        )
    return Reason("champion", passed, f"{in_words(evaluation, row)}; {rule}")


def _against_reference(evaluation: Evaluation, gate: Gate, label: str) -> Iterator[Reason]:
    """The budget of a chain of small losses; nothing where the champion is the reference.

    By the point estimate, as against the champion: by the lower bound nobody passes on few users.
    """
    metric, reference = gate.primary_metric, evaluation.entrants.get(REFERENCE)
    budget = gate.reference_budget
    if reference is None or budget is None:
        return
    who = f"the reference ({reference.family} of {reference.day})"
    if _is_unanswered(evaluation, label, REFERENCE, metric):
        told = f"{label} or {who} {CANNOT[metric_of(metric).board]}: it is not compared on {metric}"
        yield Reason("reference", True, told)
        return
    row = evaluation.compared(label, REFERENCE, metric)
    before = evaluation.find(label, CHAMPION, metric)
    is_better = before is not None and before.gain.low > 0
    is_within = not is_loss_above(evaluation, row, budget)
    rule = (
        f"better than the champion beyond chance, which {who} can't hinder"
        if is_better and not is_within
        else f"the loss may not be above {budget:.1%} of what {who}, the best "
        f"champion of {gate.reference_weeks} weeks, has on the same questions"
    )
    yield Reason("reference", is_within or is_better, f"{in_words(evaluation, row)}; {rule}")


def _guards(evaluation: Evaluation, gate: Gate, label: str) -> Iterator[Reason]:
    """Guard metrics on all targets, the primary metric on each slice.

    A guard fails on a loss that is both large and more than luck: on few users a point estimate
    alone is often off by more than any sensible tolerance.
    """
    guarded = [(metric, ALL) for metric in gate.guard_metrics]
    primary = gate.primary_metric
    guarded += [(primary, name) for name in evaluation.slices(label, CHAMPION, primary)]
    for metric, slice_name in guarded:
        if _is_unanswered(evaluation, label, CHAMPION, metric):
            if _order(evaluation.entrants[CHAMPION], metric) is not None:
                told = (
                    f"{metric}: {label} {CANNOT[metric_of(metric).board]}, and the champion that "
                    "it would follow can"
                )
                yield Reason("guard", False, told)
            continue
        row = evaluation.compared(label, CHAMPION, metric, slice_name)
        few = slice_name != ALL and row.num_users < gate.minimum_users
        lost = is_loss_above(evaluation, row, gate.max_guard_loss) and row.gain.high < 0
        yield Reason(
            "guard",
            few or not lost,
            in_words(evaluation, row)
            + (
                f"; too few users to judge ({row.num_users:,})"
                if few
                else f"; fails on a loss above {gate.max_guard_loss:.1%} of what is above chance "
                f"whose interval is {_worse(metric)} 0"
            ),
        )


def _must_gain(metric: str) -> str:
    if metric_of(metric).higher_is_better:
        return "the lower bound must be above 0"
    return "the upper bound must be below 0"


def _worse(metric: str) -> str:
    return "below" if metric_of(metric).higher_is_better else "above"


def _strength(evaluation: Evaluation, gate: Gate, challenger: str, baseline: str) -> float:
    row = evaluation.compared(challenger, baseline, gate.primary_metric)
    return row.about.sign * row.their_value
