"""A log that was put back from an older copy: its leases are void, old cursors refused, and what it has forgotten can be told again."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from playhead.errors import CursorRefused, EpochOver, NotFound, Refused
from playhead.log import Log
from playhead.log.sqlite.backend import SqliteBackend
from playhead.ports.server import DiedRequest, FoundJournal, ReconcileRequest
from playhead.service import Service
from playhead.testing.clock import VirtualClock
from tests.service.world import ADOPTED, SUCCEEDED, World, run_id, submitted

GRANT = "f0" * 8


@asynccontextmanager
async def world_at(path: Path) -> AsyncGenerator[World]:
    clock = VirtualClock()
    async with (
        Log.open(await SqliteBackend.open(path / "log.db")) as log,
        Service(log, clock=clock, read_models=path / "views.db") as service,
    ):
        yield World(service, log, clock)


def back_up(path: Path) -> None:
    shutil.copy(path / "log.db", path / "copy")


def put_back(path: Path) -> None:
    shutil.copy(path / "copy", path / "log.db")


def told(*epochs: int) -> ReconcileRequest:
    journals = tuple(FoundJournal(epoch=epoch, grant=GRANT) for epoch in epochs)
    return ReconcileRequest(journals=journals, python="3.11")


async def test_leases_by_an_older_copy_are_void_and_counted_against_nobody(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        claimed = await world.running(1)
        await world.ask(2)
        await world.claim(2)
    back_up(tmp_path)
    async with world_at(tmp_path) as world:
        await world.report(claimed, 0, ADOPTED, submitted("parse"))
    put_back(tmp_path)
    for _ in range(2):
        async with world_at(tmp_path) as world:
            (lost,), (released,) = await world.recorded("run.lost"), await world.recorded("run.released")
            assert (lost.data, released.data["reason"]) == ({"epoch": 1, "reason": "drained"}, "draining")
            assert [await world.state(number) for number in (1, 2)] == ["ready", "ready"]
            for ask in (world.beat(claimed), world.report(claimed, 0, ADOPTED), world.start(claimed)):
                with pytest.raises(EpochOver):
                    await ask
            assert world.log.restored is None


async def test_a_restart_on_the_same_log_takes_no_lease(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        claimed = await world.running(1)
    async with world_at(tmp_path) as world:
        assert await world.beat(claimed) > 0
        assert await world.recorded("run.lost") == []


async def test_a_follower_of_what_was_forgotten_is_told_so(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        await world.running(1)
    back_up(tmp_path)
    async with world_at(tmp_path) as world:
        shared = (await world.service.info()).cursor
        await world.ask(2)
        forgotten = (await world.service.info()).cursor
    put_back(tmp_path)
    async with world_at(tmp_path) as world:
        for _ in range(5):
            await world.service.cancel(run_id(1))
            for cursor in (shared, forgotten):
                with pytest.raises(CursorRefused):
                    async with world.service.events(cursor=cursor) as pages:
                        await anext(pages)


async def test_forgotten_epochs_are_told_again_and_their_records_can_be_reported(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        claimed = await world.running(1)
        await world.service.died(claimed.run, DiedRequest(epoch=1))
        assert (await world.service.reconcile(run_id(1), told(3))).state.value == "ready"
        assert (await world.service.reconcile(run_id(1), told(3))).state.value == "ready", "asked for twice, told once"
        successor = await world.claim(1)
        assert successor.epoch == 4
        assert (await world.start(successor)).reported == (0, 0, 0, 0)
        await world.report(successor, 0, ADOPTED, submitted("parse"), origin=3)
        await world.report(successor, 0, ADOPTED, SUCCEEDED)
        assert await world.state(1) == "succeeded"
        released = [event.data["epoch"] for event in await world.recorded("run.released")]
        lost = [(event.data["epoch"], event.data["reason"]) for event in await world.recorded("run.lost")]
        assert (released, lost) == ([2], [(1, "exited"), (3, "drained")])


async def test_only_what_nobody_has_is_reconciled(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        await world.running(1)
        with pytest.raises(Refused, match="running"):
            await world.service.reconcile(run_id(1), told(2))
        with pytest.raises(NotFound):
            await world.service.reconcile(run_id(9), told(1))


async def test_an_epoch_far_away_is_no_journal_of_this_run(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        claimed = await world.running(1)
        await world.service.died(claimed.run, DiedRequest(epoch=1))
        with pytest.raises(Refused, match="too far"):
            await world.service.reconcile(run_id(1), told(100_000))
