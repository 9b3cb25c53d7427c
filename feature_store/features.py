"""Features of an impression by name: whose they are, what they are of, and their codes' number.

Spark writes the codes of impressions, a model that serves makes them from a query: both ask here.
Standard library only.

    user_id, item_id                        the id
    user.NAME, item.NAME                    the attribute's text; values joined by `|` are one text
    binned.user.NAME, binned.item.NAME      the bin of the attribute's number
    user_events, user_engagements           how many events the user had before
    hour, weekday                           of the local time
    met.item_id, met.item.NAME              how many events before had the item, or its NAME
    engaged.item_id, engaged.item.NAME      how many of these were engagements

Code 0 is what isn't known: a value that nobody had met before, an attribute that isn't there, a
text that is no number.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Group = Literal["user", "item", "context"]
Kind = Literal["value", "bin", "events", "engagements", "hour", "weekday", "met", "engaged"]

GROUPS: tuple[Group, ...] = ("user", "item", "context")
NUM_BINS = 16
"""Bins of a number: about as many of the first day's values are in each."""
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?$"
"""A text that is a number."""
_PLAIN: dict[str, tuple[Group, Kind]] = {
    "user_id": ("user", "value"),
    "user_events": ("user", "events"),
    "user_engagements": ("user", "engagements"),
    "item_id": ("item", "value"),
    "hour": ("context", "hour"),
    "weekday": ("context", "weekday"),
}
_OF = re.compile(r"(?P<how>binned\.|met\.|engaged\.)?(?P<what>item_id|(?P<whose>user|item)\..+)")


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature.

    Args:
        name: as a preset has it.
        group: what it is of.
        kind: how its code comes about.
        of: what it is made from: `user_id`, `item_id`, `user.NAME` or `item.NAME`; empty: times
            alone.
    """

    name: str
    group: Group
    kind: Kind
    of: str = ""

    @property
    def attribute(self) -> str | None:
        """The attribute of the user or the item that it is made from; None: none."""
        return self.of.partition(".")[2] or None

    @property
    def vocabulary(self) -> str | None:
        """The vocabulary that says its codes, or which items are alike; None: none is needed."""
        if self.kind in ("value", "bin"):
            return self.name
        # Items are told apart by their index, seen before or not.
        return self.of if self.kind in ("met", "engaged") and self.attribute else None


def feature(name: str) -> Feature:
    """The feature of a name.

    Raises:
        ValueError: there is none.
    Example:
        >>> feature("binned.user.register_days")
        Feature(name='binned.user.register_days', group='user', kind='bin', of='user.register_days')
        >>> feature("met.item.author").vocabulary
        'item.author'
    """
    if name in _PLAIN:
        group, kind = _PLAIN[name]
        return Feature(name, group, kind, name if kind == "value" else "")
    match = _OF.fullmatch(name)
    if match:
        how, what, whose = (match["how"] or "").rstrip("."), match["what"], match["whose"]
        if not how:
            return Feature(name, "user" if whose == "user" else "item", "value", what)
        if how == "binned" and whose:
            return Feature(name, "user" if whose == "user" else "item", "bin", what)
        if how == "met" and whose != "user":
            return Feature(name, "context", "met", what)
        if how == "engaged" and whose != "user":
            return Feature(name, "context", "engaged", what)
    raise ValueError(
        f"no feature is called {name!r}; there are {', '.join(_PLAIN)}, user.NAME, item.NAME and "
        "binned. before these (NAME: an attribute), and met. or engaged. before item_id or "
        "item.NAME"
    )


def features(names: Iterable[str]) -> tuple[Feature, ...]:
    """Features by group, each group in the order of the names.

    Raises:
        ValueError: a name is none, or is there twice.
    """
    named = list(names)
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is there more than once")
    found = [feature(name) for name in named]
    return tuple(each for group in GROUPS for each in found if each.group == group)


def vocabularies(chosen: Iterable[Feature]) -> tuple[Feature, ...]:
    """The features whose vocabularies these need, each once: of values, or of bins."""
    names = dict.fromkeys(each.vocabulary for each in chosen)
    return tuple(feature(name) for name in names if name is not None)


def count_code(count: int) -> int:
    """The code of a number of events: 0, 1, 2, 3 to 4, 5 to 8, … have codes from 1 on.

    Example:
        >>> [count_code(count) for count in (0, 1, 2, 3, 4, 5, 8, 9)]
        [1, 2, 3, 4, 4, 5, 5, 6]
    """
    return 1 if count == 0 else (count - 1).bit_length() + 2


def fixed_size(kind: Kind, history_events: int) -> int | None:
    """Codes of a feature that no vocabulary says, 0 included; None: its vocabulary does.

    Args:
        kind: of the feature.
        history_events: the most events that are counted.
    Example:
        >>> fixed_size("met", 200), fixed_size("hour", 200)
        (11, 25)
    """
    if kind in ("value", "bin"):
        return None
    if kind in ("hour", "weekday"):
        return {"hour": 24, "weekday": 7}[kind] + 1
    return count_code(history_events) + 1
