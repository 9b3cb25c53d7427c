"""What earlier runs took: which days of a log are new, which days were never delivered."""

from datetime import date

from pipelines.jobs.ledger import Entry, Ledger

D8, D9, D10, D11, D12 = (date(2024, 3, number) for number in range(8, 13))


def ledger(*entries):
    """Of (run's day, piece, digest)."""
    return Ledger({(run, of): Entry(rows=2, quarantined=0, digest=d) for run, of, d in entries})


def test_a_piece_rests_where_the_last_run_left_it():
    taken = ledger((D9, D8, "a"), (D9, D9, "b"), (D9, None, "z"), (D10, D8, "c"))
    now = {D8: "c", D9: "b", None: "z", D10: "d"}
    assert taken.unsettled(D11, now) == [D10]
    assert taken.unsettled(D11, {**now, D8: "a", None: "y"}) == [D8, None, D10]


def test_what_a_run_took_stays_its_own_whoever_ran_since():
    taken = ledger((D9, D8, "a"), (D10, D10, "b"), (D11, D11, "c"))
    assert taken.unsettled(D10, {D8: "a", D10: "b"}) == [D10]
    later = ledger((D9, D8, "a"), (D11, D8, "b"))
    assert later.unsettled(D10, {D8: "a"}) == [D8], "the table says what the later run found"


def test_the_run_that_began_is_the_one_that_took_other_days_too():
    assert ledger().begins_at(D10)
    days = ledger((D10, D9, None), (D10, D10, None), (D11, D11, None), (D9, D9, None))
    assert [days.begins_at(day) for day in (D9, D10, D11, D12)] == [False, True, False, False]


def test_days_between_the_last_delivery_and_this_one_are_missing():
    days = ledger((D9, D9, None))
    assert days.missing(D12, [D12]) == [D10, D11]
    assert days.missing(D10, [D10]) == []
    assert ledger().missing(D12, [D9, D12]) == [D10, D11]
    assert ledger().missing(D12, [D12]) == []


def test_days_that_a_log_no_longer_has_are_told():
    assert ledger((D9, D8, "a"), (D9, D9, "b"), (D9, None, "z")).gone(D9, {D9: "b"}) == [D8]


def test_what_a_run_took_before_stays_noted():
    rows = ledger((D10, D8, None), (D10, D9, None), (D9, D8, None)).rows(
        D10, {D9: Entry(rows=5, quarantined=1)}
    )
    noted = {row["events_of"]: row["rows"] for row in rows.to_pylist()}
    assert noted == {D8: 2, D9: 5}
