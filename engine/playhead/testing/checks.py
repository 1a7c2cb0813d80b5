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
import traceback
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
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


class CheckFailed(AssertionError):
    """The subject broke its contract."""


class DoesNotApply(Exception):
    """A check raises this when its promise is not one that the subject makes. It then has no result."""


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

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._checks)

    def check(self, fn: Check[SubjectT]) -> Check[SubjectT]:
        """Register a check; used as a decorator."""
        name = fn.__name__
        assert name not in self._checks, f"two checks of the {self._port} suite are named {name}"
        self._checks[name] = fn
        return fn

    async def run(
        self, subject: SubjectT, *, only: Collection[str] | None = None, limit_seconds: float | None = None
    ) -> list[CheckResult]:
        """Try every check, or those named by `only`, one after the other, each for at most `limit_seconds`.

        A check that does not apply to the subject has no result. UsageError: `only` names a check that is not here.
        """
        unknown = sorted(set(only or ()) - set(self._checks))
        if unknown:
            raise UsageError(
                f"the {self._port} suite has no check named {', '.join(unknown)}",
                hint=f"its checks are: {', '.join(self._checks)}",
            )
        chosen = [check for name, check in self._checks.items() if only is None or name in only]
        limit = self._limit_seconds if limit_seconds is None else limit_seconds
        results = [await _judge(check, subject, limit) for check in chosen]
        return [result for result in results if result is not None]


async def _judge(check: Check[SubjectT], subject: SubjectT, limit_seconds: float) -> CheckResult | None:
    """Run one check in a task of its own, so that neither its hang nor its BaseException reaches the next one."""
    name = check.__name__
    attempt = asyncio.create_task(_outcome_of(check, subject), name=f"check {name}")
    try:
        await asyncio.wait({attempt}, timeout=limit_seconds)
    finally:
        hung = not attempt.done()
        attempt.cancel()
    if hung:
        await asyncio.wait({attempt}, timeout=GRACE_SECONDS)
        return CheckResult(name=name, passed=False, problem=f"did not end within {limit_seconds:g} s")
    if attempt.cancelled():
        return CheckResult(name=name, passed=False, problem="was cancelled from inside")
    problem = attempt.result()
    if isinstance(problem, DoesNotApply):
        return None
    return CheckResult(name=name, passed=problem is None, problem=_told(problem))


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
