"""Bearer tokens: who made them, until when they count, and whether one that is presented does. Owns the streams of tokens.

A token's stream has its name. What is kept of all of them is in memory, so that a request costs a look into a table, one hash and
a comparison; it follows the log, so that every replica knows, and a restart forgets nothing.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

import orjson

from playhead.core import events as ev
from playhead.core.names import NAMESPACE, Micros, Version, run_stream, token_stream
from playhead.core.replay import event_of, to_append
from playhead.core.state import RunState
from playhead.core.tokens import Scope
from playhead.core.views import iso
from playhead.errors import EpochOver, NotFound, Refused, Unauthenticated, WrongVersion
from playhead.ports.access import Admission
from playhead.ports.clock import Clock
from playhead.ports.server import TokenRequest, TokenView
from playhead.ports.store import Append, EventStore, Recorded
from playhead.service.folds import Folds, one_by_one
from playhead.service.locks import KeyedLocks
from playhead.service.read_models import ReadModels

MAX_TOKENS: Final = 10_000  # names that a log may ever have: all are in memory

TOKEN_STREAMS: Final = f"{NAMESPACE}/token/"

_TRIES: Final = 5  # others change the same token only where two people mean the same name
_OPENING: Final = (Scope.CLIENT, Scope.ADMIN)


@dataclass(frozen=True, slots=True)
class TokenState:
    """The newest token of its name."""

    version: Version
    created: ev.TokenCreated
    created_at: Micros
    revoked_at: Micros | None = None

    def word(self, now: Micros) -> str:
        """live, revoked or ended."""
        if self.revoked_at is not None:
            return "revoked"
        return "live" if now < self.created.expires_at else "ended"


class Tokens(Admission):
    """`open` before the projector begins, which tells of what the read models have not seen. `runs` are the states of runs: the
    newest epoch of each has a token."""

    def __init__(self, store: EventStore, models: ReadModels, runs: Folds[RunState], clock: Clock) -> None:
        self._store = store
        self._models = models
        self._runs = runs
        self._clock = clock
        self._locks = KeyedLocks()
        self._folds = Folds(store, one_by_one(_step), weight=lambda _: 1, max_weight=MAX_TOKENS)
        self._tokens: dict[str, TokenState] = {}

    async def open(self) -> None:
        """Take in what the read models have seen."""
        for row in await self._models.rows("tokens"):
            created = ev.TokenCreated.model_validate(orjson.loads(row["created"]))
            self._keep(TokenState(row["version"], created, row["created_at"], row["revoked_at"]))

    # --- admission ----------------------------------------------------------------------------------------------------

    def admit(self, name: str, digest: str) -> Scope:
        state = self._tokens.get(name)
        if state is None or not hmac.compare_digest(state.created.digest, digest):
            raise Unauthenticated(
                "this server knows no such token",
                code="token_unknown",
                hint="it may be another server's, or replaced by a newer one: ask who runs this server for a token",
            )
        if state.revoked_at is not None:
            raise Unauthenticated(f"the token {name!r} was revoked", code="token_revoked", hint=_ANOTHER)
        if self._clock.now() >= state.created.expires_at:
            ended = iso(Micros(state.created.expires_at))
            raise Unauthenticated(f"the token {name!r} ended at {ended}", code="token_ended", hint=_ANOTHER)
        return state.created.scope

    async def admit_runner(self, run: str, digest: str) -> None:
        stream = run_stream(run)
        state = self._runs.kept(stream)
        if not _is_runners(state, digest) and not _is_runners(await self._runs.fresh(stream), digest):
            raise EpochOver(
                f"this token is not of the runner that run {run} has now",
                hint="another runner continues this run, or it was never given to this one; it must end",
            )

    def can_be_entered(self) -> bool:
        now = self._clock.now()
        return any(state.word(now) == "live" and state.created.scope in _OPENING for state in self._tokens.values())

    # --- commands -------------------------------------------------------------------------------------------------------

    async def create(self, request: TokenRequest) -> TokenView:
        """See `ServerApi.create_token`."""
        async with self._locks.hold(token_stream(request.name)):
            for _ in range(_TRIES):
                state = await self._folds.fresh(token_stream(request.name))
                if state is not None and state.word(self._clock.now()) == "live":
                    if (state.created.digest, state.created.scope) == (request.digest, request.scope):
                        return self._view(state)
                    raise Refused(
                        f"there is a live token {request.name!r} already",
                        code="token_exists",
                        hint=f"choose another name, or end that one: playhead token revoke {request.name}",
                    )
                if state is None and len(self._tokens) >= MAX_TOKENS:
                    raise Refused(
                        f"this log has {MAX_TOKENS} names of tokens, its limit",
                        code="too_many_tokens",
                        hint="give an old token's name again",
                    )
                created = ev.TokenCreated(
                    token=request.name,
                    scope=request.scope,
                    digest=request.digest,
                    expires_at=self._clock.now() + request.lifetime_seconds * 1_000_000,
                )
                if (after := await self._append(request.name, state, created)) is not None:
                    return self._view(after)
        raise _busy(request.name)

    async def revoke(self, name: str) -> TokenView:
        """See `ServerApi.revoke_token`."""
        async with self._locks.hold(token_stream(name)):
            for _ in range(_TRIES):
                state = await self._folds.fresh(token_stream(name))
                if state is None:
                    near = get_close_matches(name, self._tokens, n=1)
                    hint = f"did you mean {near[0]!r}?" if near else "`playhead token list` lists them"
                    raise NotFound("token", name, hint=hint)
                if state.revoked_at is not None:
                    return self._view(state)
                if (after := await self._append(name, state, ev.TokenRevoked())) is not None:
                    return self._view(after)
        raise _busy(name)

    def all(self) -> tuple[TokenView, ...]:
        """By name."""
        return tuple(self._view(self._tokens[name]) for name in sorted(self._tokens))

    def passed(self, recorded: Recorded) -> None:
        """The log's news of any stream but a run's."""
        if recorded.stream.startswith(TOKEN_STREAMS):
            known = self._tokens.get(recorded.stream.removeprefix(TOKEN_STREAMS))
            if known is None or known.version < recorded.version:
                self._keep(_step(known, recorded))

    async def _append(
        self, name: str, state: TokenState | None, event: ev.TokenCreated | ev.TokenRevoked
    ) -> TokenState | None:
        """The token after the event; None if another replica was quicker."""
        append = Append(
            stream=token_stream(name),
            events=(to_append(event),),
            expected=state.version if state is not None else Version(0),
            append_id=self._clock.new_id(),
            actor="client",
            recorded_at=self._clock.now(),
        )
        try:
            await self._store.append(append)
        except WrongVersion:
            return None
        after = await self._folds.fresh(token_stream(name))
        assert after is not None, "a stream to which was appended has a state"
        self._keep(after)
        return after

    def _keep(self, state: TokenState) -> None:
        known = self._tokens.get(state.created.token)
        if known is None or known.version < state.version:
            self._tokens[state.created.token] = state

    def _view(self, state: TokenState) -> TokenView:
        return TokenView(
            name=state.created.token,
            scope=state.created.scope,
            state=state.word(self._clock.now()),
            created_at=iso(state.created_at) or "",
            expires_at=iso(Micros(state.created.expires_at)) or "",
            revoked_at=iso(state.revoked_at),
        )


def _step(state: TokenState | None, recorded: Recorded) -> TokenState:
    event = event_of(recorded)
    if isinstance(event, ev.TokenCreated):
        return TokenState(recorded.version, event, recorded.recorded_at)
    assert state is not None, "a token's stream begins with its creation"
    return TokenState(recorded.version, state.created, state.created_at, recorded.recorded_at)


def _is_runners(state: RunState | None, digest: str) -> bool:
    return state is not None and state.head.runner is not None and hmac.compare_digest(state.head.runner, digest)


def _busy(name: str) -> Refused:
    return Refused(f"token {name} is being changed by others", code="busy", hint="ask again")


_ANOTHER: Final = "an admin makes another: playhead token create NAME --scope SCOPE"
