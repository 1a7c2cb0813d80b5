"""Embedded runs: a flow called in someone's own program, with the same log and no server. Owns the program's side of it.

The flow runs in the calling thread (or, where that one runs a loop, in a thread of its own); log, reports and heartbeats live on
another thread's loop. What it records is what a server would have recorded.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from secrets import token_hex
from typing import Any, Final

from playhead.core import events as ev
from playhead.core.decide import KEY_SCHEME
from playhead.core.names import Epoch, RunId
from playhead.flows.flow import Flow
from playhead.home import Home
from playhead.hosting import connect
from playhead.ports.server import EmbeddedRunRequest, ServerApi, Started
from playhead.runner.boottime import boot_time
from playhead.runner.execution import Execution, Grant
from playhead.runner.loopthread import LoopThread
from playhead.trust.payload import dump
from playhead.trust.ticket import AskedTicket, write_asked

EMBEDDED_AGENT: Final = "embedded"  # who "claims" a run that its own program runs

Begun = Callable[[RunId], None]


def run_embedded(
    subject: Flow[..., Any],
    parameters: dict[str, Any],
    *,
    home: Home | None = None,
    on_started: Begun | None = None,
) -> Any:
    """Run the flow to its end and give its value. Raises FlowRunFailed, FlowRunCancelled, or what kept it from running.

    `parameters`: all of them, as `check_parameters` has seen them.
    `home` None: the user's own. `on_started` is called with the run's id before any of the flow's code runs.
    """
    stopper = Stopper()
    if not _in_a_loop():
        return _run(subject, parameters, home, on_started, stopper)
    done = _in_thread(subject, parameters, home, on_started, stopper)
    try:
        return done.result()
    except BaseException:
        if not done.done():  # Ctrl-C: the run ends before this does
            stopper.stop()
            wait([done])
        raise


async def call_embedded(subject: Flow[..., Any], parameters: dict[str, Any], *, home: Home | None = None) -> Any:
    """As `run_embedded`, for a program with a loop of its own: the flow runs in a thread, on a loop of its own.

    Cancelling whoever awaits this cancels the run, and waits until it has ended; cancelled once more, it waits no longer.
    """
    stopper = Stopper()
    done = asyncio.wrap_future(_in_thread(subject, parameters, home, None, stopper))
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        stopper.stop()
        await asyncio.wait([done])
        done.exception()  # that it was cancelled is no news
        raise


class Stopper:
    """Cancels a run from another thread, also one that has not begun yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._execution: Execution | None = None
        self._stopped = False

    def bind(self, execution: Execution) -> None:
        """This is the run."""
        with self._lock:
            self._execution = execution
            stopped = self._stopped
        if stopped:
            execution.cancel()

    def stop(self) -> None:
        """Cancel it, now or as soon as there is one."""
        with self._lock:
            self._stopped = True
            execution = self._execution
        if execution is not None:
            execution.cancel()


def _run(
    subject: Flow[..., Any], parameters: dict[str, Any], home: Home | None, on_started: Begun | None, stopper: Stopper
) -> Any:
    home = home or Home.open()
    run = RunId(token_hex(16))
    with LoopThread("playhead-link") as link, link.entered(connect(home)) as api:
        grant, started, sent_at = _begin(subject, parameters, home, api, link, run)
        if on_started is not None:
            on_started(run)
        execution = Execution(grant, api, link, started, sent_at)
        stopper.bind(execution)
        outcome = execution.execute(lambda: (subject, parameters), ())
    return outcome.unwrap(run)


def _begin(
    subject: Flow[..., Any], parameters: dict[str, Any], home: Home, api: ServerApi, link: LoopThread, run: RunId
) -> tuple[Grant, Started, float]:
    """Keep the parameters, and have the log grant the run to this process."""
    key = home.keys.run_key(run)
    labels = tuple(sorted(subject.run_config.labels))
    ticket = AskedTicket(
        run=run, flow=subject.name, seal=ev.UNSEALED, parameters=dump(parameters), labels=labels,
        encrypt=home.settings.encrypt,
    )  # fmt: skip
    write_asked(home.storage, ticket, key)
    now = time.time_ns() // 1000
    scheduled = ev.RunScheduled(
        run=run, flow=subject.name, seal=ev.UNSEALED, origin=ev.Origin.EMBEDDED, scheduled_for=now,
        executor=subject.executor.kind, run_config=subject.run_config.kind, labels=labels,
        storage=home.storage.id, key_id=key.key_id,
    )  # fmt: skip
    request = EmbeddedRunRequest(
        scheduled=scheduled, agent=EMBEDDED_AGENT, claim=token_hex(8), grant=token_hex(8),
        python=f"{sys.version_info.major}.{sys.version_info.minor}", key_scheme=KEY_SCHEME,
    )  # fmt: skip
    sent_at = boot_time()
    lease_seconds = link.call(api.info()).lease_seconds
    link.call(api.begin_embedded(request))
    grant = Grant(
        run=run,
        flow=subject.name,
        epoch=Epoch(1),
        grant=request.grant,
        scheduled_for=now,
        key=key,
        storage=home.storage,
        encrypt=home.settings.encrypt,
    )
    started = Started(
        lease_seconds=lease_seconds, cancelling=False, reported=(0,), scheduled_for=now, flow=subject.name
    )
    return grant, started, sent_at


def _in_thread(
    subject: Flow[..., Any], parameters: dict[str, Any], home: Home | None, on_started: Begun | None, stopper: Stopper
) -> Future[Any]:
    done: Future[Any] = Future()
    done.set_running_or_notify_cancel()  # only the run's own end completes it

    def work() -> None:
        try:
            done.set_result(_run(subject, parameters, home, on_started, stopper))
        except BaseException as error:  # noqa: BLE001  # the caller gets it, whatever it is
            done.set_exception(error)

    threading.Thread(target=work, name=f"playhead-{subject.name}", daemon=True).start()
    return done


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
