"""Runs on executors of other packages: the same values on one that is right, and a named failure of the run on one that is not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from playhead.core.state import RunStatus
from playhead.executors import Executor, specs
from playhead.executors.pool import MAX_ABANDONED, open_pool
from playhead.flows.flow import Flow
from playhead.ports.executor import OpenExecutor
from tests.packages import install
from tests.runner.bench import open_bench
from tests.runner.test_flows import everything


class Foreign(Executor, frozen=True):
    """Of another package; `kind` is the function here that opens it."""


@asynccontextmanager
async def over_a_pool(spec: Foreign) -> AsyncGenerator[OpenExecutor]:
    async with open_pool(ThreadPoolExecutor(3 + MAX_ABANDONED), kind=spec.kind, width=3) as executor:
        yield executor


def raises(spec: Foreign) -> Any:
    raise ConnectionError(f"no {spec.kind} today")


@asynccontextmanager
async def raises_later(spec: Foreign) -> AsyncGenerator[OpenExecutor]:
    raise ConnectionError(f"no {spec.kind} today")
    yield  # pyright: ignore[reportUnreachable]  # what makes it a generator


@asynccontextmanager
async def gives_the_pool(spec: Foreign) -> AsyncGenerator[Any]:
    """As an author may who takes the one executor for the other."""
    with ThreadPoolExecutor(1, thread_name_prefix=spec.kind) as pool:
        yield pool


def is_no_context(spec: Foreign) -> Any:
    return spec


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    functions = (over_a_pool, raises, raises_later, gives_the_pool)
    targets = {f"playhead.executors: {each.__name__}": f"{__name__}:{each.__name__}" for each in functions}
    install(tmp_path, "playhead-foreign", targets | {"playhead.executors: lost": f"{__name__}:not_there"}, {})
    install(tmp_path, "playhead-twin", {"playhead.executors: raises": f"{__name__}:raises_later"}, {})
    monkeypatch.syspath_prepend(tmp_path)  # pyright: ignore[reportUnknownMemberType]  # pytest does not say what it takes
    specs._opener.cache_clear()  # pyright: ignore[reportPrivateUsage] — a lookup of before must not stay


def test_a_run_gives_the_same_on_the_executor_of_another_package() -> None:
    with open_bench() as bench:
        run, outcome = bench.run(Flow(everything.fn, executor=Foreign(kind="over_a_pool")))
        assert outcome.value == (2, 3, 317, [200, 202, 204]), outcome.error
        assert bench.view(run).executor == "over_a_pool"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("nobodys", "no executor of kind 'nobodys' is installed here"),
        ("lost", "not_there"),
        ("raises", "brought by several packages"),
        ("raises_later", "no raises_later today"),
        ("gives_the_pool", "opened as a ThreadPoolExecutor, which has no width and no backlog and no shares_memory"),
    ],
)
def test_what_is_wrong_with_an_executor_fails_the_run_and_is_named(kind: str, said: str) -> None:
    with open_bench() as bench:
        run, outcome = bench.run(Flow(everything.fn, executor=Foreign(kind=kind)))
        assert outcome.status is RunStatus.FAILED
        assert said in str(outcome.error)
        assert bench.view(run).tasks == ()


def test_an_opener_that_raises_or_gives_no_context_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for opener, said in ((raises, "no mine today"), (is_no_context, "context manager")):

        def found(kind: str, opener: Any = opener) -> Any:
            return opener

        monkeypatch.setattr(specs, "_opener", found)
        with open_bench() as bench:
            _, outcome = bench.run(Flow(everything.fn, executor=Foreign(kind="mine")))
            assert outcome.status is RunStatus.FAILED
            assert said in str(outcome.error)
