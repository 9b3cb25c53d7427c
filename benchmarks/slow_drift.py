"""What a chain of challengers loses that are each a little worse than the champion they challenge.

Gate, comparisons and the choice of the reference are those of the product; people and models are
simulated. A model is its quality q: it finds a target of a person with probability p q, where p is
the person's, and two models share what makes a target easy. So many targets have about the error
that 236 people leave on a day of KuaiRand: 4 % of the value, of a difference of two models.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np

from feature_store.settings import Settings
from training.config import Gate
from training.evaluation.boards.interface import Measured
from training.evaluation.bootstrap import Bootstrap
from training.evaluation.gate import decide
from training.evaluation.metrics import LISTS
from training.evaluation.record import CHAMPION, REFERENCE, BoardRow, Entrant, Evaluation
from training.evaluation.samples import UserMetrics
from training.evaluation.scoring import score, who_faces_whom
from training.evaluation.standing import FIRST, standing_after
from training.programs.reference import by_standing, level_of
from training.registry.records import Move, Version, served

GOAL = 0.4
STEPS = {"1% worse": -0.01, "4% worse": -0.04, "equal": 0.0}
"""Each challenger against the champion of its night, in truth."""
NUM_PEOPLE, NUM_TARGETS, NUM_NIGHTS = 236, 8, 60
_SHARED = 0.65
"""Share of the targets whose difficulty two models share; of the others each has its own."""
_RATE = 0.2
_WORTH = 1 / np.log2(np.arange(2, 12))
_FIRST_DAY = date(2024, 1, 1)
_METRIC = "ndcg@10"
_LEGAL = {"illegal_share": 0.0, "repeated_share": 0.0}


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Share of its quality that a chain loses in 60 nights, with and without the reference.

    Args:
        settings: not read.
        quick: one short chain of each kind.
    Returns:
        The measure; `parts` has by kind of challenger the loss and the share of nights on which
        the gate refused.
    """
    chains, nights = (1, 6) if quick else (20, NUM_NIGHTS)
    parts = {
        kind: {
            "with the reference": simulated(step, chains, nights, Gate(guard_metrics=())),
            "champion alone": simulated(step, chains, nights, None),
        }
        for kind, step in STEPS.items()
    }
    slow = parts["1% worse"]
    ours, peer = (slow[name]["lost"] for name in ("with the reference", "champion alone"))
    return {
        "name": "slow_drift",
        "work": f"{chains} chains of {nights} nights, {NUM_PEOPLE} people, each step 1% worse",
        "unit": "share lost",
        "ours": ours,
        "peers": {"champion alone": peer},
        "ratio": ours / peer if peer else None,
        "goal": GOAL,
        "parts": parts,
    }


def simulated(step: float, chains: int, nights: int, gate: Gate | None) -> dict[str, float]:
    """Mean over chains: share of the first champion's quality lost, and of nights refused.

    Args:
        step: a challenger's quality less its champion's, as a share of that.
        chains: how many.
        nights: of each.
        gate: with a reference; None: the same gate without one.
    """
    found = [Chain(np.random.default_rng(seed), gate) for seed in range(chains)]
    for chain in found:
        for night in range(nights):
            chain.night(night, step)
    return {
        "lost": float(np.mean([1 - chain.quality for chain in found])),
        "refused": float(np.mean([1 - len(chain.moves[1:]) / nights for chain in found])),
    }


@dataclass
class Chain:
    """Nights in a row, with the registry's records of them.

    Attributes:
        draws: of people and answers.
        gate: with a reference; None: without one.
        versions: promoted ones by number.
        qualities: of each.
        moves: of the champion.
    """

    draws: np.random.Generator
    gate: Gate | None
    versions: dict[int, Version] = field(default_factory=dict)
    qualities: dict[int, float] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._promote(1.0, _FIRST_DAY, FIRST)

    @property
    def quality(self) -> float:
        """Of the champion that serves, in truth; the first one's is 1."""
        return self.qualities[self.moves[-1].to_version]

    def night(self, number: int, step: float) -> None:
        """Measure a challenger, and promote it where the gate says so."""
        day = _FIRST_DAY + timedelta(days=number + 1)
        quality = self.quality * (1 + step)
        judges = self._judges(day)
        qualities = {label: self.qualities[number] for label, number in judges.items()}
        evaluation = evaluated({"tiger": quality, **qualities}, self.draws)
        if decide(evaluation, self.gate or Gate(guard_metrics=())).promoted is None:
            return
        judge = self.versions[judges.get(REFERENCE, judges[CHAMPION])]
        standing = standing_after(evaluation, "tiger", level_of(judge, _METRIC))
        self._promote(quality, day, standing.level)

    def _judges(self, day: date) -> dict[str, int]:
        champion = self.moves[-1].to_version
        if self.gate is None:
            return {CHAMPION: champion}
        since = day - timedelta(weeks=self.gate.reference_weeks)
        numbers = served(self.moves, since.isoformat(), day.isoformat())
        best = by_standing([self.versions[number] for number in numbers], _METRIC)[0].number
        return {CHAMPION: champion} | ({REFERENCE: best} if best != champion else {})

    def _promote(self, quality: float, day: date, level: float) -> None:
        number, before = len(self.versions) + 1, self.moves[-1].to_version if self.moves else None
        standing = {"digest": str(number), "metric": _METRIC, "level": level}
        self.versions[number] = Version(
            number=number, run_id="", day=day.isoformat(), family="tiger", digest=str(number),
            aliases=(), verdicts={day.isoformat(): {"standing": standing}},
        )  # fmt: skip
        self.qualities[number] = quality
        self.moves.append(
            Move(kind="promote", day=day.isoformat(), from_version=before, to_version=number,
                 digest=str(number), reason="", milliseconds=number, finished=True)
        )  # fmt: skip


def evaluated(qualities: Mapping[str, float], draws: np.random.Generator) -> Evaluation:
    """A night's evaluation of models of some qualities, tiger the challenger."""
    values = dict(zip(qualities, answers([*qualities.values()], draws), strict=True))
    measured = {
        label: Measured({"all": people(values_U)}, (), rows=None)
        for label, values_U in values.items()
    }
    slices, rows = score(
        measured,
        who_faces_whom("tiger", (), "popularity", measured),
        Bootstrap(samples=400),
    )
    entrants = {
        label: Entrant(
            family="tiger", digest=label, day="", generation=None, num_items=1,
            boards={LISTS: BoardRow(slices[label], _LEGAL)},
        )
        for label in measured
    }  # fmt: skip
    return Evaluation(
        challenger="tiger", baselines=(), primary_metric=_METRIC, confidence=0.95,
        bootstrap_samples=400, exclude_seen=True, entrants=entrants, comparisons=tuple(rows),
    )  # fmt: skip


def people(values_U: np.ndarray) -> UserMetrics:
    """One metric of people."""
    number = np.arange(len(values_U))
    return UserMetrics(number, np.full(len(number), NUM_TARGETS), (_METRIC,), values_U[:, None])


def answers(qualities: Sequence[float], draws: np.random.Generator) -> Iterator[np.ndarray]:
    """Each model's mean over every person's targets, all models asked about the same, each [U]."""
    shape = (NUM_PEOPLE, NUM_TARGETS)
    rate_U1 = draws.beta(2, 2 / _RATE - 2, size=(NUM_PEOPLE, 1))
    shared_UT, is_shared_UT = draws.random(shape), draws.random(shape) < _SHARED
    for quality in qualities:
        luck_UT = np.where(is_shared_UT, shared_UT, draws.random(shape))
        share_UT = luck_UT / (rate_U1 * quality)  # a hit below 1, by its place among ten
        place_UT = np.minimum(share_UT * len(_WORTH), len(_WORTH) - 1).astype(int)
        yield np.where(share_UT < 1, _WORTH[place_UT], 0.0).mean(axis=1)
