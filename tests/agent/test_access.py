"""Tokens on an agent's side: its own, refused or ended, and those that it makes for its runners."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from playhead.agent.starting import RunnerEnvironment
from playhead.core.tokens import Token
from playhead.errors import EpochOver, PlayheadError, Unauthenticated
from playhead.ports.server import ServerApi
from playhead.settings import SECRET_VARIABLES
from tests.agent.world import PACE, Machine, a_world, an_agent, at_work


class Refusing:
    """Any `ServerApi`, which may refuse every request that is awaited."""

    def __init__(self, api: ServerApi) -> None:
        self._api = api
        self.refusal: PlayheadError | None = None
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._api, name)
        if name in ("events", "history"):
            return method

        async def asked(*arguments: Any, **keywords: Any) -> Any:
            if self.refusal is not None:
                self.refused += 1
                raise self.refusal
            return await method(*arguments, **keywords)

        return asked


def refusal(code: str) -> Unauthenticated:
    return Unauthenticated("the token 'gpu-1' counts no more", code=code)


async def test_each_runner_gets_a_token_of_its_own_and_the_server_its_digest() -> None:
    machine = Machine()
    async with a_world() as world, at_work(an_agent(world, machine)):
        runs = [await world.ask() for _ in range(2)]
        orders = [(await machine.launched(number)).order for number in (1, 2)]
        tokens = [Token.parse(order.token or "") for order in orders]
        assert [token.name for token in tokens] == [order.run for order in orders]
        assert all(token.of_runner for token in tokens)
        assert tokens[0].secret != tokens[1].secret
        for token, order in zip(tokens, orders, strict=True):
            claimed = await world.event(token.name, "run.claimed")
            assert claimed.data["runner"] == token.digest
            await world.api.admission.admit_runner(token.name, token.digest)
            assert token.text[-20:] not in f"{order!r}"
        other = next(run for run in runs if run != tokens[0].name)
        with pytest.raises(EpochOver):
            await world.api.admission.admit_runner(other, tokens[0].digest)


async def test_an_agent_whose_token_was_revoked_ends_and_says_why_and_its_runners_go_on() -> None:
    machine = Machine()
    async with a_world() as world:
        api = Refusing(world.api)
        agent = an_agent(world, machine, api=cast("ServerApi", api), pace=replace(PACE, beat_seconds=0.01))
        await world.ask()
        with pytest.raises(ExceptionGroup) as raised:
            async with at_work(agent):
                await machine.launched(1)
                api.refusal = refusal("token_revoked")
                await anyio.sleep_forever()
        assert raised.group_contains(Unauthenticated, match="counts no more")
        assert len(machine.running) == 1


async def test_an_agent_whose_token_has_ended_says_so_and_goes_on_once_it_has_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = Machine()
    async with a_world() as world:
        api = Refusing(world.api)
        with caplog.at_level(logging.WARNING):
            async with at_work(an_agent(world, machine, api=cast("ServerApi", api))):
                first = await world.ask()
                await machine.launched(1)
                api.refusal = refusal("token_ended")
                second = await world.ask()
                with anyio.fail_after(20):
                    while api.refused < 5:
                        await anyio.sleep(0)
                assert [runner.run for runner in machine.launches] == [first]
                api.refusal = None
                assert (await machine.launched(2)).run == second
    assert "counts no more" in caplog.text


def test_what_user_code_may_not_have_is_taken_out_of_a_runners_environment(tmp_path: Path) -> None:
    given = dict.fromkeys(SECRET_VARIABLES, "secret")
    environment = RunnerEnvironment(given | {"PATH": os.defpath, "PLAYHEAD_SERVER": "https://x"}, [tmp_path])
    assert "secret" not in environment.given.values()
    assert environment.given["PLAYHEAD_SERVER"] == "https://x"
