"""Boards over a catalogue of six items, asked of a model that always says the same."""

import numpy as np
import pytest

from training.data.histories import DAY, Histories
from training.data.queries import Queries, TopK
from training.data.splits import split_leave_last_out
from training.evaluation.boards import BOARDS, boards_of
from training.evaluation.boards.interface import HeldOut, Terms
from training.evaluation.metrics import METRICS, metric_of

SAYS = [4, 2, 0]
TERMS = Terms(
    cutoffs=(1, 3),
    slate_cutoffs=(2,),
    exclude_seen=False,
    positive_strength=2,
    light_user_events=1,
    num_items=6,
)


class Parrot:
    """A predictor whose every list is `SAYS`, and every probability 0.75."""

    num_items = 6

    def __init__(self, answers=("lists", "feedback", "slates"), codes_VQ=None):
        self.answers, self.codes_VQ = frozenset(answers), codes_VQ
        self.filtered = []

    def queries(self, histories, user_T, position_T, *, exclude_seen):
        self.filtered.append(exclude_seen)
        for row in range(len(user_T)):
            yield Queries.at(
                histories, user_T[row : row + 1], position_T[row : row + 1],
                max_history=5, exclude_seen=exclude_seen,
            )  # fmt: skip

    def recommend(self, queries, k):
        items = np.tile(np.array(SAYS[:k], dtype=np.int32), (len(queries), 1))
        return TopK(items, np.zeros(items.shape, dtype=np.float32))

    def rank(self, queries, items_BC):
        return np.full(items_BC.shape, 0.75, dtype=np.float32)


@pytest.fixture
def held_out():
    """Four users whose last items are 4, 2, 5 and 0: hits at 1, 2, nowhere and 3."""
    items = [[1, 3, 4], [3, 1, 2], [1, 3, 5], [5, 1, 0]]
    histories = Histories(
        user_ids=np.array(list("abcd"), dtype=object),
        offsets=np.arange(0, 13, 3),
        items=np.array(items, dtype=np.int32).ravel(),
        strengths=np.array([3, 3, 3, 3, 3, 0, 3, 3, 3, 3, 3, 3], dtype=np.int8),
        times=np.tile(np.arange(3), 4) * DAY,
    )
    split = split_leave_last_out(histories)
    return HeldOut(split.train, split.test, split.test, None, None)


def board(name, held_out, terms=TERMS):
    return BOARDS[name].of(held_out, terms)


def test_a_board_has_the_name_of_its_metrics_board():
    boards = {metric.board for metric in METRICS.values()}
    assert set(BOARDS) <= boards
    assert all(name == kind.name for name, kind in BOARDS.items())


def test_a_day_without_slates_has_no_board_of_them(held_out):
    assert [found.name for found in boards_of(held_out, TERMS)] == ["lists", "feedback"]
    nothing = held_out.lists.where(np.zeros(4, dtype=bool))
    empty = HeldOut(held_out.train, nothing, nothing, None, None)
    assert boards_of(empty, TERMS) == []


def test_lists_are_measured_by_the_place_of_the_target(held_out):
    asked, progress = board("lists", held_out), []
    measured = asked.measure(Parrot(), progress.append)
    means = measured.samples["all"].points()
    assert means["hr@1"] == 0.25 and means["hr@3"] == 0.75
    assert means["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 4)
    assert measured.facts["coverage@3"] == 0.5 and measured.facts["illegal_share"] == 0
    assert progress == [1, 2, 3, 4] and len(asked) == 4
    assert measured.contradictions == ()
    assert {metric_of(name).board for name in measured.names} == {"lists"}
    assert measured.rows.filter(measured.rows["slice"].to_numpy() == "all").num_rows == 4


def test_lists_of_a_model_without_semantic_ids_are_read_by_the_challengers(held_out):
    codes = np.arange(6)[:, None] // 2
    shared = Terms(**{**vars(TERMS), "codes_VQ": codes})
    without = board("lists", held_out, shared).measure(Parrot(), print_nothing)
    # 4, 2, 5 and 0 are of pairs 2, 1, 2 and 0: the list's pairs are 2, 1, 0.
    assert without.samples["all"].points()["sid_hr@1"] == 0.5
    nobody = board("lists", held_out).measure(Parrot(), print_nothing)
    assert not any(name.startswith("sid_") for name in nobody.names)
    lost = np.where(np.arange(6)[:, None] == 2, -1, codes)
    own = board("lists", held_out, shared).measure(Parrot(codes_VQ=lost), print_nothing)
    assert own.facts["illegal_share"] == pytest.approx(1 / 3)
    assert without.facts["illegal_share"] == 0


def print_nothing(_):
    pass


def test_feedback_is_asked_without_a_filter_and_kept(held_out):
    model = Parrot()
    measured = board("feedback", held_out).measure(model, print_nothing)
    assert model.filtered == [False]
    assert measured.samples["all"].facts()["base_rate"] == 0.75
    assert measured.samples["all"].points()["auc"] == 0.5
    assert measured.rows["probability"].to_pylist() == [0.75] * 4
    assert measured.rows["strength"].to_pylist() == [3, 0, 3, 3]
    assert measured.names == ("auc", "gauc", "logloss")
