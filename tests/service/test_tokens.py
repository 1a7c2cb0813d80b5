"""Tokens in the service: made once, ended, revoked, made again under their name, and known after a restart and to every replica."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import ValidationError

from playhead.core.tokens import SECRET_BYTES, Scope, Token
from playhead.errors import EpochOver, NotFound, Refused, Unauthenticated
from playhead.log import Log
from playhead.log.memory import MemoryRecords
from playhead.ports.server import MAX_TOKEN_SECONDS, ClaimRequest, DiedRequest, TokenRequest
from playhead.service import Service
from playhead.service import tokens as service_tokens
from playhead.testing.clock import VirtualClock
from tests.service.world import ADOPTED, SUCCEEDED, World, agent, flow, open_world, run_id
from tests.stores import new_backend

MINUTE = 60
DAY = 86_400


def token(name: str = "ci", fill: int = 1) -> Token:
    return Token(name, bytes([fill]) * SECRET_BYTES)


def request(token: Token, scope: Scope = Scope.CLIENT, seconds: int = DAY) -> TokenRequest:
    return TokenRequest.model_validate(
        {"name": token.name, "scope": scope, "digest": token.digest, "lifetime_seconds": seconds}
    )


def code_for(world: World, token: Token) -> str | Scope:
    """The scope of the token as it counts now, or why it does not."""
    try:
        return world.service.admission.admit(token.name, token.digest)
    except Unauthenticated as error:
        return error.code


async def test_a_token_counts_from_its_creation_to_its_end() -> None:
    async with open_world() as world:
        made = await world.service.create_token(request(token(), seconds=MINUTE))
        assert (made.name, made.scope, made.state, made.revoked_at) == ("ci", Scope.CLIENT, "live", None)
        assert code_for(world, token()) is Scope.CLIENT
        assert code_for(world, token(fill=2)) == code_for(world, token("other")) == "token_unknown"
        await world.clock.advance(MINUTE - 1)
        assert code_for(world, token()) is Scope.CLIENT
        await world.clock.advance(1)
        assert code_for(world, token()) == "token_ended"
        assert [view.state for view in await world.service.tokens()] == ["ended"]


async def test_to_make_it_again_after_a_lost_answer_is_harmless_and_another_of_the_name_is_refused() -> None:
    async with open_world() as world:
        first = await world.service.create_token(request(token()))
        assert await world.service.create_token(request(token())) == first
        for other in (request(token(fill=2)), request(token(), Scope.ADMIN)):
            with pytest.raises(Refused, match="live token 'ci'") as raised:
                await world.service.create_token(other)
            assert raised.value.code == "token_exists"
        assert len(await world.recorded("token.created")) == 1


async def test_a_revoked_token_counts_no_more_at_once_and_its_name_may_be_given_again() -> None:
    async with open_world() as world:
        await world.service.create_token(request(token()))
        revoked = await world.service.revoke_token("ci")
        assert (revoked.state, revoked.revoked_at is not None) == ("revoked", True)
        assert code_for(world, token()) == "token_revoked"
        assert await world.service.revoke_token("ci") == revoked
        await world.service.create_token(request(token(fill=2), Scope.VIEWER))
        assert code_for(world, token(fill=2)) is Scope.VIEWER
        assert code_for(world, token()) == "token_unknown"
        types = [event.type for event in await world.recorded() if event.type.startswith("token")]
        assert types == ["token.created", "token.revoked", "token.created"]


async def test_an_unknown_name_is_told_with_its_nearest() -> None:
    async with open_world() as world:
        await world.service.create_token(request(token("laptop")))
        with pytest.raises(NotFound) as raised:
            await world.service.revoke_token("labtop")
    assert "'laptop'" in (raised.value.hint or "")


@pytest.mark.parametrize(
    "change",
    [
        {"scope": "runner"}, {"scope": "root"}, {"lifetime_seconds": 0}, {"lifetime_seconds": MAX_TOKEN_SECONDS + 1},
        {"name": "a b"}, {"digest": "0f"}, {"secret": "x"},
    ],
)  # fmt: skip
def test_what_no_token_may_be_is_no_request(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TokenRequest.model_validate(request(token()).model_dump() | change)


async def test_only_a_client_or_an_admin_can_enter_a_server_with_nobody_in_it() -> None:
    async with open_world() as world:
        may = world.service.admission.can_be_entered
        assert not may()
        for number, (scope, opens) in enumerate(
            [(Scope.VIEWER, False), (Scope.AGENT, False), (Scope.CLIENT, True), (Scope.ADMIN, True)]
        ):
            await world.service.create_token(request(token(f"t{number}"), scope))
            assert may() is opens
            await world.service.revoke_token(f"t{number}")
            assert not may()
        await world.service.create_token(request(token("short"), seconds=1))
        await world.clock.advance(1)
        assert not may()


async def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_tokens, "MAX_TOKENS", 2)
    async with open_world() as world:
        for name in ("a", "b"):
            await world.service.create_token(request(token(name)))
        with pytest.raises(Refused) as raised:
            await world.service.create_token(request(token("c")))
        assert raised.value.code == "too_many_tokens"
        await world.service.revoke_token("a")
        await world.service.create_token(request(token("a", 2)))


@pytest.mark.parametrize("kept", [True, False])
async def test_a_restart_forgets_no_token_and_no_revocation(tmp_path: Path, kept: bool) -> None:
    """With the read models of before, and with ones that are made again from the log."""
    records, clock = MemoryRecords(), VirtualClock()
    async with open_world(records, views=tmp_path / "views.db", clock=clock) as world:
        await world.service.create_token(request(token("kept")))
        await world.service.create_token(request(token("gone")))
        await world.service.revoke_token("gone")
        await world.seen()
        before = await world.service.tokens()
    views = tmp_path / ("views.db" if kept else "other.db")
    async with open_world(records, views=views, clock=clock) as world:
        assert await world.service.tokens() == before
        assert code_for(world, token("kept")) is Scope.CLIENT
        assert code_for(world, token("gone")) == "token_revoked"
        await world.service.revoke_token("kept")
    async with open_world(records, views=views, clock=clock) as world:  # the read models may not have seen it
        assert code_for(world, token("kept")) == "token_revoked"


async def test_another_replica_learns_of_it_from_the_log() -> None:
    clock = VirtualClock()
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(Log.open(await new_backend()))
        here, there = [await stack.enter_async_context(Service(log, clock=clock)) for _ in range(2)]
        world = World(there, log, clock)
        await here.create_token(request(token()))
        await _seen(clock, world)
        assert code_for(world, token()) is Scope.CLIENT
        await here.revoke_token("ci")
        await _seen(clock, world)
        assert code_for(world, token()) == "token_revoked"


async def _seen(clock: VirtualClock, world: World) -> None:
    await clock.advance(1)
    await world.seen()


async def test_the_log_holds_no_secret() -> None:
    async with open_world() as world:
        await world.service.create_token(request(token()))
        text = repr(await world.recorded())
    assert token().digest in text
    assert token().text[-56:] not in text
    assert token().secret.hex() not in text


# --- runners ------------------------------------------------------------------------------------------------------------


def runner(number: int, fill: int) -> Token:
    return Token(run_id(number), bytes([fill]) * SECRET_BYTES, of_runner=True)


async def is_admitted(world: World, number: int, fill: int) -> bool:
    try:
        await world.service.admission.admit_runner(run_id(number), runner(number, fill).digest)
    except EpochOver:
        return False
    return True


async def test_a_runners_token_is_its_runs_and_its_epochs_alone() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.service.join(agent())
        for number in (1, 2):
            await world.ask(number)
        first = ClaimRequest(agent="otter", claim="c1" * 8, runner=runner(1, 1).digest)
        claimed = await world.service.claim(run_id(1), first)
        assert await world.service.claim(run_id(1), first) == claimed
        with pytest.raises(Refused) as raised:
            await world.service.claim(run_id(1), first.model_copy(update={"runner": runner(1, 2).digest}))
        assert raised.value.code == "other_claim"
        assert [await is_admitted(world, 1, fill) for fill in (1, 2)] == [True, False]
        assert not await is_admitted(world, 2, 1)
        assert not await is_admitted(world, 3, 1), "there is no such run"
        await world.start(claimed)
        await world.service.died(run_id(1), DiedRequest(epoch=1, signal=9))
        assert await is_admitted(world, 1, 1), "it may hear that its epoch is over, until there is another"
        second = ClaimRequest(agent="otter", claim="c2" * 8, runner=runner(1, 2).digest)
        await world.start(await world.service.claim(run_id(1), second))
        assert [await is_admitted(world, 1, fill) for fill in (1, 2)] == [False, True]


async def test_a_runner_may_report_what_came_too_late() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.service.join(agent())
        await world.ask(1)
        claimed = await world.service.claim(
            run_id(1), ClaimRequest(agent="otter", claim="c1" * 8, runner=runner(1, 1).digest)
        )
        await world.start(claimed)
        await world.report(claimed, 0, ADOPTED, SUCCEEDED)
        assert await is_admitted(world, 1, 1)


async def test_a_claim_without_a_token_has_a_runner_without_one() -> None:
    async with open_world() as world:
        await world.running(1)
        assert not await is_admitted(world, 1, 1)
