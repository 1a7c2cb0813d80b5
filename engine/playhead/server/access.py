"""Who may ask what: the table of routes and scopes, and whom a request speaks for. Owns the `Authorization` header, and no token.

A route that is not in the table is nobody's. A request without a token is let in where the app does not require one; a token that
comes along is checked everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from playhead.core.tokens import MAX_TOKEN_LETTERS, Mistyped, Scope, Token, claimed_name, digest_of
from playhead.errors import Forbidden, Unauthenticated
from playhead.ports.access import Admission

Route = tuple[str, str]  # method and path

_VIEWER, _CLIENT, _AGENT, _RUNNER, _ADMIN = Scope.VIEWER, Scope.CLIENT, Scope.AGENT, Scope.RUNNER, Scope.ADMIN

MAY: Final[Mapping[Route, frozenset[Scope]]] = {
    # to look
    ("GET", "/api/health"): frozenset(Scope),
    ("GET", "/api/info"): frozenset({_VIEWER, _CLIENT, _AGENT, _ADMIN}),
    ("GET", "/api/flows"): frozenset({_VIEWER, _CLIENT, _ADMIN}),
    ("GET", "/api/flows/{name}"): frozenset({_VIEWER, _CLIENT, _ADMIN}),
    ("GET", "/api/runs"): frozenset({_VIEWER, _CLIENT, _AGENT, _ADMIN}),
    ("GET", "/api/runs/{run}"): frozenset({_VIEWER, _CLIENT, _AGENT, _ADMIN}),
    ("GET", "/api/runs/{run}/why"): frozenset({_VIEWER, _CLIENT, _ADMIN}),
    ("GET", "/api/runs/{run}/history"): frozenset({_VIEWER, _CLIENT, _RUNNER, _ADMIN}),
    ("GET", "/api/agents"): frozenset({_VIEWER, _CLIENT, _AGENT, _ADMIN}),
    ("GET", "/api/events"): frozenset({_VIEWER, _CLIENT, _AGENT, _ADMIN}),
    # to have something run
    ("POST", "/api/flows"): frozenset({_CLIENT, _ADMIN}),
    ("POST", "/api/runs"): frozenset({_CLIENT, _ADMIN}),
    ("POST", "/api/runs/preset"): frozenset({_CLIENT, _ADMIN}),
    ("POST", "/api/runs/embedded"): frozenset({_CLIENT, _ADMIN}),
    ("POST", "/api/runs/{run}/cancel"): frozenset({_CLIENT, _ADMIN}),
    # to take runs into custody
    ("POST", "/api/agents"): frozenset({_AGENT, _ADMIN}),
    ("POST", "/api/agents/{agent}/beat"): frozenset({_AGENT, _ADMIN}),
    ("POST", "/api/agents/{agent}/drain"): frozenset({_AGENT, _ADMIN}),
    ("POST", "/api/agents/{agent}/leave"): frozenset({_AGENT, _ADMIN}),
    ("POST", "/api/runs/{run}/claim"): frozenset({_AGENT, _ADMIN}),
    ("POST", "/api/runs/{run}/release"): frozenset({_AGENT, _ADMIN}),
    ("POST", "/api/runs/{run}/died"): frozenset({_AGENT, _ADMIN}),
    # to run one
    ("POST", "/api/runs/{run}/start"): frozenset({_RUNNER, _ADMIN}),
    ("POST", "/api/runs/{run}/heartbeat"): frozenset({_RUNNER, _ADMIN}),
    ("POST", "/api/runs/{run}/report"): frozenset({_RUNNER, _ADMIN}),
    # to say what is true of a run after its log was put back from an older copy
    ("POST", "/api/runs/{run}/reconcile"): frozenset({_ADMIN}),
    # to let others in
    ("POST", "/api/tokens"): frozenset({_ADMIN}),
    ("GET", "/api/tokens"): frozenset({_ADMIN}),
    ("POST", "/api/tokens/{name}/revoke"): frozenset({_ADMIN}),
}

# What needs no token anywhere: probes have none, and the description is that of a program which everybody can have.
OPEN: Final = frozenset({("GET", "/api/health"), ("GET", "/openapi.json")})

CHALLENGE: Final = 'Bearer realm="playhead"'  # RFC 6750, section 3


@dataclass(slots=True)  # not frozen: it is made for each request, and that takes five times as long
class Bearer:
    """Whom a request speaks for. `run`: the only one that a runner may name. `check` raises Unauthenticated once it is over."""

    scope: Scope
    run: str | None
    check: Callable[[], object]


class Door:
    """An app's way in. `admission` is that of the server that runs now; `required`: nobody passes without a token."""

    def __init__(self, admission: Callable[[], Admission], *, required: bool) -> None:
        self.admission = admission
        self.required = required

    async def enter(self, scope: MutableMapping[str, Any]) -> None:
        """Note in the request's scope whom it speaks for, before its body is read. Raises Unauthenticated, EpochOver."""
        scope[_BEARER] = None
        text = _presented(scope)
        if text is not None:
            scope[_BEARER] = await self._bearer(text)
        elif self.required and (scope["method"], scope["path"].removeprefix(scope.get("root_path", ""))) not in OPEN:
            raise Unauthenticated("this server asks for a token, and none came", code="token_required", hint=_HOW)

    async def _bearer(self, text: str) -> Bearer:
        try:
            name, of_runner = claimed_name(text)
        except ValueError as error:
            raise _malformed(isinstance(error, Mistyped)) from None
        admission, digest = self.admission(), digest_of(text)
        if of_runner:
            await admission.admit_runner(name, digest)
            return Bearer(Scope.RUNNER, name, _stays)
        try:
            return Bearer(admission.admit(name, digest), None, partial(admission.admit, name, digest))
        except Unauthenticated as error:
            if error.code == "token_unknown":
                _check_whole(text)
            raise


def bearer_of(scope: Mapping[str, Any]) -> Bearer | None:
    """Whom a request speaks for; None if it came without a token, and may. KeyError: it came by no door."""
    bearer: Bearer | None = scope[_BEARER]
    return bearer


def check_may(scope: Mapping[str, Any], route: Route) -> None:
    """Forbidden unless the request's token is for this route; a runner's, for its own run."""
    bearer = bearer_of(scope)
    if bearer is None:
        return
    may = MAY.get(route, frozenset())
    if bearer.scope not in may:
        scopes = tuple(each.value for each in Scope if each in may)
        raise Forbidden(
            f"a token of the scope {bearer.scope} is not for this; one of {' or '.join(scopes) or 'no scope'} is",
            scopes=scopes,
            hint="an admin makes another: playhead token create NAME --scope SCOPE",
        )
    if bearer.run is not None and scope["path_params"].get("run", bearer.run) != bearer.run:
        raise Forbidden("a runner's token is for its own run only")


def _presented(scope: Mapping[str, Any]) -> str | None:
    """The token's text; None where there is no such header. Unauthenticated: the header holds something else."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, text = value.partition(b" ")
            if kind.lower() != b"bearer" or not text.isascii() or len(text) > 2 * MAX_TOKEN_LETTERS:
                raise _malformed(mistyped=False)
            return str(text.strip().decode())
    return None


def _check_whole(text: str) -> None:
    """Tell one that is mistyped from one that is unknown. Not looked at on the way of those that count."""
    try:
        Token.parse(text)
    except ValueError:
        raise _malformed(mistyped=True) from None


def _malformed(mistyped: bool) -> Unauthenticated:
    if mistyped:
        what, hint = "the token is not whole: letters of it are missing or changed", "copy it again, all of it"
    else:
        what, hint = "what was presented is no token of Playhead", "the header is `Authorization: Bearer TOKEN`"
    return Unauthenticated(what, code="token_malformed", hint=hint)


def _stays() -> None:
    """A runner's token opens no stream that could outlive it."""


_BEARER: Final = "playhead.bearer"  # in a request's scope
_HOW: Final = (
    "name the file that holds one with --token-file or PLAYHEAD_TOKEN_FILE; an admin makes one: "
    "playhead token create NAME --scope client"
)
