"""From a URL to an open backend: the function that opens it is loaded, called and held to its word. Knows no backend.

That function is async, takes the whole URL, and returns an open `StoreBackend`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Awaitable, Callable
from typing import Final, cast

from playhead.errors import UsageError
from playhead.log.shape import checked
from playhead.log.sources import Source, source_of, unknown
from playhead.ports.store import StoreBackend

CONTRACT: Final = "it must be an async function that takes the URL and returns an open StoreBackend"

_EXTRAS: Final = {"postgresql": "postgres"}  # of our own package, where it is named otherwise than the scheme


async def open_backend(url: str) -> StoreBackend:
    """The open backend behind a URL such as `sqlite:///var/lib/playhead/log.db` or `my_package.stores:open_store`.

    UsageError: no such scheme or factory, or what it returns is no backend; LogUnusable: the backend is found, but its log cannot
    be used.
    """
    source = source_of(url)
    return checked(await _opening(_loaded(source, url), source, url), str(source))


def _loaded(source: Source, url: str) -> object:
    """The function. UsageError: it cannot be had."""
    try:
        module = importlib.import_module(source.module)
    except ModuleNotFoundError as error:
        if source.scheme is None and f"{source.module}.".startswith(f"{error.name}."):
            raise unknown(url) from error  # the module itself is not there: it may be a mistyped scheme
        raise _not_imported(source, error) from error
    except Exception as error:
        raise _not_imported(source, error) from error
    loaded: object = module
    for name in source.function.partition(":")[2].split("."):
        loaded = getattr(loaded, name, None)
    if loaded is None:
        raise UsageError(f"{source} is not there: its module has nothing of that name", hint=CONTRACT)
    return loaded


def _opening(function: object, source: Source, url: str) -> Awaitable[object]:
    if not callable(function):
        raise UsageError(f"{source} is no function", hint=CONTRACT)
    if not _takes_one(function):
        raise UsageError(f"{source} does not take the URL as its only argument", hint=CONTRACT)
    opening = cast("Callable[[str], object]", function)(url)
    if not inspect.isawaitable(opening):
        raise UsageError(f"{source} is not async", hint=CONTRACT)
    return opening


def _takes_one(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind("url")
    except TypeError:
        return False
    except ValueError:  # written in C, and without a signature: the call will tell
        return True
    return True


def _not_imported(source: Source, error: Exception) -> UsageError:
    if source.package == "playhead":
        todo = f"install what it needs: pip install 'playhead[{_EXTRAS.get(source.scheme or '', source.scheme)}]'"
    elif source.package is not None:
        todo = f"look at what {source.package} needs, and install it again"
    else:
        todo = f"try it alone: python -c 'import {source.module}'"
    return UsageError(f"{source} cannot be imported: {type(error).__name__}: {error}", hint=todo)
