"""Boards over a catalogue of six items, asked of a model that always says the same."""

from dataclasses import replace

import numpy as np
import pytest

from tests import worlds
from training.data.histories import DAY, SECOND, Histories
from training.data.queries import Queries, TopK
from training.data.splits import Targets, split_leave_last_out
from training.evaluation.boards import BOARDS, boards_of
from training.evaluation.boards.feedback import FeedbackBoard
from training.evaluation.boards.interface import HeldOut, Terms
from training.evaluation.metrics import METRICS, metric_of, names_of

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
        self.filtered, self.read = [], []

    def queries(self, histories, questions, *, exclude_seen):
        self.filtered.append(exclude_seen)
        for row in range(len(questions)):
            one = Queries.of(
                histories, questions.rows(row, row + 1), max_history=5, exclude_seen=exclude_seen
            )
            self.read.append((one.items_BL[0].tolist(), int(one.asked_at_B[0]) / (DAY / SECOND)))
            yield one

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
    there = ["lists", "feedback", "day_end_lists"]
    assert [found.name for found in boards_of(held_out, TERMS)] == there
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


def at_day_end(held_out):
    return replace(held_out, lists=replace(held_out.lists, asked_at="day_end"))


def test_at_the_days_end_a_list_is_made_once_for_a_person_and_a_day(held_out):
    histories = held_out.lists.histories
    times = np.array([0.1, 1.2, 1.9, 0.5, 0.7, 2.0, 3.3, 3.4, 3.5, 0.0, 1.0, 1.5]) * DAY
    histories = replace(histories, times=times.astype(np.int64))
    # Of each person the last two events: on days 1 and 1, 0 and 2, 3 and 3, 1 and 1.
    targets = Targets(histories, np.repeat(np.arange(4), 2), np.tile([1, 2], 4))
    served = at_day_end(replace(held_out, lists=targets))
    model, progress, asked = Parrot(), [], board("lists", served)
    measured = asked.measure(model, progress.append)
    assert model.read == [([1], 1), ([], 0), ([3, 1], 2), ([], 3), ([5], 1)]
    assert progress == [1, 2, 3, 4, 5] and len(asked) == 5
    # Person by person the items are 3 and 4, 1 and 2, 3 and 5, 1 and 0; lists say 4, 2, 0.
    assert measured.samples["all"].points()["hr@1"] == pytest.approx((1 / 2) / 4)
    assert measured.samples["all"].points()["hr@3"] == pytest.approx((3 / 2) / 4)
    assert [found.name for found in boards_of(served, TERMS)][-1] == "event_lists"


def test_slates_of_a_day_are_one_answer_where_lists_are(held_out):
    histories = worlds.histories_of([[1, 2, 3, 4], [5]])
    times = (np.array([0.5, 1.1, 1.2, 1.6, 0.1]) * DAY).astype(np.int64)
    histories = replace(histories, times=times)
    starts = (times[[1, 3, 4]] // SECOND).tolist()
    slates = worlds.slates_of([[2, 4], [4, 0], [5, 3]], histories, users=[0, 0, 1], starts=starts)
    for day in (held_out, at_day_end(held_out)):
        model, progress = Parrot(), []
        asked = board("slates", replace(day, train=histories, slates=slates))
        measured = asked.measure(model, progress.append)
        # Lists begin with 4 and 2.
        assert measured.samples["all"].points()["slate_hit@2"] == 0.5
        assert len(asked) == len(model.read) == len(progress)
        context = [items for items, _ in model.read]
        served = [[1], []]
        assert context == (served if day is not held_out else [[1], [1, 2, 3], []])


def test_lists_at_the_other_moment_have_metrics_of_their_own(held_out):
    model = Parrot()
    other = board("event_lists", at_day_end(held_out))
    measured = other.measure(model, print_nothing)
    means = measured.samples["all"].points()
    assert list(measured.samples) == ["all"]
    assert means["event_hr@1"] == 0.25 and means["event_hr@3"] == 0.75
    assert measured.names == tuple(names_of("event_lists", (1, 3)))
    assert {metric_of(name).board for name in measured.names} == {"event_lists"}
    assert [asked_at for _, asked_at in model.read] == [2] * 4
    assert board("event_lists", held_out) is None


def test_a_log_of_one_day_has_no_lists_of_the_days_end(held_out):
    histories = held_out.lists.histories
    at_once = replace(histories, times=np.full(12, DAY + 7))
    lists = replace(held_out.lists, histories=at_once)
    assert board("day_end_lists", replace(held_out, lists=lists)) is None
    found = [one.name for one in boards_of(replace(held_out, lists=lists), TERMS)]
    assert found == ["lists", "feedback"]


def test_feedback_is_asked_without_a_filter_and_kept(held_out):
    model = Parrot()
    measured = board("feedback", held_out).measure(model, print_nothing)
    assert model.filtered == [False]
    assert measured.samples["all"].facts()["base_rate"] == 0.75
    assert measured.samples["all"].points()["auc"] == 0.5
    assert measured.rows["probability"].to_pylist() == [0.75] * 4
    assert measured.rows["strength"].to_pylist() == [3, 0, 3, 3]
    assert measured.names == ("auc", "gauc", "logloss", "ece")
    assert [(each.said, each.events) for each in measured.calibration] == [(0.75, 4)]


def test_feedback_of_people_with_few_some_and_many_events_is_told_apart():
    events = [2, 20, 21, 50, 51, 70]
    histories = Histories(
        user_ids=np.array(list("abcdef"), dtype=object),
        offsets=np.concatenate([[0], np.cumsum(events)]),
        items=np.arange(sum(events), dtype=np.int32) % 6,
        strengths=np.full(sum(events), 3, dtype=np.int8),
        times=np.arange(sum(events)) * DAY,
    )
    last = Targets(histories, np.arange(6), np.array(events) - 1)
    held_out = HeldOut(histories, last, last, None, None)
    terms = replace(TERMS, light_user_events=20)
    samples = FeedbackBoard.of(held_out, terms).measure(Parrot(), print_nothing).samples
    users = {name: samples[name].user_T.tolist() for name in ("middle_users", "frequent_users")}
    assert users == {"middle_users": [2, 3], "frequent_users": [4, 5]}
