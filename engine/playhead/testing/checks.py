"""A conformance suite: named async checks over one subject, and the runner that judges them. Knows no port, no pytest.

A suite is built once, at import, by decorating its checks; `run` tries each of them on a subject and never raises for a
check that fails. A check fails by raising anything, best through `expect`, which `python -O` does not remove.

    SUITE: Suite[OpenStack] = Suite("stack")

    @SUITE.check
    async def pops_in_reverse_order(stack: OpenStack) -> None: ...

    failures = [result for result in await SUITE.run(my_stack) if not result.passed]
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from playhead.errors import UsageError

SubjectT = TypeVar("SubjectT")
Check = Callable[[SubjectT], Coroutine[Any, Any, None]]

LIMIT_SECONDS = 30.0  # for one check: far above what a healthy one takes, so that only a hang meets it
GRACE_SECONDS = 2.0  # for a check that was cancelled at its limit to clean up; after that it is left behind


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """How one check ended. `problem` says what went wrong, and is None exactly when the check passed."""

    name: str
    passed: bool
    problem: str | None = None
    seconds: float = field(default=0.0, compare=False)  # that it took


class Watcher:
    """Hears how a suite goes on. Each method does nothing; override those that matter."""

    def began(self, name: str) -> None:
        """This check is tried from now on."""

    def progressed(self, done: int, of: int) -> None:
        """The check under way has done so much of its work."""

    def ended(self, result: CheckResult) -> None:
        """It passed, or it failed."""

    def omitted(self, name: str, why: str) -> None:
        """It does not apply to the subject."""


class CheckFailed(AssertionError):
    """The subject broke its contract."""


class DoesNotApply(Exception):
    """A check raises this, and says why, when its promise is not one that the subject makes. It then has no result."""


def expect(promise: object, problem: str) -> None:
    """Fail the check with `problem`, unless `promise` holds."""
    if not promise:
        raise CheckFailed(problem)


class Suite(Generic[SubjectT]):
    """The checks of one port, in the order of their definition. A check's name is its function's."""

    def __init__(self, port: str, *, limit_seconds: float = LIMIT_SECONDS) -> None:
        self._port = port
        self._limit_seconds = limit_seconds
        self._checks: dict[str, Check[SubjectT]] = {}
        self._own_limits: dict[str, float] = {}  # in seconds, of checks that take longer

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._checks)

    def check(self, fn: Check[SubjectT]) -> Check[SubjectT]:
        """Register a check; used as a decorator."""
        name = fn.__name__
        assert name not in self._checks, f"two checks of the {self._port} suite are named {name}"
        self._checks[name] = fn
        return fn

    def long_check(self, limit_seconds: float) -> Callable[[Check[SubjectT]], Check[SubjectT]]:
        """Register a check that may take longer than the others."""

        def register(fn: Check[SubjectT]) -> Check[SubjectT]:
            self._own_limits[fn.__name__] = limit_seconds
            return self.check(fn)

        return register

    async def run(
        self,
        subject: SubjectT,
        *,
        only: Collection[str] | None = None,
        limit_seconds: float | None = None,
        watcher: Watcher | None = None,
    ) -> list[CheckResult]:
        """Try every check, or those named by `only`, one after the other, each for at most `limit_seconds`.

        A check that does not apply to the subject has no result; the watcher hears why. UsageError: `only` names a check that is not
        here.
        """
        unknown = sorted(set(only or ()) - set(self._checks))
        if unknown:
            raise UsageError(
                f"the {self._port} suite has no check named {', '.join(unknown)}",
                hint=f"its checks are: {', '.join(self._checks)}",
            )
        chosen = [check for name, check in self._checks.items() if only is None or name in only]
        limits = [limit_seconds or self._own_limits.get(check.__name__, self._limit_seconds) for check in chosen]
        results = [
            await _judge(check, subject, limit, watcher or Watcher())
            for check, limit in zip(chosen, limits, strict=True)
        ]
        return [result for result in results if result is not None]


async def _judge(
    check: Check[SubjectT], subject: SubjectT, limit_seconds: float, watcher: Watcher
) -> CheckResult | None:
    """Try one check, and tell the watcher. None if it does not apply."""
    name = check.__name__
    watcher.began(name)
    began = time.monotonic()
    problem = await _problem_of(check, subject, limit_seconds)
    if isinstance(problem, DoesNotApply):
        watcher.omitted(name, str(problem))
        return None
    seconds = time.monotonic() - began
    result = CheckResult(name=name, passed=problem is None, problem=_told(problem), seconds=seconds)
    watcher.ended(result)
    return result


async def _problem_of(check: Check[SubjectT], subject: SubjectT, limit_seconds: float) -> BaseException | None:
    """Run the check in a task of its own, so that neither its hang nor its BaseException reaches the next one."""
    name = check.__name__
    attempt = asyncio.create_task(_outcome_of(check, subject), name=f"check {name}")
    try:
        await asyncio.wait({attempt}, timeout=limit_seconds)
    finally:
        hung = not attempt.done()
        attempt.cancel()
    if hung:
        await asyncio.wait({attempt}, timeout=GRACE_SECONDS)
        return CheckFailed(f"did not end within {limit_seconds:g} s")
    return CheckFailed("was cancelled from inside") if attempt.cancelled() else attempt.result()


async def _outcome_of(check: Check[SubjectT], subject: SubjectT) -> BaseException | None:
    """A check's exception as a value: a task must not raise SystemExit or KeyboardInterrupt, as they end the loop."""
    try:
        await check(subject)
    except asyncio.CancelledError:
        raise
    except BaseException as problem:  # noqa: BLE001 — whatever the subject raises is the finding
        return problem
    return None


def _told(problem: BaseException | None) -> str | None:
    """A finding in words: the sentence of an expectation, or the exception with where it came from."""
    if problem is None:
        return None
    if isinstance(problem, CheckFailed):
        return str(problem)
    return "".join(traceback.format_exception(problem)).strip()
