"""A frozen config dataclass from what a preset says about it."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints


def configure(config_class: type, owner: str, settings: Mapping[str, Any]) -> Any:
    """A config with some fields set.

    Args:
        config_class: a dataclass; every field has a default.
        owner: whose config it is, for messages.
        settings: fields and their values.
    Raises:
        ValueError: a setting that there is not, or a choice that is not offered.
    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Lamp:
        ...     colour: Literal["white", "red"] = "white"
        >>> configure(Lamp, "lamp", {"colour": "red"})
        Lamp(colour='red')
        >>> configure(Lamp, "lamp", {"color": "red"})
        Traceback (most recent call last):
        ValueError: lamp has no setting ['color']; it has ['colour']
    """
    known = {field.name for field in dataclasses.fields(config_class)}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ValueError(f"{owner} has no setting {unknown}; it has {sorted(known)}")
    for name, hint in get_type_hints(config_class).items():
        offered = get_args(hint)
        if get_origin(hint) is Literal and settings.get(name, offered[0]) not in offered:
            raise ValueError(
                f"{owner}.{name} is {settings[name]!r}, expected one of {list(offered)}"
            )
    return config_class(**settings)
