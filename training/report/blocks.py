"""What a report page is made of: sections of blocks, as the template reads them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Tone = Literal["", "good", "warn", "bad"]


@dataclass(frozen=True, kw_only=True)
class Block:
    """One element of a section; `kind` says which of the other fields the template reads.

    Attributes:
        kind: facts, picture, table, list, links or note.
        heading: above it.
        note: a sentence below the heading.
        folded: the line that unfolds the block; empty for one that is open.
        wide: whether it takes the whole width of the page, and not half of it.
        facts: of `facts`.
        svg: of `picture`.
        head: column names of a table.
        numeric: columns whose cells stand on the right.
        quiet: columns in small type.
        rows: of a table.
        entries: of a list, or of links.
    """

    kind: Literal["facts", "picture", "table", "list", "links", "note"]
    heading: str = ""
    note: str = ""
    folded: str = ""
    wide: bool = False
    facts: Sequence["Fact"] = ()
    svg: str = ""
    head: Sequence[str] = ()
    numeric: Sequence[str] = ()
    quiet: Sequence[str] = ()
    rows: Sequence["Row"] = ()
    entries: Sequence["Entry"] = ()


@dataclass(frozen=True)
class Fact:
    """A number with its label."""

    value: str
    label: str


@dataclass(frozen=True)
class Row:
    """A row of a table; True and False are shown as passed and failed."""

    cells: Sequence[Any]
    tone: str = ""
    strong: Sequence[int] = ()
    """Places of the cells that stand out."""


@dataclass(frozen=True)
class Entry:
    """One line of a list, with a coloured dot; a link where it has an address."""

    text: str
    tone: Tone = ""
    address: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A card of the page.

    Attributes:
        anchor: where the page's own links lead.
        title: of the card.
        say: a sentence or two below it; what stands between backticks is code.
        folded: a summary, where the whole card is folded; else empty.
        half: whether it takes half the width of the page.
        blocks: in order.
    """

    anchor: str
    title: str
    say: str = ""
    folded: str = ""
    half: bool = False
    blocks: Sequence[Block] = field(default_factory=list)


def facts(*pairs: tuple[str, Any]) -> Block:
    """Numbers side by side, as (label, value)."""
    return Block(
        kind="facts", facts=[Fact(shown(value), label) for label, value in pairs], wide=True
    )


def picture(svg: str, *, heading: str = "", note: str = "", wide: bool = False) -> Block:
    """An inline SVG."""
    return Block(kind="picture", svg=svg, heading=heading, note=note, wide=wide)


def note(text: str, *, heading: str = "") -> Block:
    """A sentence or two."""
    return Block(kind="note", note=text, heading=heading, wide=True)


def entries(heading: str, found: Sequence[Entry]) -> Block:
    """A list of lines."""
    return Block(kind="list", heading=heading, entries=found, wide=True)


def links(heading: str, found: Sequence[Entry]) -> Block:
    """Entries with addresses, in one line."""
    return Block(kind="links", heading=heading, entries=found, wide=True)


def table(
    heading: str,
    head: Sequence[str],
    rows: Any,
    *,
    numeric: Sequence[str] = (),
    quiet: Sequence[str] = (),
    note: str = "",
    wide: bool = False,
) -> Block:
    """A table; rows are `Row`s or lists of cells."""
    return Block(
        kind="table",
        heading=heading,
        note=note,
        head=list(head),
        rows=[row if isinstance(row, Row) else Row(list(row)) for row in rows],
        numeric=list(numeric),
        quiet=list(quiet),
        wide=wide,
    )


def folded(line: str, block: Block) -> Block:
    """The block behind a line that unfolds it."""
    return replace(block, folded=line, wide=True)


def shown(value: Any) -> str:
    """A number as people read it: thousands apart, four significant digits.

    Example:
        >>> shown(1234567), shown(0.12345), shown(12.3), shown(None)
        ('1,234,567', '0.1235', '12.30', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 1000):
        return f"{int(value):,}"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:,.2f}"


def words(name: str) -> str:
    """A column's or slice's name as words.

    Example:
        >>> words("heavy_users")
        'heavy users'
    """
    return name.replace("_", " ")
