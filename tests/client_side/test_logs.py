"""Log lines: of all epochs, in time's order, whole or garbled but never lost; and followed to the run's end."""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio
import pytest

from playhead.client.flow_run import FlowRun
from playhead.client.journals import claims_of
from playhead.client.logs import GARBLED, QUIET_LOOKS, LogLine, follow_logs, read_logs
from playhead.core.names import RunId
from playhead.errors import StorageLost
from playhead.ports.server import DiedRequest
from playhead.storage.folder import FolderStorage
from tests.client_side import sample_flows
from tests.client_side.world import AT, World, line, world


async def asked(made: World) -> FlowRun[int]:
    return await made.client.start(sample_flows.crawl, parameters={"n": 1})


async def lines_of(made: World, run: RunId, task: str | None = None) -> list[LogLine]:
    view = await made.client.run(run)
    return list(read_logs(view, await claims_of(made.api, view), made.home, task=task))


async def test_lines_of_all_epochs_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        run = await asked(made)
        first = await made.runner(run.id)
        first.log(message="a", at=AT + 1, task="fetch", attempt=1)
        first.log(message="c", at=AT + 3)
        await made.api.died(run.id, DiedRequest(epoch=1, exit_code=1))
        second = await made.runner(run.id)
        second.log(message="b", at=AT + 2, task="fetch", attempt=2)
        second.log(message="d", at=AT + 4)
        lines = await lines_of(made, run.id)
        assert [(each.message, each.epoch) for each in lines] == [("a", 1), ("b", 2), ("c", 1), ("d", 2)]
        assert [each.message for each in await lines_of(made, run.id, "fetch")] == ["a", "b"]


async def test_a_run_that_has_said_nothing_has_no_lines(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        run = await asked(made)
        assert await lines_of(made, run.id) == []
        await made.runner(run.id)
        assert await lines_of(made, run.id) == []


async def test_a_line_that_was_cut_is_shown_as_it_is(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        run = await asked(made)
        runner = await made.runner(run.id)
        runner.log(message="whole")
        runner.log_bytes(b'{"at": 1, "lev\n["no", "object"]\n' + line("cut")[:-5])
        lines = await lines_of(made, run.id)
        assert [each.level for each in lines] == ["INFO", GARBLED, GARBLED, GARBLED]
        assert lines[1].message == '{"at": 1, "lev'
        assert {each.at for each in lines} == {AT}


async def test_a_storage_that_is_gone_is_an_error_and_not_silence(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        run = await asked(made)
        shutil.rmtree(tmp_path / "home" / "storage")
        with pytest.raises(StorageLost, match=f"run {run.id} is kept in storage"):
            await lines_of(made, run.id)
        with pytest.raises(StorageLost, match=f"run {run.id} is kept in storage"):
            async for _ in follow_logs(made.api, run.id, made.home, interval_seconds=0):
                raise AssertionError("a line of nowhere")


async def test_following_gives_each_line_once_and_ends_after_the_run(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        run = await asked(made)
        heard: list[str] = []
        arrived = {message: anyio.Event() for message in ("one", "two", "late")}

        async def follow() -> None:
            async for each in follow_logs(made.api, run.id, made.home, interval_seconds=0):
                heard.append(each.message)
                if each.message in arrived:
                    arrived[each.message].set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            first = await made.runner(run.id)
            first.log(message="one")
            await arrived["one"].wait()
            await made.api.died(run.id, DiedRequest(epoch=1, exit_code=1))
            second = await made.runner(run.id)
            half = line("two")
            second.log_bytes(half[:10])
            await second.adopt()
            second.log_bytes(half[10:] + b"\n")
            await arrived["two"].wait()
            second.log(message="late")
            second.log_bytes(line("without its end"))
            await second.succeed(1)
        assert heard == ["one", "two", "late", "without its end"]


async def test_following_looks_a_stated_number_of_times_after_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as made:
        run = await asked(made)
        runner = await made.runner(run.id)
        await runner.adopt()
        await runner.succeed(1)
        read, looks = FolderStorage.read, 0

        def counted(self: FolderStorage, path: str, *, start: int = 0) -> bytes:
            nonlocal looks
            looks += path.endswith("/log")
            return read(self, path, start=start)

        monkeypatch.setattr(FolderStorage, "read", counted)
        assert [each async for each in follow_logs(made.api, run.id, made.home, interval_seconds=0)] == []
        assert looks == QUIET_LOOKS + 1
