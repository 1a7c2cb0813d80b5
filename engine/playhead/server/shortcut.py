"""The shortcut: requests are found by one look into a table, and answered before the layers that Starlette puts around a route.

Owns which requests take it. What does not fit goes the long way, which has an answer for every path and method.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from playhead.server.boundary import Boundary
from playhead.server.routes.lean import PREFIX, LeanRoute

# What a path of ours is cut into at its slashes: the empty part before the first, the prefix, a noun, a name, and a verb.
_NOUN: Final = 2
_NAME: Final = 3
_VERB: Final = 4
_MOST_PARTS: Final = 5


class ShortcutApp(Starlette):
    """As Starlette's; `lean` are those of its routes that can be had the short way, too."""

    def __init__(self, lean: Iterable[LeanRoute], **settings: Any) -> None:
        super().__init__(**settings)
        self._table = _Table(lean)
        self._bounded = Boundary(_answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._table.find(scope) if scope["type"] == "http" else None
        if found is None:
            await super().__call__(scope, receive, send)
        else:
            scope["app"] = self
            scope["route"], scope["path_params"] = found
            await self._bounded(scope, receive, send)


class _Table:
    """Routes by method and path. A path has no parameter, or one, which is the name behind its noun."""

    def __init__(self, routes: Iterable[LeanRoute]) -> None:
        self._whole: dict[tuple[str, str], LeanRoute] = {}
        self._named: dict[tuple[str, str, str | None], tuple[LeanRoute, str]] = {}
        for route in routes:
            self._add(route)

    def _add(self, route: LeanRoute) -> None:
        names = list(route.param_convertors)
        if not names:
            self._whole[route.method, route.path] = route
            return
        parts = route.path.split("/")
        assert parts[_NAME] == f"{{{names[0]}}}", f"{route.path} is no path that the shortcut knows"
        assert len(names) == 1, f"{route.path} is no path that the shortcut knows"
        self._named[route.method, parts[_NOUN], _verb(parts)] = route, names[0]

    def find(self, scope: Scope) -> tuple[LeanRoute, dict[str, str]] | None:
        """The route for this request and its parameter by name; None where Starlette must look."""
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        whole = self._whole.get((scope["method"], path))
        if whole is not None:
            return whole, {}
        parts = path.split("/")
        if not _NAME < len(parts) <= _MOST_PARTS or not parts[_NAME] or not path.startswith(PREFIX + "/"):
            return None
        named = self._named.get((scope["method"], parts[_NOUN], _verb(parts)))
        if named is None:
            return None
        route, name = named
        return route, {name: parts[_NAME]}


def _verb(parts: list[str]) -> str | None:
    return parts[_VERB] if len(parts) > _VERB else None


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    route: LeanRoute = scope["route"]
    await route.answer(scope, receive, send)
