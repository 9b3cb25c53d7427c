"""What there is by name: what we have, and what installed packages add through an entry point.

    [project.entry-points."sidereal.models"]
    parrot = "parrot_model:FAMILY"

A package's names are known from its metadata; what a name stands for is imported when it is used,
so that a package that is broken harms nobody who does without it. Standard library only.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

T = TypeVar("T")
MODELS_GROUP = "sidereal.models"
TOKENIZERS_GROUP = "sidereal.tokenizers"
STEPS_GROUP = "sidereal.steps"
TABLES_GROUP = "sidereal.tables"


class PluginError(ValueError):
    """Something of an installed package that can't be used; says of which, and why."""


class Registry(Mapping[str, T]):
    """What can be chosen by name, ours first.

    Args:
        group: of the entry points.
        ours: what we have.
        accept: (name, what an entry point names) → what is found under the name; raises ValueError
            with what was expected.
    """

    def __init__(self, group: str, ours: Mapping[str, T], accept: Callable[[str, Any], T]) -> None:
        self._group, self._ours, self._accept = group, ours, accept
        self._loaded: dict[str, T] = {}

    @property
    def installed(self) -> list[str]:
        """Names that packages add; none that is ours."""
        return [name for name in _offers(self._group) if name not in self._ours]

    def __iter__(self) -> Iterator[str]:
        yield from self._ours
        yield from self.installed

    def __len__(self) -> int:
        return len(self._ours) + len(self.installed)

    def __contains__(self, name: object) -> bool:
        # A mapping's own way is to load what is asked for.
        return name in self._ours or name in _offers(self._group)

    def __getitem__(self, name: str) -> T:
        """What is found under a name.

        Raises:
            KeyError: nobody has the name.
            PluginError: several packages have it, or what it names can't be imported or is of
                another type.
        """
        if name in self._ours:
            return self._ours[name]
        if name not in self._loaded:
            self._loaded[name] = self._load(name, _offers(self._group)[name])
        return self._loaded[name]

    def loaded(self) -> dict[str, T]:
        """All there is, ours first.

        Raises:
            PluginError: what a package offers can't be used, or has a name of ours.
        """
        for name in _offers(self._group):
            self.require(name)
        return dict(self)

    def require(self, name: str) -> None:
        """Refuse a name that does not stand for one thing alone.

        Raises:
            PluginError: as looking it up; or a package offers a name that is ours.
        """
        offers = _offers(self._group).get(name, ())
        if name in self._ours and offers:
            raise PluginError(
                f"{name!r} is a name of our own, and {_packages(offers)} offers another in"
                f" {self._group}: uninstall that package, or have it take another name"
            )
        self[name]

    def _load(self, name: str, offers: tuple[EntryPoint, ...]) -> T:
        if len(offers) > 1:
            raise PluginError(
                f"{name!r} is offered by {_packages(offers)} in {self._group}: uninstall all but"
                " one of them"
            )
        whose = f"{name!r} of {_packages(offers)} ({self._group}: {offers[0].value})"
        try:
            thing = offers[0].load()
        except Exception as error:  # whatever a package's own import raises
            raise PluginError(
                f"{whose} can't be imported: {error!r}; mend or uninstall the package"
            ) from error
        try:
            return self._accept(name, thing)
        except ValueError as error:
            raise PluginError(f"{whose} {error}; mend or uninstall the package") from error


def imported(target: str) -> Any:
    """What `module:attribute` names; imports the module."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def _offers(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    """Entry points of all installed packages by name, in the order of names."""
    return _offers_on(group, tuple(sys.path))


@cache
def _offers_on(group: str, path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for each in sorted(entry_points(group=group), key=lambda each: (each.name, _package(each))):
        found[each.name] = (*found.get(each.name, ()), each)
    return found


def _packages(offers: tuple[EntryPoint, ...]) -> str:
    return " and ".join(f"package {_package(each)}" for each in offers)


def _package(offer: EntryPoint) -> str:
    return f"{offer.dist.name} {offer.dist.version}" if offer.dist else "of no name"
