"""Lines of text → records of delimited text, after RFC 4180: a quoted field may span lines.

A quote that is never closed doesn't take the rest of the file with it: its line is refused alone,
and the lines after it are read anew. Memory holds one record.
"""

import re
from collections import deque
from collections.abc import Iterator
from enum import Enum
from math import inf
from typing import NamedTuple

UNCLOSED = "a quote that is not closed"
_QUOTED = re.compile(r'"[^"]*+(?:""[^"]*+)*+')
_BLANKS = re.compile(r" *+")


class Shape(Enum):
    """How a text ends."""

    WHOLE = "every quoted field is closed"
    OPEN = "within a quoted field"
    MALFORMED = "a closing quote is followed by neither a separator nor the end"


class Record(NamedTuple):
    """A record's first line (its number), its text, and what is wrong with its quotes."""

    line: int
    text: str
    problem: str | None


def shape(text: str, separator: str) -> Shape:
    """How a text that begins outside of quotes ends.

    A quote within an unquoted field is a character like any other (`5" pipe`).

    Example:
        >>> [shape(text, ",").name for text in ('a,"b', 'a,"b","c"', 'a,"b"c')]
        ['OPEN', 'WHOLE', 'MALFORMED']
    """
    for _, end, closed in _fields(text, separator):
        if not closed:
            return Shape.OPEN if end == len(text) else Shape.MALFORMED
    return Shape.WHOLE


def fields(text: str, separator: str, *, quoted: bool = True) -> list[str]:
    """The values of a record's fields, without the quotes around them.

    Example:
        >>> fields('user,"item, sku","5"" pipe"', ",")
        ['user', 'item, sku', '5" pipe']
    """
    if not quoted:
        return [cell.strip() for cell in text.split(separator)]
    return [_unquoted(text[start:end]) for start, end, _ in _fields(text, separator)]


def records(lines: Iterator[tuple[int, str]], *, separator: str, longest: int) -> Iterator[Record]:
    """Join the lines of one file into records.

    Args:
        lines: number and text of each line, in the file's order.
        separator: between two fields.
        longest: characters of a record; a quote that isn't closed within them is never closed.

    Yields:
        Each record with the number of its first line. A line whose quote is not closed is a record
        with that problem; so is what is left of it: a line after it that has an odd number of
        quotes and opens none.
    """
    again: deque[tuple[int, str]] = deque()
    suspect: float = -1  # up to this line, an odd quote may close what was refused
    while (line := again.popleft() if again else next(lines, None)) is not None:
        number, text = line
        if '"' not in text:
            yield Record(number, text, None)
            continue
        ends, is_odd = shape(text, separator), text.count('"') % 2 == 1
        if ends is not Shape.OPEN:
            is_broken = is_odd and (ends is Shape.MALFORMED or number <= suspect)
            yield Record(number, text, UNCLOSED if is_broken else None)
            suspect = -1 if is_odd else suspect
            continue
        taken = [line]
        ends, whole = _joined(taken, again, lines, separator=separator, longest=longest)
        if ends is Shape.WHOLE:
            yield Record(number, whole, None)
            continue
        yield Record(number, text, UNCLOSED)
        suspect = taken[-1][0] if ends is Shape.MALFORMED else inf
        again.extendleft(reversed(taken[1:]))


def _joined(
    taken: list[tuple[int, str]],
    again: deque[tuple[int, str]],
    lines: Iterator[tuple[int, str]],
    *,
    separator: str,
    longest: int,
) -> tuple[Shape, str]:
    """How the record that begins with the line in `taken` ends, and its text.

    Its other lines are added to `taken`.
    """
    length = len(taken[0][1])
    while length <= longest and (line := again.popleft() if again else next(lines, None)):
        taken.append(line)
        length += 1 + len(line[1])
        if '"' in line[1]:
            text = "\n".join(part for _, part in taken)
            ends = shape(text, separator)
            if ends is not Shape.OPEN:
                return ends, text
    return Shape.OPEN, ""


def _fields(text: str, separator: str) -> Iterator[tuple[int, int, bool]]:
    """Start and end of each field, and whether it is closed; nothing follows one that isn't."""
    start = 0
    while True:
        if text.startswith('"', start):
            match = _QUOTED.match(text, start)
            assert match is not None
            if match.end() == len(text):
                yield start, len(text), False
                return
            after = _BLANKS.match(text, match.end() + 1)
            assert after is not None
            end = after.end()
            if end < len(text) and not text.startswith(separator, end):
                yield start, end, False
                return
        else:
            end = text.find(separator, start)
            end = len(text) if end < 0 else end
        yield start, end, True
        if end == len(text):
            return
        start = end + len(separator)


def _unquoted(cell: str) -> str:
    cell = cell.strip()
    if len(cell) > 1 and cell.startswith('"') and cell.endswith('"'):
        return cell[1:-1].replace('""', '"')
    return cell
