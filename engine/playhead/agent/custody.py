"""Custody of one run: claim, launch, watch, report. Owns what an agent does with a run between its being ready and its runner's end."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import anyio
from anyio import to_thread

from playhead.agent.asking import persistently
from playhead.agent.infrastructure import Exit, Infrastructure, Launched, LostSight
from playhead.agent.pace import Pace
from playhead.agent.ready import ReadyRuns
from playhead.agent.user_side import UserSide
from playhead.core.events import ReleaseReason
from playhead.core.tokens import SECRET_BYTES, Token
from playhead.errors import (
    LaunchFailed,
    NotAllowed,
    PlayheadError,
    Refused,
    StorageError,
    StorageUnavailable,
    TrustError,
)
from playhead.failpoints import reach
from playhead.ports.server import Claimed, ClaimRequest, DiedRequest, ReleaseRequest, ServerApi
from playhead.runner.bootstrap import LogLevel

KILL_SECONDS: Final = 5.0  # for a killed process to be gone: longer only where the kernel itself hangs

_log = logging.getLogger("playhead.agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What all custodies of an agent share."""

    api: ServerApi
    server_url: str  # what runners are told
    agent: str
    infrastructure: Infrastructure
    user_side: UserSide
    ready: ReadyRuns
    pace: Pace
    log_level: LogLevel


class Custody:
    """One run in this agent's hands. `epoch` is 0 until the claim was granted; `known` is the newest that the log had given before."""

    def __init__(self, means: Means, run: str, *, known: int = 0) -> None:
        self._means = means
        self._known = known
        self._claim = secrets.token_hex(16)
        self._token = Token(run, secrets.token_bytes(SECRET_BYTES), of_runner=True)
        self._grace: float | None = None
        self._drained = False
        self._over = anyio.Event()
        self.run = run
        self.epoch = 0
        self.launched: Launched | None = None
        self.gave_back: ReleaseReason | None = None  # why it claimed the run and did not launch it

    @classmethod
    def adopted(cls, means: Means, launched: Launched) -> Custody:
        """A runner that an earlier life of this agent launched."""
        custody = cls(means, launched.run)
        custody.epoch = launched.epoch
        custody.launched = launched
        return custody

    async def serve(self) -> None:
        """Claim, launch and watch. Returns when the run is this agent's no longer. A claim that another won is silent."""
        if not await self._may_go_on():
            return
        claimed = await self._claimed()
        if claimed is None:
            return
        await self._launch(claimed)
        if self.launched is not None:
            await self.watch(self.launched)

    async def watch(self, launched: Launched) -> None:
        """Wait for the runner's end and report it. A runner that outlives its run, or its epoch, is killed after a grace."""
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._kill_when_over, launched)
            await launched.wait()
            beside.cancel_scope.cancel()
        await self._report(launched, await launched.wait())

    def run_ended(self) -> None:
        """The log has the run's end: its runner will go by itself."""
        self._end_within(self._means.pace.ended_grace_seconds)

    def superseded(self) -> None:
        """The run has been taken from this epoch's runner."""
        self._end_within(self._means.pace.superseded_grace_seconds)

    async def stop(self, launched: Launched) -> None:
        """Make the runner end, within the grace and KILL_SECONDS, and report it as drained."""
        self._drained = True
        await launched.terminate()
        end: Exit | LostSight | None = None
        with anyio.move_on_after(self._means.pace.stop_grace_seconds):
            end = await launched.wait()
        if end is None:
            await launched.kill()
            with anyio.move_on_after(KILL_SECONDS):
                end = await launched.wait()
        if end is None:
            _log.error("the runner of run %s does not end; it is left to the system", self.run)
            return
        with anyio.move_on_after(self._means.pace.farewell_seconds):
            await self._report(launched, end)

    async def _may_go_on(self) -> bool:
        """A journal of an epoch that the log does not know: the log was put back from an older copy. To begin what it offers would do
        once more, in silence, what that journal holds. Looked for before the claim, which would give such an epoch's number away."""
        try:
            forgotten = await to_thread.run_sync(self._means.user_side.forgotten, self.run, self._known)
        except StorageError as error:
            _log.error("run %s was not claimed: %s", self.run, error)
            return False
        if forgotten:
            _log.error(
                "run %s was not claimed: storage holds %s, and the log knows epochs up to %d. Was the log put back from an older"
                " copy? `playhead reconcile %s` tells it what it has forgotten",
                self.run,
                ", ".join(forgotten),
                self._known,
                self.run,
            )
        return not forgotten

    async def _claimed(self) -> Claimed | None:
        request = ClaimRequest(agent=self._means.agent, claim=self._claim, runner=self._token.digest)
        reach("claim.asking")
        try:
            claimed = await self._asked(lambda: self._means.api.claim(self.run, request))
        except PlayheadError as error:
            level = logging.DEBUG if isinstance(error, Refused) else logging.WARNING
            _log.log(level, "run %s was not granted: %s", self.run, error.message)
            return None
        if claimed.crashed or claimed.run != self.run:
            return None
        if claimed.epoch <= self._known:  # no server that follows its log says this: nothing is asked of it any more
            _log.error("run %s was refused: epoch %d was granted after %d", self.run, claimed.epoch, self._known)
            self._means.ready.failed(self.run)
            return None
        self.epoch = claimed.epoch
        reach("claim.answered")
        return claimed

    async def _launch(self, claimed: Claimed) -> None:
        """Set `launched`, or hand the claim back."""
        try:
            reason = await self._try_launch(claimed)
        except anyio.get_cancelled_exc_class():
            if self.launched is None:
                with anyio.move_on_after(self._means.pace.farewell_seconds, shield=True):
                    await self._release(claimed, ReleaseReason.DRAINING)
            raise
        if reason is not None:
            self.gave_back = reason
            if reason is ReleaseReason.NOT_ALLOWED:
                self._means.ready.never(self.run)
            else:
                self._means.ready.failed(self.run)
            await self._release(claimed, reason)

    async def _try_launch(self, claimed: Claimed) -> ReleaseReason | None:
        means = self._means
        try:
            order = await to_thread.run_sync(
                lambda: means.user_side.order(
                    claimed, server=means.server_url, agent=means.agent, log_level=means.log_level
                )
            )
            reach("order.made")
            with anyio.fail_after(means.pace.launch_timeout_seconds):
                self.launched = await means.infrastructure.launch(order.model_copy(update={"token": self._token.text}))
        except TimeoutError:
            _log.error("run %s was not launched within %g s", self.run, means.pace.launch_timeout_seconds)
            return ReleaseReason.LAUNCH_TIMED_OUT
        except StorageUnavailable as error:
            _log.error("run %s was not launched: %s", self.run, error)
            return ReleaseReason.STORAGE_UNREACHABLE
        except NotAllowed as error:
            _log.warning("%s", error)
            return ReleaseReason.NOT_ALLOWED
        except TrustError as error:
            _log.error("run %s was refused: %s", self.run, error)
            return ReleaseReason.REFUSED
        except PlayheadError as error:
            _log.error("run %s was not launched: %s", self.run, error)
            return ReleaseReason(error.reason) if isinstance(error, LaunchFailed) else ReleaseReason.LAUNCH_FAILED
        _log.info("run %s, epoch %d: launched", self.run, self.epoch)
        return None

    async def _release(self, claimed: Claimed, reason: ReleaseReason) -> None:
        request = ReleaseRequest(claim=self._claim, epoch=claimed.epoch, reason=reason)
        await self._told(lambda: self._means.api.release(self.run, request))

    async def _report(self, launched: Launched, end: Exit | LostSight) -> None:
        """Tell the server of a death that it does not expect, and let the infrastructure forget it."""
        if isinstance(end, LostSight):
            _log.warning("run %s: its runner can no longer be seen (%s); its lease decides", self.run, end.why)
            await launched.forget(keep_output=True)
            return
        well = end.exit_code == 0
        if well:
            _log.info("run %s, epoch %d: its runner ended well", self.run, self.epoch)
        else:
            _log.warning(
                "run %s, epoch %d: its runner ended with %s; what it wrote is in %s",
                self.run,
                self.epoch,
                _told(end),
                launched.output,
            )
        reach("death.seen")
        if not self._over.is_set():
            if not well:
                self._means.ready.failed(self.run)
            request = DiedRequest(
                epoch=self.epoch,
                exit_code=end.exit_code,
                signal=end.signal,
                drained=self._drained,
                out_of_memory=end.out_of_memory,
            )
            await self._told(lambda: self._means.api.died(self.run, request))
        reach("death.reported")
        await launched.forget(keep_output=not well)

    async def _kill_when_over(self, launched: Launched) -> None:
        await self._over.wait()
        assert self._grace is not None
        await anyio.sleep(self._grace)
        _log.warning("run %s: the runner of epoch %d outlived its time and is killed", self.run, self.epoch)
        await launched.kill()

    def _end_within(self, grace_seconds: float) -> None:
        if self._grace is None:  # what was known first holds
            self._grace = grace_seconds
            self._over.set()

    async def _asked(self, request: Callable[[], Awaitable[Claimed]]) -> Claimed:
        return await persistently(request, self._means.pace)

    async def _told(self, request: Callable[[], Awaitable[None]]) -> None:
        """Send what the server must hear; what it refuses, it knows better (the run has moved on, or its log is another)."""
        try:
            await persistently(request, self._means.pace)
        except PlayheadError as error:
            _log.info("run %s: %s", self.run, error.message)


def _told(end: Exit) -> str:
    if end.out_of_memory:
        return "a lack of memory"
    if end.signal is not None:
        return f"signal {end.signal}"
    return f"exit code {end.exit_code}" if end.exit_code is not None else "an exit that nobody saw"
