"""What a model of sections can't say about the pipelines' part of a preset; starts no Spark."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from feature_store.preset import Rule
from feature_store.preset_problems import Problem, near, one_of, shown
from feature_store.tables import CATALOG
from pipelines.sql_words import words_of
from pipelines.transforms.row_function_names import (
    KNOWN_BEYOND_THE_ROW,
    OF_THE_ROW,
    ROW_FUNCTIONS,
    WITHOUT_BRACKETS,
)

if TYPE_CHECKING:
    from pipelines.config import CatalogueMapping, PipelineConfig

Found = Iterator[tuple[tuple[str | int, ...], Problem]]
_OTHER_DAY = re.compile(r"\{(?!(?-i:day)\})\w*(?:day|date|ds|yyyy|year|month)\w*\}", re.IGNORECASE)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def _own_rules(config: "PipelineConfig") -> Found:
    """Rules of one's own have names of their own and speak of columns that there are."""
    named: set[tuple[str, str]] = set()
    for place, rule in enumerate(config.validation.rules):
        path = ("validation", "rules", place)
        if not _NAME.fullmatch(rule.name):
            expected = "lower-case letters, digits and _, a letter first"
            said = f"found {shown(rule.name)}"
            yield (*path, "name"), Problem(path="", found=said, expected=expected)
        if (rule.table, rule.name) in named:
            said = f"{rule.table} has a rule {rule.name!r} already"
            yield (*path, "name"), Problem(path="", found=said)
        named.add((rule.table, rule.name))
        words, problem = words_of(rule.condition), _no_condition(rule.condition)
        if problem:
            yield (*path, "condition"), Problem(path="", found=problem)
            continue
        columns = CATALOG[rule.table].column_names
        known = {column.lower() for column in columns}
        for name in words.columns:
            if name.lower() not in known:
                yield (
                    (*path, "condition"),
                    Problem(
                        path="",
                        found=f"{rule.table} has no column {name!r}",
                        expected=one_of(columns),
                        nearest=near(name, columns),
                    ),
                )


def _strength_rules(config: "PipelineConfig") -> Found:
    """Rules of strength are conditions; their columns are known once the log is read."""
    if not config.source.strength:
        said = "found an empty list, so that no row has a strength"
        yield ("source", "strength"), Problem(path="", found=said, expected="at least one rule")
    for place, rule in enumerate(config.source.strength):
        problem = _no_condition(rule.when)
        if problem:
            yield ("source", "strength", place, "when"), Problem(path="", found=problem)


def _paths(config: "PipelineConfig") -> Found:
    """A path has `{day}` for its day, and no other word that somebody may take for one."""
    source = config.source
    paths: dict[tuple[str | int, ...], str] = {("source", "path"): source.path}
    if source.layout == "table":
        beside = {"catalogue": source.catalogue, "users": source.users}
        paths |= {("source", key, "path"): each.path for key, each in beside.items() if each}
    for place, path in paths.items():
        if other := _OTHER_DAY.search(path):
            expected = "{day}, which stands for a day such as 2024-03-01"
            yield place, Problem(path="", found=f"found {other[0]}", expected=expected)


def _no_condition(text: str) -> str:
    """Why a text is no condition about one row; empty where it may be one."""
    words = words_of(text)
    foreign = [name for name in words.functions if name not in ROW_FUNCTIONS]
    if words.problem or not foreign:
        return words.problem
    said = ", ".join(foreign)
    if foreign[0] in WITHOUT_BRACKETS:
        return f"it uses {said}, and {OF_THE_ROW}; a column of that name is written `{foreign[0]}`"
    nearest = near(foreign[0], ROW_FUNCTIONS) if foreign[0] not in KNOWN_BEYOND_THE_ROW else None
    hint = f"; did you mean {nearest!r}?" if nearest else ""
    return f"it uses {said}, and {OF_THE_ROW}{hint}"


def nothing_to_embed(config: "PipelineConfig") -> str | None:
    """Why the encoder would have no more of an item than its id; None where it has more."""
    catalogue = getattr(config.source, "catalogue", None)
    if config.source.layout != "table":
        return None
    key = "text" if config.embedding.encoder == "text" else "attributes"
    if catalogue is not None and (catalogue.attributes or (key == "text" and _words(catalogue))):
        return None
    lacks = "there is no source.catalogue" if catalogue is None else f"it names no {key}"
    return (
        f"embedding.encoder: {config.embedding.encoder} reads {key} of source.catalogue, and "
        f"{lacks}; the ids of items will be embedded, which say nothing of what is alike. Name "
        f"columns in source.catalogue.{key}"
    )


def _words(catalogue: "CatalogueMapping") -> bool:
    return bool(catalogue.text or catalogue.title)


def _beams(config: "PipelineConfig") -> Found:
    """Beams are of weights that end before the slate, which leave_last_out can't say."""
    asks = config.preference_lists.pseudo_exposures_from
    if asks == "beams" and config.evaluation.protocol != "rolling":
        said = f"found {shown(asks)} under evaluation.protocol {config.evaluation.protocol}"
        problem = Problem(path="", found=said, expected="sampled, or the protocol rolling")
        yield ("preference_lists", "pseudo_exposures_from"), problem


RULES = (
    Rule(("validation.rules",), _own_rules),
    Rule(("source",), _strength_rules),
    Rule(("source",), _paths),
    Rule(("preference_lists", "evaluation"), _beams),
)
