"""Registering: how the code is sealed, what the server is told, what is in storage, and what stops it before anything is written."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from playhead.client.loading import load_target
from playhead.client.registration import register
from playhead.client.sealing import code_of, is_installed
from playhead.core.events import SealedBy
from playhead.core.names import Micros
from playhead.core.schedules import due_after
from playhead.errors import BadParameter, BadSchedule, FlowLoadError, PlayheadError, UsageError
from playhead.flows.flow import Flow, flow
from playhead.home import Home
from playhead.trust.code import load_code
from playhead.trust.payload import load
from playhead.trust.seal import FileCode, ModuleCode, ValueCode, read_seal
from playhead.trust.ticket import check_run, read_schedule
from tests.client_side import sample_flows
from tests.client_side.world import World, importable, world

FILE = "from playhead import flow, task\n@task\ndef step(): ...\n@flow\ndef crawl(n: int = 1): return n\n"


def seal_of(made: World, name: str, seal_id: str) -> Any:
    return read_seal(made.home.storage, name, seal_id, made.home.keys.flow_key(name))


async def test_the_server_is_told_names_and_nothing_else(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        view = await register(sample_flows.crawl, made.api, made.home)
        facts = view.registered
        assert facts.parameters == ("n", "text")
        assert facts.tasks == ("double", "renamed")
        assert facts.labels == ("big", "fast", "gpu")
        assert (facts.executor, facts.run_config) == ("thread", "universal")
        assert (facts.storage, facts.key_id) == (made.home.storage.id, made.home.keys.current.id)
        told = view.model_dump_json()
        for secret in ("secret-default", "sample_flows", str(tmp_path), made.home.storage.url, "workers"):
            assert secret not in told


async def test_the_seal_holds_what_the_flow_says(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        view = await register(sample_flows.crawl, made.api, made.home)
        seal = seal_of(made, "crawl", view.registered.seal)
        assert seal.executor == {"kind": "thread", "workers": 2}
        assert seal.run_config["labels"] == ["big", "fast", "gpu"]
        assert [parameter.name for parameter in seal.signature] == ["n", "text"]
        assert load(seal.signature[1].default) == "secret-default"


async def test_registering_again_changes_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        crawl = load_target(str(_file(tmp_path)))
        first = await register(crawl, made.api, made.home)
        assert await register(crawl, made.api, made.home) == first


def test_the_seal_s_id_is_the_same_in_every_process(tmp_path: Path) -> None:
    program = """
        import asyncio, sys
        from pathlib import Path
        from playhead import flow
        from playhead.client.registration import _prepare
        from playhead.flows.run_config import UniversalRun
        from playhead.home import Home
        from playhead.settings import Settings

        @flow(run_config=UniversalRun(labels=frozenset({"a", "b", "c", "d"})))
        def crawl(n: int = 1): ...

        if __name__ == "__main__":
            home = Home.open(Settings.load({"home": sys.argv[1]}, env={}), env={})
            facts, _ = _prepare(crawl, home, None)
            print(facts.seal, facts.sealed_by.value)
    """
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(program))

    def sealed(seed: str) -> str:
        command = [sys.executable, str(file), str(tmp_path / "home")]
        done = subprocess.run(
            command, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout

    first = sealed("1")
    assert first.endswith(" file\n")
    assert sealed("2") == first


class TestSealedBy:
    def test_a_file_target_goes_by_file_whole_and_under_its_name(self, tmp_path: Path) -> None:
        code = code_of(load_target(f"{_file(tmp_path)}:crawl"))
        assert code == FileCode(source=FILE.encode(), stem="etl", qualname="crawl")

    def test_a_flow_bound_to_another_name_is_found_under_it(self, tmp_path: Path) -> None:
        source = "from playhead import flow\ndef fn(): ...\nbound = flow(fn)\n"
        code = code_of(load_target(f"{_file(tmp_path, source)}:bound"))
        assert isinstance(code, FileCode)
        assert code.qualname == "bound"

    def test_an_installed_module_goes_by_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import playhead.testing.checks as installed

        assert is_installed(installed)
        subject = _flow_in(monkeypatch, installed.__name__)
        assert code_of(subject) == ModuleCode(module=installed.__name__, qualname="planted")

    def test_a_lone_file_that_only_this_program_finds_goes_by_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _file(tmp_path, FILE, "registration_lone.py")
        importable(monkeypatch, tmp_path)
        code = code_of(load_target("registration_lone:crawl"))
        assert isinstance(code, FileCode)
        assert code.stem == "registration_lone"

    def test_a_flow_of_a_package_that_is_not_installed_goes_by_value_with_what_it_uses(self) -> None:
        code = code_of(sample_flows.crawl)
        assert isinstance(code, ValueCode)
        assert b"double" in code.pickled  # not a reference to a module that a runner cannot import
        assert not _imports_elsewhere(code.pickled).stderr

    def test_a_flow_that_was_made_in_a_function_goes_by_value(self) -> None:
        assert isinstance(code_of(_made(3)), ValueCode)

    @pytest.mark.parametrize("wanted", list(SealedBy))
    def test_what_is_asked_for_is_done(self, tmp_path: Path, wanted: SealedBy, monkeypatch: pytest.MonkeyPatch) -> None:
        _file(tmp_path, FILE, "registration_asked.py")
        importable(monkeypatch, tmp_path)
        assert code_of(load_target("registration_asked:crawl"), wanted).kind == wanted.value

    @pytest.mark.parametrize(
        ("wanted", "told"),
        [(SealedBy.MODULE, "cannot be sealed by module"), (SealedBy.FILE, "cannot be sealed by file")],
    )
    def test_what_cannot_be_done_is_said(self, wanted: SealedBy, told: str) -> None:
        with pytest.raises(FlowLoadError, match=told) as caught:
            code_of(_made(3), wanted)
        assert caught.value.hint

    async def test_only_by_value_is_bound_to_a_python(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            by_value = await register(_made(3), made.api, made.home)
            by_file = await register(load_target(str(_file(tmp_path))), made.api, made.home)
        assert by_value.registered.python == f"3.{sys.version_info.minor}"
        assert by_file.registered.python is None

    async def test_what_was_sealed_loads_as_the_flow_that_it_was(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            view = await register(load_target(str(_file(tmp_path))), made.api, made.home)
            loaded = load_code(seal_of(made, "crawl", view.registered.seal))
        assert isinstance(loaded, Flow)
        assert loaded.fn(n=4) == 4


class TestSchedules:
    async def test_a_ticket_is_signed_for_every_due_time(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            view = await register(sample_flows.nightly, made.api, made.home)
            schedule = view.registered.schedule
            assert schedule is not None
            assert view.next_due is not None
            key = made.home.keys.flow_key("nightly")
            ticket = read_schedule(made.home.storage, "nightly", schedule.id, view.registered.seal, key)
            assert load(ticket.parameters) == {"days": 7}
            due = due_after(schedule, Micros(1_700_000_000_000_000))
            check_run(
                ticket, run=ticket.run_at(due), flow="nightly", seal=view.registered.seal,
                labels=view.registered.labels, due_micros=due,
            )  # fmt: skip
            assert await register(sample_flows.nightly, made.api, made.home) == view

    @pytest.mark.parametrize(
        ("subject", "kind", "told"),
        [
            (sample_flows.lost_zone, BadSchedule, "Europe/Atlantis"),
            (sample_flows.no_cron, BadSchedule, "is not a schedule"),
            (sample_flows.open_ended, BadParameter, "its parameter 'day' has no default"),
            (sample_flows.unsealable, FlowLoadError, "cannot be sealed by value"),
            (sample_flows.opaque, UsageError, "its executor DaskExecutor cannot be sealed"),
        ],
    )
    async def test_what_is_wrong_is_said_before_anything_is_written(
        self, tmp_path: Path, subject: Flow[..., Any], kind: type[PlayheadError], told: str
    ) -> None:
        async with world(tmp_path) as made:
            with pytest.raises(kind) as caught:
                await register(subject, made.api, made.home)
            assert told in str(caught.value)
            assert caught.value.hint
            assert await made.api.flows() == ()
            assert _stored(made.home) == []


def _file(folder: Path, source: str = FILE, name: str = "etl.py") -> Path:
    file = folder / name
    file.write_text(source)
    return file


def _stored(home: Home) -> list[str]:
    return [path for path in home.storage.list("") if not path.startswith(".")]


def _made(number: int) -> Flow[[], int]:
    @flow
    def made() -> int:
        return number

    return made


def _flow_in(monkeypatch: pytest.MonkeyPatch, module: str) -> Flow[[], None]:
    def planted() -> None: ...

    planted.__module__, planted.__qualname__ = module, "planted"
    subject = flow(planted)
    monkeypatch.setattr(sys.modules[module], "planted", subject, raising=False)
    return subject


def _imports_elsewhere(pickled: bytes) -> subprocess.CompletedProcess[str]:
    """Load it in a process that has none of the tests."""
    program = "import pickle, sys; flow = pickle.loads(bytes.fromhex(sys.argv[1])); assert flow.name == 'crawl'"
    return subprocess.run(
        [sys.executable, "-c", program, pickled.hex()], cwd="/", capture_output=True, text=True, timeout=30, check=False
    )
