"""What became of runs that had trouble, in words: how a runner was lost, why a claim went back, how a run failed or crashed. Pure.

The facts are the log's own. What code and storage said stays on the user's side, and is no part of these words.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Final, assert_never

from playhead.core import events as ev
from playhead.core.kinds import CrashReason, FailureCategory, LossReason, ReleaseReason

Trouble = ev.RunLost | ev.RunReleased


def crashed(reason: CrashReason | None, losses: int, last: Trouble | None) -> str:
    """What ended the run; `last`: its newest trouble, where that is known."""
    match reason:
        case CrashReason.LOSSES:
            how = f", the last one {lost(last)}" if isinstance(last, ev.RunLost) else ""
            return f"its runner was lost {losses} times, as often as a run may lose one{how}"
        case CrashReason.RELEASES:
            how = f"; the last time {RELEASED[last.reason]}" if isinstance(last, ev.RunReleased) else ""
            return f"its runner could not be started, as often as that may be tried{how}"
        case CrashReason.EMBEDDING_ENDED:
            return "the program that ran it ended before the run did"
        case None:
            return "for an unknown reason"
        case _:
            assert_never(reason)


def lost(loss: ev.RunLost) -> str:
    """How a runner was lost, as what follows "its runner was lost"."""
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


RELEASED: Final[Mapping[ReleaseReason, str]] = {
    ReleaseReason.LAUNCH_FAILED: "the agent could not launch it",
    ReleaseReason.LAUNCH_TIMED_OUT: "it took longer than a launch may",
    ReleaseReason.RUNNER_DIED: "its process ended before the flow began",
    ReleaseReason.STORAGE_UNREACHABLE: "the storage was not reachable from where it ran",
    ReleaseReason.DRAINING: "the agent was ending",
    ReleaseReason.REFUSED: "what the server said of the run was not what was signed",
    ReleaseReason.NOT_ALLOWED: "it was not on the agent's lists of what it takes",
    ReleaseReason.IMAGE_MISSING: "its image was not there, and not to be had",
    ReleaseReason.IMAGE_UNFIT: "its image held no Playhead, or another version of it or of Python than the agent's",
    ReleaseReason.INFRASTRUCTURE_UNREACHABLE: "what should start it did not answer the agent",
}  # the agent's log has the details

FAILED: Final[Mapping[FailureCategory, str]] = {
    FailureCategory.RAISED: "an exception was raised",
    FailureCategory.EXITED: "the code ended its process",
    FailureCategory.TIMED_OUT: "it took longer than its timeout",
    FailureCategory.LOST: "what should compute it was not there, or was lost more often than its budget allows",
    FailureCategory.UPSTREAM: "something that it needs had failed",
    FailureCategory.UNLOADABLE: "a result or an exception could not be pickled, or not be read back",
    FailureCategory.FLOW_LOAD: "the sealed code does not load where it ran",
    FailureCategory.DIVERGED: "the flow asked for other tasks than before",
    FailureCategory.STORAGE_LOST: "storage no longer had what was written there",
    FailureCategory.TRUST: "something did not carry the right signature",
}


def _signal_name(number: int | None) -> str:
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return f"signal {number}"
