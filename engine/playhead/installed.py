"""What installed packages bring: objects found by the group and the name of an entry point. Owns the search, the loading, and the errors
of what is missing, is there twice or does not load. Knows no group by itself, and calls nothing that it loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from playhead.errors import UsageError


@dataclass(frozen=True)
class Group:
    """An entry point group, such as `playhead.executors`. `noun`: what its names are kinds of, for errors.

    `built_in`: name -> `module:object`. They are looked up first: they need no scan of what is installed, which reads a file of every
    package, and nobody else can take their names. `extras`: the names that an extra of ours, named alike, brings.
    """

    name: str
    noun: str
    built_in: Mapping[str, str] = field(default_factory=dict[str, str])
    extras: frozenset[str] = frozenset()

    def load(self, kind: str) -> Any:
        """What is installed under this name. UsageError: nothing is, several packages bring it, or it does not load."""
        if kind in self.built_in:
            return self._loaded(EntryPoint(kind, self.built_in[kind], self.name))
        found = list({entry.value: entry for entry in entry_points(group=self.name, name=kind)}.values())
        if not found:
            raise self.unknown(kind)
        if len(found) > 1:
            raise self._ambiguous(kind, found)
        return self._loaded(found[0])

    def names(self) -> list[str]:
        """Every name that is known here, in order."""
        return sorted({*self.built_in, *(entry.name for entry in entry_points(group=self.name))})

    def unknown(self, kind: str) -> UsageError:
        """The error of a name that nobody brings."""
        from difflib import get_close_matches  # for this error only: a runner need not load it

        known = self.names()
        near = get_close_matches(kind, known, n=1)
        meant = f"did you mean {near[0]}? else " if near else ""
        todo = self._install(kind) if kind in self.extras else f"{meant}install the package that brings it"
        return UsageError(
            f"no {self.noun} of kind {kind!r} is installed here",
            hint=f"{todo} (entry point group {self.name}); installed: {', '.join(known) or 'none'}",
        )

    def _loaded(self, entry: EntryPoint) -> Any:
        """The object. Whatever importing foreign code raises is told: it is not a defect of ours."""
        try:
            loaded: Any = import_module(entry.module)
            for name in entry.attr.split("."):
                loaded = getattr(loaded, name)
        except Exception as error:
            ours = entry.name in self.extras and isinstance(error, ImportError)
            raise UsageError(
                f"the {self.noun} of kind {entry.name!r} ({_told(entry)}) does not load: {type(error).__name__}: {error}",
                hint=self._install(entry.name) if ours else f"try it alone: python -c 'import {entry.module}'",
            ) from error
        return loaded

    def _ambiguous(self, kind: str, found: list[EntryPoint]) -> UsageError:
        return UsageError(
            f"the {self.noun} of kind {kind!r} is brought by several packages: {' and '.join(map(_told, found))}",
            hint=f"uninstall all but one, for example: pip uninstall {_package(found[-1]).split()[0]}",
        )

    def _install(self, kind: str) -> str:
        return f"pip install 'playhead[{kind}]'"


def _told(entry: EntryPoint) -> str:
    return f"{entry.value} of {_package(entry)}"


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "playhead"
