"""Sections made of config dataclasses: a family's fields, a tokenizer's, the alignment's.

They are checked as models and read as plain mappings, from which the dataclasses are made.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import AfterValidator, PlainSerializer, create_model, model_validator

from feature_store.preset import Section


def settings_of(config_class: type) -> Any:
    """The type of a section with some fields of a frozen dataclass; its value is a mapping.

    What the dataclass itself refuses is refused, too, once every field alone is right.
    """
    return _as_mapping(_section_of(config_class))


def settings_by(owners: Mapping[str, type]) -> Any:
    """The type of a section that holds, by owner, some fields of each one's dataclass."""
    fields = {name: (_section_of(owner), None) for name, owner in owners.items()}
    return _as_mapping(_says(create_model("Settings", __base__=Section, **fields), Section))


def overrides_by(owners: Mapping[str, Any], section: type[Section]) -> Any:
    """The type of a section that holds, by owner, some fields of another section."""
    own: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        bounds = field.metadata
        own[name] = (Annotated[field.annotation, *bounds] if bounds else field.annotation, None)
    changes = _says(create_model(f"{section.__name__}Changes", __base__=Section, **own), section)
    fields = {name: (changes, None) for name in owners}
    return _as_mapping(_says(create_model("Overrides", __base__=Section, **fields), Section))


def choice(names: Mapping[str, Any]) -> Any:
    """The type of a text that is one of the names."""
    return Literal[tuple(names)]


def _section_of(config_class: type) -> type[Section]:
    hints = get_type_hints(config_class, include_extras=True)
    fields = {
        each.name: (hints[each.name], each.default) for each in dataclasses.fields(config_class)
    }

    def build(self: Any) -> Any:
        config_class(**self.model_dump(exclude_unset=True))
        return self

    section = create_model(
        config_class.__name__,
        __base__=Section,
        __validators__={"build": model_validator(mode="after")(build)},
        **fields,
    )
    return _says(section, config_class)


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
