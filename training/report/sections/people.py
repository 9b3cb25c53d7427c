"""Ten people's recommendations, beside what they did last."""

from collections.abc import Sequence
from dataclasses import dataclass

from training.report.blocks import Block, Section, folded, table

_OPEN = 3
"""People who are shown unfolded."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """One row.

    Attributes:
        user_id: the source's own.
        num_events: of the history, in all.
        last: titles of the last events, the newest first, with their strength.
        recommended: titles, the best first.
    """

    user_id: str
    num_events: int
    last: Sequence[tuple[str, int]]
    recommended: Sequence[str]


def people(found: Sequence[Person], model: str, agreement: str) -> Section | None:
    """What some people did last and what they are recommended.

    Args:
        found: the first people of the table.
        model: who recommends, for a person.
        agreement: what the comparison with the service and the evaluation came to; empty where
            nothing was compared.
    """
    if not found:
        return None
    rows = [
        [person.user_id, f"{person.num_events:,}", _history(person.last),
         " · ".join(person.recommended)]
        for person in found
    ]  # fmt: skip
    blocks = [_table(rows[:_OPEN])]
    if len(rows) > _OPEN:
        blocks.append(folded(f"More people: {len(rows) - _OPEN}", _table(rows[_OPEN:])))
    return Section(
        anchor="people",
        title="What people get",
        say=f"The first {len(rows)} people of the table recommendations, written by {model}. "
        f"A minus marks what a person disliked.{agreement and f' Asked again, {agreement}.'}",
        blocks=blocks,
    )


def _history(last: Sequence[tuple[str, int]]) -> str:
    return " · ".join(("− " if strength < 0 else "") + title for title, strength in last)


def _table(rows: list[list[str]]) -> Block:
    head = ["person", "events", "did last, newest first", "is recommended, best first"]
    return table("", head, rows, numeric=["events"], wide=True)
