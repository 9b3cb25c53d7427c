"""What a report page is made of: sections of blocks, as the template reads them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Tone = Literal["", "good", "warn", "bad"]


@dataclass(frozen=True, kw_only=True)
class Block:
    """One element of a section; `kind` says which of the other fields the template reads."""

    kind: Literal["facts", "picture", "table", "list", "note"]
    heading: str = ""
    note: str = ""
    facts: Sequence["Fact"] = ()
    svg: str = ""
    head: Sequence[str] = ()
    numeric: Sequence[str] = ()
    quiet: Sequence[str] = ()
    rows: Sequence["Row"] = ()
    folded: str = ""
    entries: Sequence["Entry"] = ()


@dataclass(frozen=True)
class Fact:
    """One large number with its label."""

    value: str
    label: str


@dataclass(frozen=True)
class Row:
    """A row of a table; True and False are shown as passed and failed."""

    cells: Sequence[Any]
    tone: str = ""


@dataclass(frozen=True)
class Entry:
    """One line of a list, with a coloured dot."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A card of the page."""

    anchor: str
    title: str
    headline: str = ""
    say: str = ""
    tone: Tone = ""
    blocks: Sequence[Block] = field(default_factory=list)


def facts(*pairs: tuple[str, Any]) -> Block:
    """Large numbers side by side, as (label, value)."""
    return Block(kind="facts", facts=[Fact(shown(value), label) for label, value in pairs])


def picture(svg: str, *, heading: str = "", note: str = "") -> Block:
    """An inline SVG."""
    return Block(kind="picture", svg=svg, heading=heading, note=note)


def note(text: str, *, heading: str = "") -> Block:
    """A sentence or two."""
    return Block(kind="note", note=text, heading=heading)


def shown(value: Any) -> str:
    """A number as people read it: thousands apart, four significant digits."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 1000):
        return f"{int(value):,}"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:,.2f}"
