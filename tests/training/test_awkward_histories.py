"""Logs that are no good: families fit them all the same, and answer with what there is."""

from dataclasses import replace

import numpy as np
import pytest

from tests import worlds
from training import inference
from training.data.queries import queries_of
from training.data.splits import split_leave_last_out
from training.evaluation.metrics import FEEDBACK
from training.fit.fitting import Fitting, LoopSettings
from training.models import MODELS

ITEMS, PLACES = 60, 10
LOOP = LoopSettings(max_epochs=2, tokens_per_batch=256, warmup_steps=2, max_history=20)
OF_SLATES = {"higr", "flat_slate"}
NEXT_ITEM = sorted(name for name in MODELS.keys() - OF_SLATES if "lists" in MODELS[name].answers)
SMALL = {"width": 16, "num_layers": 1, "num_heads": 1}


def awkward():
    """Everything in one second; every third person has one event, others meet one item alone."""
    histories = worlds.chain(num_users=30, num_items=ITEMS).split.test.histories
    rows = [row.tolist() for row in np.split(histories.items, histories.offsets[1:-1])]
    rows = [(row[:1], [4] * 5, row)[number % 3] for number, row in enumerate(rows)]
    strengths = [[(n + place) % 5 - 1 for place in range(len(row))] for n, row in enumerate(rows)]
    one = worlds.histories_of(rows, strengths=strengths)
    return replace(one, times=np.full_like(one.times, 1_700_000_000 * worlds.SECOND))


@pytest.mark.parametrize("family", NEXT_ITEM)
def test_a_log_of_one_second_and_of_single_events_is_learnt_and_answered(family):
    split, vocabulary = split_leave_last_out(awkward()), worlds.vocabulary_of(ITEMS)
    settings = SMALL if MODELS[family].by_epochs else {}
    config = MODELS[family].configure(settings)
    model, report = MODELS[family].fit(split, config, Fitting(LOOP, exclude_seen=True), vocabulary)
    assert all(np.isfinite(epoch["loss"]) for epoch in report.epochs)
    for queries in queries_of(split.test, max_history=20, exclude_seen=True):
        top = inference.recommend(model, queries, PLACES)
        for row, items in enumerate(top.items_Bk):
            answered = items[items >= 0].tolist()
            assert len(answered) == len(set(answered)) == PLACES
            assert not set(answered) & set(queries.items_BL[row, : queries.lengths_B[row]].tolist())
        if FEEDBACK in model.answers:
            said = inference.rank(model, queries, top.items_Bk)
            assert ((said > 0) & (said < 1)).all()
