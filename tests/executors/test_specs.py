"""Specs: what is sealed with a flow comes back the same, and opening finds the code or says how to get it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from importlib.metadata import EntryPoint

import pytest
from pydantic import ValidationError

from playhead import installed
from playhead.errors import UsageError
from playhead.executors import (
    AnyExecutor,
    DaskExecutor,
    LocalExecutor,
    ProcessExecutor,
    ThreadExecutor,
    parse_executor,
    specs,
)


@pytest.fixture(autouse=True)
def fresh_lookups() -> Iterator[None]:
    specs._opener.cache_clear()  # pyright: ignore[reportPrivateUsage] — a lookup made under a patch must not stay
    yield
    specs._opener.cache_clear()  # pyright: ignore[reportPrivateUsage] — the same


@pytest.mark.parametrize(
    "spec",
    [
        LocalExecutor(),
        ThreadExecutor(),
        ThreadExecutor(workers=7),
        ProcessExecutor(workers=2, start_method="spawn"),
        DaskExecutor(address="tcp://scheduler:8786"),
    ],
)
def test_a_spec_survives_its_json(spec: AnyExecutor) -> None:
    assert parse_executor(spec.model_dump_json()) == spec
    assert parse_executor(spec.model_dump()) == spec
    assert type(parse_executor(spec.model_dump_json())) is type(spec)


def test_a_spec_is_frozen_and_hashable() -> None:
    spec = ThreadExecutor(workers=2)
    with pytest.raises(ValidationError, match="frozen"):
        spec.workers = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue] — what is tested
    assert len({spec, ThreadExecutor(workers=2)}) == 1


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ('{"kind": "ray"}', "'ray'"),
        ('{"workers": 2}', "kind"),
        ('{"kind": "thread", "workers": 0}', "thread.workers"),
        ('{"kind": "thread", "threads": 2}', "thread.threads"),
        ("not json", "JSON"),
    ],
)
def test_what_is_no_spec_is_refused_with_the_known_kinds(bad: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        parse_executor(bad)
    assert caught.value.hint == "the kinds of executor are: local, thread, process, dask"


def test_an_executor_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_entry_points(monkeypatch)
    with pytest.raises(UsageError, match="no executor of kind 'dask' is installed") as caught:
        DaskExecutor().open()
    assert "pip install 'playhead[dask]'" in str(caught.value.hint)


def test_an_executor_whose_library_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_entry_points(monkeypatch, EntryPoint("dask", "playhead_nowhere.dask:open_spec", "playhead.executors"))
    with pytest.raises(UsageError, match="playhead_nowhere") as caught:
        DaskExecutor().open()
    assert caught.value.hint == "pip install 'playhead[dask]'"


@pytest.mark.parametrize("spec", [LocalExecutor(), ThreadExecutor(workers=1), ProcessExecutor(workers=1)])
async def test_built_in_executors_open_without_an_installed_distribution(
    spec: LocalExecutor | ThreadExecutor | ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_entry_points(monkeypatch)
    async with spec.open() as executor:
        assert await executor.submit(max, 1, 2) == 2


def test_a_thread_executor_has_four_threads_a_core_and_at_most_32(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, threads in ((1, 4), (2, 8), (8, 32), (64, 32)):
        monkeypatch.setattr(specs, "usable_cores", partial(int, cores))
        assert specs.default_threads() == threads


def test_importing_specs_imports_no_executor() -> None:
    """A client names executors; it must not pay for their code, nor need their libraries."""
    program = (
        "import sys, playhead.executors\n"
        "print(*(m for m in sys.modules if m.startswith('playhead.executors.')), 'cloudpickle' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.split() == ["playhead.executors.specs", "False"]


def _with_entry_points(monkeypatch: pytest.MonkeyPatch, *found: EntryPoint) -> None:
    def entry_points(**_: str) -> list[EntryPoint]:
        return list(found)

    monkeypatch.setattr(installed, "entry_points", entry_points)
