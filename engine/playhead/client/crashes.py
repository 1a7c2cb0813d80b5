"""Why a run crashed, in words for whoever asked for it: from the facts of the log alone."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Final, assert_never

from playhead.core.events import CrashReason, LossReason, ReleaseReason, RunLost, RunReleased, decode
from playhead.core.views import RunView
from playhead.ports.server import ServerApi


async def why_crashed(api: ServerApi, view: RunView) -> str:
    """What ended the run. Of runners that were lost it says how the last one was, which is what a person looks into."""
    match view.crash:
        case CrashReason.LOSSES:
            last = await _last_loss(api, view)
            how = f", the last one {last}" if last else ""
            return f"its runner was lost {view.losses} times, as often as a run may lose one{how}"
        case CrashReason.RELEASES:
            last = await _last_release(api, view)
            how = f"; the last time {last}" if last else ""
            return f"its runner could not be started, as often as that may be tried{how}"
        case CrashReason.EMBEDDING_ENDED:
            return "the program that ran it ended before the run did"
        case None:
            return "for an unknown reason"
        case _:
            assert_never(view.crash)


async def _last_loss(api: ServerApi, view: RunView) -> str | None:
    told: str | None = None
    async for recorded in api.history(view.run_id):
        if recorded.type == RunLost.TYPE:
            loss = decode(recorded.type, recorded.schema, recorded.data)
            assert isinstance(loss, RunLost), "that is what the type says"
            told = _told(loss)
    return told


async def _last_release(api: ServerApi, view: RunView) -> str | None:
    told: str | None = None
    async for recorded in api.history(view.run_id):
        if recorded.type == RunReleased.TYPE:
            release = decode(recorded.type, recorded.schema, recorded.data)
            assert isinstance(release, RunReleased), "that is what the type says"
            told = _RELEASES.get(release.reason)
    return told


_RELEASES: Final[Mapping[ReleaseReason, str]] = {
    ReleaseReason.LAUNCH_FAILED: "the agent could not launch it",
    ReleaseReason.LAUNCH_TIMED_OUT: "it took longer than a launch may",
    ReleaseReason.RUNNER_DIED: "its process ended before the flow began",
    ReleaseReason.STORAGE_UNREACHABLE: "the storage was not reachable from where it ran",
    ReleaseReason.REFUSED: "what the server said of the run was not what was signed",
    ReleaseReason.IMAGE_MISSING: "its image was not there, and not to be had",
    ReleaseReason.IMAGE_UNFIT: "its image held no Playhead, or another version of it or of Python than the agent's",
    ReleaseReason.INFRASTRUCTURE_UNREACHABLE: "what should start it did not answer the agent",
}  # the agent's log has the details


def _told(loss: RunLost) -> str:
    match loss.reason:
        case LossReason.EXITED:
            return f"when its process ended with exit code {loss.exit_code}"
        case LossReason.SIGNALLED:
            return f"when its process was killed by {_signal_name(loss.signal)}"
        case LossReason.LEASE_EXPIRED:
            return "when nothing was heard of it until its lease ended"
        case LossReason.DRAINED:
            return "when its agent ended"
        case LossReason.OUT_OF_MEMORY:
            return "when its container was out of memory"
        case _:
            assert_never(loss.reason)


def _signal_name(number: int | None) -> str:
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return f"signal {number}"
