"""Lines → records: what spans lines is joined, what is never closed is refused alone."""

import csv
import io
import random

import pytest

from pipelines.sources.csv_records import UNCLOSED, fields, records


def joined(*lines, separator=",", longest=1000):
    found = records(iter(enumerate(lines)), separator=separator, longest=longest)
    return [tuple(record) for record in found]


def test_a_quoted_field_spans_lines_and_blank_lines():
    assert joined("h", 'a,"1', "", '2",b', "c") == [
        (0, "h", None),
        (1, 'a,"1\n\n2",b', None),
        (4, "c", None),
    ]


def test_a_line_whose_quote_is_never_closed_is_refused_alone():
    assert joined('9,"unclosed,x', "10,after,x", "11,last,x") == [
        (0, '9,"unclosed,x', UNCLOSED),
        (1, "10,after,x", None),
        (2, "11,last,x", None),
    ]


def test_the_next_quoted_field_shows_that_a_quote_was_not_closed():
    assert joined('9,"unclosed,x', "10,after,x", '11,"last",x', '12,"a', 'b",x') == [
        (0, '9,"unclosed,x', UNCLOSED),
        (1, "10,after,x", None),
        (2, '11,"last",x', None),
        (3, '12,"a\nb",x', None),
    ]


def test_what_is_left_of_a_broken_record_is_no_row():
    # One record with text after its closing quote: its second line is nobody's row.
    assert joined('u,"a', 'b"x,t', "v,c,t") == [
        (0, 'u,"a', UNCLOSED),
        (1, 'b"x,t', UNCLOSED),
        (2, "v,c,t", None),
    ]


def test_a_quote_within_an_unquoted_field_is_a_character():
    assert joined('u,5" pipe,1', 'v,"6"" pipe",1') == [
        (0, 'u,5" pipe,1', None),
        (1, 'v,"6"" pipe",1', None),
    ]


def test_an_odd_quote_that_closes_nothing_is_refused():
    assert joined('"u","a,"t"')[0][2] == UNCLOSED


def test_a_record_longer_than_the_longest_is_not_joined():
    lines = ['u,"a', *("x" * 10 for _ in range(20)), 'b",1']
    assert joined(*lines, longest=1000) == [(0, "\n".join(lines), None)]
    assert [record[2] for record in joined(*lines, longest=100)] == [
        UNCLOSED,
        *[None] * 20,
        UNCLOSED,
    ]


def test_what_a_csv_writer_writes_is_read_back_whatever_is_in_it():
    chance = random.Random(7)
    for separator in (",", ";", "\t"):
        rows = [
            ["".join(chance.choices('ab"\n, ;\t', k=chance.randrange(8))) for _ in range(3)]
            for _ in range(300)
        ]
        text = io.StringIO()
        csv.writer(text, delimiter=separator, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(
            rows
        )
        lines = text.getvalue().removesuffix("\n").split("\n")
        read = joined(*lines, separator=separator, longest=10_000)
        assert {problem for _, _, problem in read} == {None}
        assert [fields(line, separator) for _, line, _ in read] == rows


@pytest.mark.parametrize("separator", ["::", "|"])
def test_separators_of_any_length_cut_fields(separator):
    assert fields(separator.join(["a", '"b"', ""]), separator) == ["a", "b", ""]
    assert fields(f'"b"{separator} c ', separator, quoted=False) == ['"b"', "c"]
