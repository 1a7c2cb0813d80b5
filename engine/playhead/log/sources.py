"""Who opens a store's URL: a scheme that is built in or installed, or a function that the URL names. Imports none of them.

A scheme is an entry point in the group `playhead.event_stores`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from playhead.errors import UsageError
from playhead.log.shown import without_secrets

GROUP: Final = "playhead.event_stores"

# Looked up before the installed distributions: these need no scan of the metadata, and nobody else can take their schemes.
_BUILT_IN: Final = {"memory": "playhead.log.memory:open_url", "sqlite": "playhead.log.sqlite:open_url"}

_FACTORY: Final = re.compile(r"(?P<function>[A-Za-z_][\w.]*:[A-Za-z_]\w*)(\?.*)?")


@dataclass(frozen=True, slots=True)
class Source:
    """A function, `module:name`, that opens stores. `scheme` and `package` are None where the URL itself names the function."""

    function: str
    scheme: str | None = None
    package: str | None = None
    version: str | None = None  # of the package; None for what is built in, whose version is Playhead's

    @property
    def module(self) -> str:
        return self.function.partition(":")[0]

    def __str__(self) -> str:
        """For errors."""
        of_package = f", of {self.package} {self.version}" if self.version else ""
        return f"the event store {self.scheme!r} ({self.function}{of_package})" if self.scheme else self.function


def source_of(url: str) -> Source:
    """Who opens this URL. An installed scheme goes before a module of the same name. UsageError: nobody, or several packages."""
    scheme, colon, _ = url.partition(":")
    if colon and scheme in _BUILT_IN:
        return Source(_BUILT_IN[scheme], scheme, "playhead")
    if colon and (sources := _installed(scheme)):
        if len(sources) > 1:
            raise _ambiguous(scheme, sources)
        return sources[0]
    if factory := _FACTORY.fullmatch(url):
        return Source(factory["function"])
    raise unknown(url)


def unknown(url: str) -> UsageError:
    """The error of a URL that nobody opens."""
    schemes = sorted({*_BUILT_IN, *entry_points(group=GROUP).names})
    known = ", ".join(f"{name}:" for name in schemes)
    near = get_close_matches(url.partition(":")[0].lower(), schemes, n=1)
    meant = f"did you mean {near[0]}:? " if near else ""
    return UsageError(
        f"{without_secrets(url)!r} names no event store",
        hint=f"{meant}known schemes: {known}; or module:factory for one of your own (its module must be importable)",
    )


def _installed(scheme: str) -> list[Source]:
    """Each function once: a package that is found on two paths is still one."""
    offers = {entry.value: entry for entry in entry_points(group=GROUP, name=scheme)}
    return [_source(entry) for entry in offers.values()]


def _source(entry: EntryPoint) -> Source:
    package = entry.dist
    if package is None:
        return Source(entry.value, entry.name)
    return Source(entry.value, entry.name, package.name, package.version)


def _ambiguous(scheme: str, sources: list[Source]) -> UsageError:
    offered = " and ".join(f"{source.package} {source.version} ({source.function})" for source in sources)
    return UsageError(
        f"the scheme {scheme!r} is offered by several packages: {offered}",
        hint=f"uninstall all but one, for example: pip uninstall {sources[-1].package}",
    )
