"""Evaluations for tests of what reads them: gate, report, summary."""

from training.evaluation.metrics import EVENT_LISTS, FEEDBACK, LISTS, SLATES, metric_of
from training.evaluation.record import (
    ALL,
    BoardRow,
    Comparison,
    Entrant,
    Evaluation,
    Interval,
    Slice,
)

BOARDS_IN_ORDER = (LISTS, FEEDBACK, SLATES, EVENT_LISTS)
LEGAL = {"illegal_share": 0.0, "repeated_share": 0.0}


def around(point, half=0.01):
    return Interval(point - half, point, point + half)


def board(metrics, *, slices=(), facts=None, num_users=200, contradictions=(), base_rate=None):
    """A board's row; `slices` have the metrics of all targets, those ending in `:` have nobody.

    `base_rate` is the share of positives of a board of feedback.
    """
    size = (num_users, 3 * num_users)
    rows = {ALL: Slice(*size, metrics, {} if base_rate is None else {"base_rate": base_rate})}
    rows |= {
        name.rstrip(":"): Slice(0, 0) if name.endswith(":") else Slice(*size, metrics)
        for name in slices
    }
    return BoardRow(rows, facts or {}, tuple(contradictions), 1.5)


def entrant(label, *, digest=None, family=None, lists=None, facts=None, contradictions=(), **rest):
    """An entrant with a board of lists, and others by name."""
    rows = {
        LISTS: board(
            lists or {}, facts=LEGAL | (facts or {}), contradictions=contradictions,
            slices=rest.pop("slices", ()), num_users=rest.pop("num_users", 200),
        ),
        **rest,
    }  # fmt: skip
    return Entrant(
        family=family or label,
        digest=digest or f"digest of {label}",
        day="1998-04-20",
        generation=None,
        num_items=100,
        boards={name: rows[name] for name in BOARDS_IN_ORDER if name in rows},
    )


def comparison(ours, theirs, metric, difference, *, slice_name=ALL, theirs_at=0.2, num_users=200):
    """A row whose difference has the bounds (low, point, high)."""
    low, point, high = difference
    return Comparison(
        ours=ours,
        theirs=theirs,
        slice=slice_name,
        metric=metric,
        num_users=num_users,
        our_value=theirs_at + point,
        their_value=theirs_at,
        difference=Interval(low, point, high),
        relative=Interval(low / theirs_at, point / theirs_at, high / theirs_at),
        probability_better=0.9 if metric_of(metric).sign * point > 0 else 0.1,
    )


def evaluation(entrants, comparisons=(), **changes):
    """An evaluation with tiger as the challenger."""
    about = {
        "challenger": "tiger",
        "baselines": ("item_knn", "popularity"),
        "primary_metric": "ndcg@10",
        "confidence": 0.95,
        "bootstrap_samples": 100,
        "exclude_seen": True,
        "items_unlisted": 0,
        "split": {"protocol": "rolling"},
        "inputs": {},
        "warnings": (),
        "run_id": "run",
    }
    rows = tuple(comparisons)
    return Evaluation(**{**about, "entrants": entrants, "comparisons": rows, **changes})
