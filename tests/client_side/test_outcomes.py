"""Outcomes: what a run ended with reads back, and nothing that was changed, swapped, lost or signed by another is ever loaded."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from playhead.client.client import Client
from playhead.client.flow_run import FlowRun
from playhead.client.journals import claims_of
from playhead.client.loading import load_target
from playhead.client.outcomes import explain, failure_of, result_of
from playhead.core import events as ev
from playhead.core.state import RunStatus
from playhead.core.views import RecordRef, RunView
from playhead.errors import (
    FlowRunCancelled,
    FlowRunCrashed,
    FlowRunFailed,
    JournalCorrupt,
    PlayheadError,
    StorageLost,
    TrustError,
    UsageError,
)
from playhead.home import Home
from playhead.ports.server import DiedRequest
from playhead.ports.store import Recorded
from playhead.trust.keys import MasterKey
from tests.client_side import sample_flows
from tests.client_side.world import Runner, World, flip, home_in, world

BIG = "x" * 100_000  # more than a record holds: a blob


class Malicious:
    """Leaves a trace when it is unpickled."""

    loaded: list[str] = []

    def __reduce__(self) -> tuple[object, ...]:
        return (Malicious.loaded.append, ("ran",))


@pytest.fixture(autouse=True)
def _nothing_loaded() -> None:
    Malicious.loaded.clear()


@dataclass
class Ended:
    """A run that has ended, and what its asker needs to read it."""

    made: World
    run: FlowRun[Any]
    runner: Runner
    view: RunView
    claims: list[Recorded]

    def result(self, home: Home | None = None) -> Any:
        return result_of(self.view, self.claims, home or self.made.home)


async def asked(made: World) -> FlowRun[Any]:
    return await made.client.start(sample_flows.crawl, parameters={"n": 1})


async def ended(made: World, finish: Callable[[Runner], Awaitable[None]]) -> Ended:
    run = await asked(made)
    runner = await made.runner(run.id)
    await runner.adopt()
    await finish(runner)
    runner.journal.close()
    view = await run.wait()
    return Ended(made, run, runner, view, await claims_of(made.api, view))


def with_value(value: object) -> Callable[[Runner], Awaitable[None]]:
    return lambda runner: runner.succeed(value)


async def with_failures(runner: Runner) -> None:
    await runner.fail_task("fetch", ValueError("no such page"))
    await runner.fail_task("parse", RuntimeError(BIG))
    await runner.fail(ValueError("no such page"), "fetch")


class TestResults:
    @pytest.mark.parametrize("value", [None, 42, {"rows": [1, 2]}, BIG, sample_flows.Row(3)])
    async def test_they_read_back(self, tmp_path: Path, value: object) -> None:
        async with world(tmp_path) as made:
            run = await ended(made, with_value(value))
            assert await run.run.result() == value
            assert await run.run.state() is RunStatus.SUCCEEDED

    async def test_waiting_begins_before_the_end(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            run = await asked(made)
            found: list[Any] = []

            async def wait() -> None:
                found.append(await run.result())

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                runner = await made.runner(run.id)
                await runner.adopt()
                await runner.succeed("done")
            assert found == ["done"]

    async def test_a_class_of_the_flow_s_own_file_is_loaded_with_the_sealed_file(self, tmp_path: Path) -> None:
        file = tmp_path / "outcomes_etl.py"
        file.write_text("from playhead import flow\nclass Mine(Exception): ...\n@flow\ndef crawl(): ...\n")
        async with world(tmp_path) as made:
            subject = load_target(str(file))
            mine = subject.fn.__globals__["Mine"]
            run = await made.client.start(subject)
            runner = await made.runner(run.id)
            await runner.adopt()
            await runner.succeed(mine("kept"))
            sys.modules.pop(mine.__module__)
            value = await run.result()
            assert type(value).__name__ == "Mine"
            assert value.args == ("kept",)

    async def test_no_more_of_the_history_is_read_than_its_claims(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            run = await ended(made, with_failures)
            assert [claim.type for claim in run.claims] == ["run.claimed"]
            everything = [recorded async for recorded in made.api.history(run.run.id)]
            assert len(everything) > 5
            assert explain(run.view, everything, made.home) == explain(run.view, run.claims, made.home)

    async def test_a_run_without_result_says_what_it_is(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            run = await ended(made, with_failures)
            with pytest.raises(UsageError, match="has no result: it is failed"):
                run.result()


class TestFailures:
    async def test_the_task_s_exception_is_the_cause(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            run = await ended(made, with_failures)
            with pytest.raises(FlowRunFailed) as caught:
                await run.run.result()
            assert (caught.value.run_id, caught.value.task_key) == (run.run.id, "fetch")
            assert isinstance(caught.value.__cause__, ValueError)
            assert "in task fetch: ValueError: no such page" in str(caught.value)
            assert str(failure_of(run.view, run.claims, made.home, "parse").exception) == BIG

    async def test_a_task_that_did_not_fail_has_none_to_read(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            run = await ended(made, with_value(1))
            for task in (None, "fetch"):
                with pytest.raises(UsageError, match="has no failure to read"):
                    failure_of(run.view, run.claims, made.home, task)

    async def test_the_run_failed_also_where_nobody_can_read_why(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            run = await ended(made, with_failures)
            shutil.rmtree(run.runner.folder / "segments")
            with pytest.raises(FlowRunFailed) as caught:
                await run.run.result()
            assert caught.value.task_key == "fetch"
            assert isinstance(caught.value.__cause__, StorageLost)
            assert "why it failed cannot be read" in caught.value.__notes__[0]

    async def test_a_cancelled_run_and_a_crashed_one_say_so(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            cancelled = await asked(made)
            await cancelled.cancel()
            with pytest.raises(FlowRunCancelled):
                await cancelled.result()
            crashing = await asked(made)
            while not (await crashing.state()).terminal:
                runner = await made.runner(crashing.id)
                await made.api.died(crashing.id, DiedRequest(epoch=runner.claimed.epoch, signal=9))
            with pytest.raises(FlowRunCrashed, match=r"lost 3 times.*SIGKILL"):
                await crashing.result()


class TestExplaining:
    async def test_types_texts_and_tracebacks_are_added_and_nothing_is_loaded(self, tmp_path: Path) -> None:
        async def fail(runner: Runner) -> None:
            await runner.fail_task("fetch", ValueError("bad page", Malicious()))
            Malicious.loaded.clear()  # dumping reads back what it wrote
            await runner.fail(ValueError("no such page"), "fetch")

        async with world(tmp_path) as made:
            run = await ended(made, fail)
            view = explain(run.view, run.claims, made.home)
            assert view.error is not None
            assert (view.error.type, view.error.message) == ("ValueError", "no such page")
            (task,) = view.tasks
            assert task.error is not None
            assert task.error.type == "ValueError"
            assert "bad page" in (task.error.message or "")
            assert "ValueError" in (task.error.traceback or "")
            assert Malicious.loaded == []

    async def test_one_that_cannot_be_read_does_not_hide_the_others(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            run = await ended(made, with_failures)
            for blob in (run.runner.folder / "blobs").iterdir():
                blob.unlink()
            view = explain(run.view, run.claims, made.home)
            told = {task.key: task.error.message for task in view.tasks if task.error is not None}
            assert told["fetch"] == "no such page"
            assert "its text cannot be read" in (told["parse"] or "")
            assert "is gone from storage" in (told["parse"] or "")

    async def test_a_run_without_failures_is_left_as_it_is(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            run = await ended(made, with_value(1))
            shutil.rmtree(made.home.path / "storage")
            assert explain(run.view, [], made.home) is run.view


def _segment(run: Ended) -> Path:
    return run.runner.folder / "segments" / "000001"


def _blob(run: Ended) -> Path:
    (blob,) = (run.runner.folder / "blobs").iterdir()
    return blob


def _swap_blob(run: Ended) -> None:
    _blob(run).write_bytes(os.urandom(_blob(run).stat().st_size))


ATTACKS: dict[str, tuple[object, Callable[[Ended], object], type[PlayheadError], str]] = {
    "a flipped bit in the first batch": (
        Malicious(), lambda run: flip(_segment(run), 80), JournalCorrupt, "is damaged at byte 0",
    ),
    "a flipped bit in the last batch": (
        Malicious(), lambda run: flip(_segment(run), -40), StorageLost, "the journal holds 1",
    ),
    "a cut journal": (
        Malicious(), lambda run: os.truncate(_segment(run), _segment(run).stat().st_size - 1), StorageLost, "the journal holds 1",
    ),
    "a deleted segment": (Malicious(), lambda run: _segment(run).unlink(), StorageLost, "the journal holds 0"),
    "a deleted journal": (Malicious(), lambda run: shutil.rmtree(run.runner.folder), StorageLost, "the journal holds 0"),
    "a deleted blob": (BIG, lambda run: _blob(run).unlink(), StorageLost, "is gone from storage"),
    "a flipped bit in a blob": (BIG, lambda run: flip(_blob(run), 500), TrustError, "is not what was recorded"),
    "a longer blob": (BIG, lambda run: _blob(run).write_bytes(_blob(run).read_bytes() + b"x"), TrustError, "is not what was recorded"),
    "a swapped blob": (BIG, _swap_blob, TrustError, "is not what was recorded"),
    "a deleted storage": (
        Malicious(), lambda run: shutil.rmtree(run.made.home.path / "storage"), StorageLost, "is kept in storage",
    ),
}  # fmt: skip


class TestAttacks:
    @pytest.mark.parametrize(("value", "attack", "kind", "told"), ATTACKS.values(), ids=ATTACKS.keys())
    async def test_what_is_not_as_it_was_written_is_never_loaded(
        self, tmp_path: Path, value: object, attack: Callable[[Ended], object], kind: type[PlayheadError], told: str
    ) -> None:
        async with world(tmp_path) as made:
            run = await ended(made, with_value(value))
            attack(run)
            with pytest.raises(kind, match=told) as caught:
                await run.run.result()
            assert caught.value.hint or kind is TrustError
            assert Malicious.loaded == []
            if "storage" in told and "kept" in told:
                assert not (made.home.path / "storage").exists()

    async def test_another_key_reads_nothing_and_both_are_named(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            run = await ended(made, with_value(Malicious()))
            other = home_in(made.home.path, PLAYHEAD_KEY=MasterKey.random().export())
            with pytest.raises(TrustError) as caught:
                await Client(made.api, home=other).flow_run(run.run.id).result()
            assert run.view.key_id in str(caught.value)
            assert other.keys.current.id in str(caught.value)
            failed = await ended(made, with_failures)
            with pytest.raises(TrustError, match=other.keys.current.id):
                explain(failed.view, failed.claims, other)
            assert Malicious.loaded == []

    async def test_a_journal_that_another_key_signed_is_not_believed(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            run = await ended(made, with_value("mine"))
            shutil.rmtree(run.runner.folder / "segments")
            forged = Runner(made, run.runner.claimed)
            forged.journal._key = MasterKey.random().run_key(run.run.id).secret  # pyright: ignore[reportPrivateUsage]  # forging
            for event in (ev.JournalAdopted(at=1), ev.RunSucceeded(at=1, mac="A" * 22, size=1)):
                with pytest.raises(PlayheadError):  # the server has these records already
                    await forged.say(event, b"forged")
            with pytest.raises(TrustError, match="does not carry the signature"):
                await run.run.result()

    async def test_a_server_that_names_another_record_is_found_out(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            run = await ended(made, with_failures)
            other = RecordRef(epoch=1, seq=3)  # the failure of a task, told as the run's result
            lie = run.view.model_copy(update={"state": RunStatus.SUCCEEDED, "result": other})
            with pytest.raises(TrustError, match=r"record 3 of epoch 1, and that is task.failed of fetch"):
                result_of(lie, run.claims, made.home)
            with pytest.raises(StorageLost, match="no journal of epoch 9"):
                result_of(lie.model_copy(update={"result": RecordRef(epoch=9, seq=1)}), run.claims, made.home)

    async def test_another_run_s_journal_does_not_count_in_its_place(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            one, two = await ended(made, with_value("one")), await ended(made, with_value("two"))
            shutil.copy(_segment(two), _segment(one))
            with pytest.raises(TrustError, match="does not carry the signature"):
                await one.run.result()
