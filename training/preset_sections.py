"""Sections made of config dataclasses: a family's fields, a tokenizer's, the alignment's.

They are checked as models and read as plain mappings, from which the dataclasses are made.
"""

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from pydantic import AfterValidator, PlainSerializer, create_model, model_validator

from feature_store.installed import Registry
from feature_store.preset import Section
from feature_store.preset_problems import model_problems

T = TypeVar("T")


def settings_of(config_class: type) -> Any:
    """The type of a section with some fields of a frozen dataclass; its value is a mapping.

    What the dataclass itself refuses is refused, too, once every field alone is right.
    """
    return _as_mapping(_section_of(config_class))


def settings_by(owners: Registry[T], config_class_of: Callable[[T], type]) -> Any:
    """The type of a section that holds, by owner, some fields of each one's dataclass.

    That of an owner in an installed package is imported when something of it is set.
    """
    added = owners.installed
    fields: dict[str, Any] = {
        name: (_section_of(config_class_of(owners[name])), None)
        for name in owners
        if name not in added
    }
    for name in added:
        fields[name] = (_set_by(partial(_config_class, owners, config_class_of, name)), None)
    return _as_mapping(_says(create_model("Settings", __base__=Section, **fields), Section))


def overrides_by(owners: Iterable[str], section: type[Section]) -> Any:
    """The type of a section that holds, by owner, some fields of another section."""
    own: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        bounds = field.metadata
        own[name] = (Annotated[field.annotation, *bounds] if bounds else field.annotation, None)
    changes = _says(create_model(f"{section.__name__}Changes", __base__=Section, **own), section)
    fields: dict[str, Any] = {name: (changes, None) for name in owners}
    return _as_mapping(_says(create_model("Overrides", __base__=Section, **fields), Section))


def choice(owners: Registry[Any]) -> Any:
    """The type of a text that is one of the names, and that can be used."""

    def usable(name: str) -> str:
        owners.require(name)
        return name

    return Annotated[Literal[tuple(owners)], AfterValidator(usable)]


def _config_class(owners: Registry[T], config_class_of: Callable[[T], type], name: str) -> type:
    return config_class_of(owners[name])


def _set_by(config_class: Callable[[], type]) -> Any:
    """The type of a section whose dataclass is imported when there is one to check."""

    def checked(value: Any) -> Any:
        section = _section_of(config_class())
        problems = [str(problem) for _, problem in model_problems(section, value)]
        if problems:
            raise ValueError("; ".join(problems))
        return value

    return Annotated[dict[str, Any], AfterValidator(checked)]


def _section_of(config_class: type) -> type[Section]:
    hints = get_type_hints(config_class, include_extras=True)
    fields: dict[str, Any] = {
        each.name: (hints[each.name], each.default) for each in dataclasses.fields(config_class)
    }

    def build(self: Any) -> Any:
        config_class(**self.model_dump(exclude_unset=True))
        return self

    validators: dict[str, Any] = {"build": model_validator(mode="after")(build)}
    section: type[Section] = _says(
        create_model(config_class.__name__, __base__=Section, __validators__=validators, **fields),
        config_class,
    )
    return section


def _says(section: Any, owner: type) -> Any:
    """The generated section, which remembers whose fields say what its own mean."""
    section.made_of = owner
    return section


def _as_mapping(section: type[Section]) -> Any:
    return Annotated[
        section,
        AfterValidator(lambda model: model.model_dump(exclude_unset=True)),
        PlainSerializer(lambda mapping: mapping),
    ]
