"""From a URL to an open backend. Knows the schemes that are installed, and no backend.

A scheme is an entry point in the group `playhead.event_stores`. What it names, and what `module:factory` names, is an
async function that takes the whole URL and returns an open `StoreBackend`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Awaitable, Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Final, cast

from playhead.errors import UsageError
from playhead.ports.store import StoreBackend

GROUP: Final = "playhead.event_stores"

# Looked up before the installed distributions: these need no scan of the metadata, and nobody else can take their schemes.
_BUILT_IN: Final[dict[str, EntryPoint]] = {
    "memory": EntryPoint("memory", "playhead.log.memory:open_url", GROUP),
    "sqlite": EntryPoint("sqlite", "playhead.log.sqlite:open_url", GROUP),
}

OpenUrl = Callable[[str], Awaitable[StoreBackend]]

_FACTORY = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<factory>[A-Za-z_]\w*)(\?.*)?")


async def open_backend(url: str) -> StoreBackend:
    """The open backend behind a URL such as `sqlite:///var/lib/playhead/log.db` or `my_package.stores:open_store`.

    An installed scheme goes before a module of the same name. UsageError: no such scheme or factory; LogUnusable: the
    backend is found, but its log cannot be used.
    """
    scheme, colon, _ = url.partition(":")
    if colon and scheme in _BUILT_IN:
        return await _open_url_of(_BUILT_IN[scheme])(url)
    schemes = _BUILT_IN | {entry.name: entry for entry in entry_points(group=GROUP)}
    if colon and scheme in schemes:
        return await _open_url_of(schemes[scheme])(url)
    if factory := _FACTORY.fullmatch(url):
        return await _factory(url, factory["module"], factory["factory"], schemes)(url)
    raise _unknown(url, schemes)


def _open_url_of(entry: EntryPoint) -> OpenUrl:
    try:
        return cast(OpenUrl, entry.load())
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"the event store {entry.name!r} ({entry.value}) cannot be loaded: {error}",
            hint=f"install what it needs, for example with: pip install 'playhead[{entry.name}]'",
        ) from error


def _factory(url: str, module: str, name: str, schemes: dict[str, EntryPoint]) -> OpenUrl:
    try:
        found: object = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise _unknown(url, schemes) from error
    if not callable(found):
        raise UsageError(f"{url!r} names no function", hint="it must take the URL and return an open StoreBackend")
    return cast(OpenUrl, found)


def _unknown(url: str, schemes: dict[str, EntryPoint]) -> UsageError:
    known = ", ".join(f"{name}:" for name in sorted(schemes))
    return UsageError(
        f"{url!r} names no event store",
        hint=f"known schemes: {known}; or module:factory for one of your own (its module must be importable)",
    )
