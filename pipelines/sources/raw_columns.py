"""Raw columns by name: whatever their order and the case of their letters, and who needs them."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.config import CatalogueMapping, ColumnMapping, StrengthRule, UsersMapping
from pipelines.errors import DataRefused

OURS = "_"
"""What our own columns begin with; a raw column that is called so is read where it is needed."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Raw columns that a preset names.

    Args:
        columns: by the column, the key that names it (`source.columns.user_id`).
        rows: those that every row has; JSON may lack the others in every line.
        rules: strength rules, which name columns, too.
    """

    columns: Mapping[str, str]
    rows: frozenset[str]
    rules: tuple[StrengthRule, ...] = ()

    def among(self, there: Iterable[str]) -> dict[str, str]:
        """The columns, and those of all columns there are that rules name, with who needs them.

        Where one of the columns isn't there, rules' names that are no columns are needed, too, so
        that all that is missing is told at once.
        """
        # What judges rows reads what makes them: imported here, no module waits for itself.
        from pipelines.transforms.strength import rule_columns, unknown_names

        there = tuple(there)
        folded = {name.lower() for name in there}
        spelt = {name.lower(): name for name in (*there, *self.columns)}
        by = dict(self.columns)
        if any(name.lower() not in folded for name in self.columns):
            unknown = unknown_names(self.rules, spelt)
            by = {name: f"strength rule {number}" for number, name in reversed(unknown)} | by
        for number, names in reversed(rule_columns(self.rules, spelt.values()).items()):
            by |= {name: f"strength rule {number}" for name in names}
        return by


def needs_of_log(columns: ColumnMapping, rules: Sequence[StrengthRule]) -> Needs:
    """What a log's mapping and rules need."""
    always = {
        columns.user_id: "source.columns.user_id",
        columns.item_id: "source.columns.item_id",
        columns.event_time.column: "source.columns.event_time",
    }
    others: dict[str | None, str] = {
        columns.request_id: "source.columns.request_id",
        columns.position: "source.columns.position",
        columns.dwell_seconds: "source.columns.dwell_seconds",
    }
    others |= dict.fromkeys(columns.signals, "source.columns.signals")
    more = {name: by for name, by in others.items() if name and name not in always}
    return Needs(columns=always | more, rows=frozenset(always), rules=tuple(rules))


def needs_of_catalogue(mapping: CatalogueMapping) -> Needs:
    """What a catalogue's mapping needs."""
    key = "source.catalogue"
    columns = dict.fromkeys(mapping.attributes, f"{key}.attributes")
    columns |= dict.fromkeys(mapping.text, f"{key}.text")
    columns |= {mapping.title: f"{key}.title"} if mapping.title else {}
    columns |= {mapping.item_id: f"{key}.item_id"}
    return Needs(columns=columns, rows=frozenset({mapping.item_id}))


def needs_of_users(mapping: UsersMapping) -> Needs:
    """What a mapping of people needs."""
    columns = dict.fromkeys(mapping.attributes, "source.users.attributes")
    columns |= {mapping.user_id: "source.users.user_id"}
    return Needs(columns=columns, rows=frozenset({mapping.user_id}))


def named(name: str) -> Column:
    """A raw column by its literal name, which may hold dots and backticks."""
    return F.col(quoted(name))


def quoted(name: str) -> str:
    """A literal name as SQL takes it."""
    return "`" + name.replace("`", "``") + "`"


def resolved(file: str, there: Sequence[str], needs: Mapping[str, str]) -> dict[int, str]:
    """The columns of a file that are read: by place, the name that the preset has for it.

    Args:
        file: what messages call it.
        there: its columns, in order.
        needs: the columns that are needed, and by whom.

    Returns:
        Columns that nobody needs keep their name; of those that share one, none is read.

    Raises:
        DataRefused: a needed column isn't there or more than one could be meant; all at once.
    """
    wanted = {name.lower(): name for name in needs}
    alike: dict[str, list[int]] = {}
    for place, name in enumerate(there):
        alike.setdefault(name.lower(), []).append(place)
    spare = [name for name in there if name.lower() not in wanted]
    problems = [
        _several([there[place] for place in alike[name]]) + f", which {needs[wanted[name]]} needs"
        for name in sorted(wanted)
        if len(alike.get(name, ())) > 1
    ]
    problems += [
        f"no column {name!r}{_near(name, spare)}, which {by} needs"
        for name, by in needs.items()
        if name.lower() not in alike
    ]
    if problems:
        raise DataRefused(
            f"{file} has " + "; ".join(problems) + f". Its columns are {', '.join(there)}. "
            "Nothing was published; deliver the columns again, or name the new ones in the "
            "preset's source"
        )
    return {
        places[0]: wanted.get(name, there[places[0]])
        for name, places in alike.items()
        if len(places) == 1 and name and (name in wanted or not name.startswith(OURS))
    }


def _several(names: Sequence[str]) -> str:
    if len(set(names)) == 1:
        return f"column {names[0]!r} more than once"
    listed = " and ".join(repr(name) for name in names)
    return f"columns {listed}, which differ in the case of their letters only"


def _near(name: str, there: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, there, n=1, cutoff=0.5)
    return f" (renamed to {close[0]!r}?)" if close else ""
