from dataclasses import replace

from tests.evaluation_records import around, board, comparison, entrant, evaluation
from tests.report_days import measured
from training.evaluation.metrics import EVENT_LISTS, FEEDBACK, LISTS, SLATES
from training.report.sections.boards import board_section, boards


def table_of(section, place=0):
    return [block for block in section.blocks if block.kind == "table"][place]


def facts_of(section):
    return {fact.label: fact.value for fact in section.blocks[0].facts}


def notes_of(section):
    return [block.note for block in section.blocks if block.kind == "note"]


def test_the_best_entrant_is_marked_in_its_table():
    table = table_of(board_section(measured(challenger_metric=0.15), LISTS))
    assert [row.cells[0] for row in table.rows] == ["tiger", "popularity"]
    assert 1 in table.rows[0].strong
    assert 1 not in table.rows[1].strong


def test_nobody_is_marked_where_two_are_best():
    table = table_of(board_section(measured(challenger_metric=0.1), LISTS))
    assert not any(1 in row.strong for row in table.rows)


def test_the_metric_that_decides_stands_first():
    table = table_of(board_section(measured(primary_metric="mrr"), LISTS))
    assert table.head[:3] == ["entrant", "mrr", "interval"]


def test_a_column_that_repeats_another_is_left_out():
    entrants = {
        label: entrant(label, lists={"ndcg@10": around(v), "hr@10": around(v), "mrr": around(0.3)})
        for label, v in (("tiger", 0.1), ("popularity", 0.2))
    }
    table = table_of(board_section(evaluation(entrants), LISTS))
    assert table.head == ["entrant", "ndcg@10", "interval", "mrr"]


def test_a_slice_without_users_is_a_sentence():
    section = board_section(measured(), LISTS)
    assert "Nobody is in the slice new items." in notes_of(section)
    assert not any("by slice" in block.heading for block in section.blocks)


def sliced(value, name="new_items"):
    entrants = {
        label: entrant(label, lists={"ndcg@10": around(at, 0)}, slices=(name,))
        for label, at in (("tiger", value), ("popularity", 0.0))
    }
    return board_section(evaluation(entrants), LISTS)


def test_a_slice_of_zeros_says_why():
    assert (
        "600 targets of 200 users are items that no fit saw an event of; no entrant listed one of "
        "them in time."
    ) in notes_of(sliced(0.0))
    other = notes_of(sliced(0.0, "light_users"))
    assert "No entrant has a hit among the 600 targets of the slice light users." in other


def test_slices_are_rows_and_entrants_columns():
    table = next(b for b in sliced(0.5).blocks if b.heading == "ndcg@10 by slice")
    assert table.head == ["slice", "users", "targets", "tiger", "popularity"]
    assert table.rows[0].cells == ["new items", "200", "600", "0.5000", "0.0000"]
    assert table.rows[0].strong == [3]


def test_a_section_says_what_its_metrics_mean():
    assert notes_of(board_section(measured(), LISTS))[-1].startswith(
        "The best of a column is bold. ndcg@K: 1 / log2(rank + 1) of targets in the first K "
        "places; hr@K: share of targets in "
    )


def served_at(moment, **boards):
    split = {
        "protocol": "rolling", "asked_at": moment, "test_questions": 355,
        "test_targets_without_history": 52,
    }  # fmt: skip
    entrants = {
        label: entrant(label, lists={"ndcg@10": around(value)}, **boards)
        for label, value in (("tiger", 0.1), ("popularity", 0.2))
    }
    return evaluation(entrants, split=split)


def test_lists_say_when_they_are_asked_for_and_of_whom_nothing_was_known():
    section = board_section(served_at("day_end"), LISTS)
    assert "Each is asked for at the end of the day before (UTC)" in section.say
    told = facts_of(section)
    assert (told["lists"], told["targets asked for without an event"]) == ("355", "52")
    at_event = board_section(served_at("event"), LISTS)
    assert "Each is asked for just before it happened" in at_event.say
    assert "lists" not in facts_of(at_event)


def test_lists_of_the_other_moment_have_a_card_that_says_nothing_is_decided_by_it():
    other = board({"event_ndcg@10": around(0.3), "event_mrr": around(0.2)})
    cards = boards(served_at("day_end", **{EVENT_LISTS: other}))
    assert [card.anchor for card in cards] == [LISTS, EVENT_LISTS]
    assert cards[1].title == "Lists, asked for before each event"
    assert "Nothing is decided by it" in cards[1].say and "told the time" in cards[1].say
    assert cards[1].folded == "event_ndcg@10: tiger 0.3000 · popularity 0.3000"
    assert table_of(cards[1]).head == ["entrant", "event_ndcg@10", "interval", "event_mrr"]


def test_the_board_of_the_deciding_metric_is_open_and_first():
    slates = board({"slate_ndcg@5": around(0.4)}, facts={"coverage": 0.5, "repeated_share": 0.0})
    entrants = {
        "tiger": entrant("tiger", lists={"ndcg@10": around(0.1)}, **{SLATES: slates}),
        "popularity": entrant("popularity", lists={"ndcg@10": around(0.2)}),
    }
    by_lists = boards(evaluation(entrants))
    assert [(card.anchor, bool(card.folded)) for card in by_lists] == [
        (LISTS, False), (SLATES, True)
    ]  # fmt: skip
    assert by_lists[1].folded == "slate_ndcg@5: tiger 0.4000"
    by_slates = boards(evaluation(entrants, primary_metric="slate_ndcg@5"))
    assert [card.anchor for card in by_slates] == [SLATES, LISTS]
    assert table_of(by_slates[0]).head == ["entrant", "slate_ndcg@5", "interval", "coverage"]
    assert board_section(evaluation(entrants), FEEDBACK) is None


def test_differences_are_drawn_for_all_targets_and_folded_for_slices():
    rows = [
        comparison("tiger", "popularity", "ndcg@10", (0.1, 0.2, 0.3), slice_name="new_users"),
        comparison("popularity", "tiger", "ndcg@10", (-0.3, -0.2, -0.1)),
    ]
    entrants = {
        label: entrant(label, lists={"ndcg@10": around(0.1)}, slices=("new_users",))
        for label in ("tiger", "popularity")
    }
    found = replace(measured(differences=rows), entrants=entrants)
    section = board_section(found, LISTS)
    [whole] = [b for b in section.blocks if b.heading.startswith("tiger minus each")]
    assert whole.note == "Right of zero the challenger is better; a grey bar holds zero."
    [folded] = [b for b in section.blocks if b.folded.startswith("tiger minus each on each slice")]
    assert "popularity · new users" in folded.svg


def test_the_reference_stands_behind_the_champion_with_its_day():
    entrants = {
        label: entrant(label, family="tiger", lists={"ndcg@10": around(0.1)})
        for label in ("popularity", "reference", "champion", "tiger")
    }
    table = table_of(board_section(evaluation(entrants), LISTS))
    assert [row.cells[0] for row in table.rows] == [
        "tiger", "champion, tiger", "reference, tiger of 1998-04-20", "popularity",
    ]  # fmt: skip
