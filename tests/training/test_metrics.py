from typing import get_args

import numpy as np
import pytest

from training.evaluation.metrics import (
    FEEDBACK,
    LISTS,
    METRICS,
    READINGS,
    SLATES,
    ValidationMetric,
    headline_names,
    metric_of,
    names_of,
    order_of,
    parse,
)
from training.evaluation.ranking import Predictions
from training.evaluation.retrieval import WORTH as LIST_WORTH
from training.evaluation.slate import WORTH as SLATE_WORTH


def test_a_name_is_read_and_written_again():
    for name in (
        *names_of(LISTS, (1, 50), READINGS),
        *names_of(SLATES, (5,)),
        *names_of(FEEDBACK),
    ):
        assert str(parse(name)) == name
    found = parse("expanded_hr@50")
    assert (found.metric.name, found.cutoff, found.reading) == ("hr", 50, "expanded_")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("precision@5", "no metric 'precision@5'; there are ndcg, hr"),
        ("sid_auc", "no metric 'sid_auc'"),
        ("hr", "'hr' is no metric; expected hr@K, K from 1"),
        ("hr@0", "expected hr@K"),
        ("hr@five", "expected hr@K"),
        ("mrr@10", "'mrr@10' is no metric; expected mrr"),
    ],
)
def test_what_is_no_metric_is_named(name, said):
    with pytest.raises(ValueError, match=said):
        parse(name)


def test_every_metric_of_a_board_is_computed_and_no_other():
    of_board = {board: set() for board in (LISTS, SLATES)}
    for metric in METRICS.values():
        of_board.setdefault(metric.board, set()).add(metric.name)
    assert of_board[LISTS] == set(LIST_WORTH)
    assert of_board[SLATES] == {f"slate_{name}" for name in SLATE_WORTH}
    judged = Predictions(np.array([0, 0]), np.array([True, False]), np.array([0.9, 0.1]))
    assert of_board[FEEDBACK] == set(judged.points())


def test_less_log_loss_is_better_and_chance_is_of_orders():
    assert [m.name for m in METRICS.values() if not m.higher_is_better] == [
        "logloss",
        "ece",
        "loss",
    ]
    assert (metric_of("logloss").sign, metric_of("sid_ndcg@10").sign) == (-1, 1)
    assert order_of(FEEDBACK) is METRICS["auc"] and order_of(LISTS) is None


def test_whatever_stops_a_fit_is_a_metric():
    assert all(parse(name) for name in get_args(ValidationMetric))


def test_a_short_table_begins_with_what_decides():
    measured = [*names_of(LISTS, (5, 10), READINGS), *names_of(SLATES, (5,))]
    assert headline_names(measured, "slate_ndcg@5") == ["slate_ndcg@5", "ndcg@10", "hr@10", "mrr"]
    assert headline_names(measured, "ndcg@10") == ["ndcg@10", "hr@10", "mrr"]
