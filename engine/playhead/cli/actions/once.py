"""What one pass of an agent came to (`--once`): each run and its end, and the exit code. Runs no agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from playhead.cli.exits import ExitCode
from playhead.cli.output import print_json_line, stdout
from playhead.core.state import RunStatus
from playhead.ports.server import ServerApi

if TYPE_CHECKING:
    from playhead.agent.once import Pass

_CODES: Final = {
    RunStatus.FAILED: ExitCode.FAILED,
    RunStatus.CANCELLED: ExitCode.ENDED_EARLY,
    RunStatus.CRASHED: ExitCode.ENDED_EARLY,
}


async def tell_pass(api: ServerApi, done: Pass, *, as_json: bool) -> int:
    """Print how the runs ended, and give the worst code: 0 all well or nothing to do, 1 one failed, 2 one could not be started
    here, 4 one was cancelled or crashed. A run that was lost here and is at work elsewhere by now says nothing."""
    ends = {run: (await api.run(run, tasks=False)).state for run in done.had}
    codes = [_CODES.get(end, ExitCode.GOOD) for end in ends.values()] + [ExitCode.WRONG_USE] * bool(done.gave_back)
    if as_json:
        runs = [{"run_id": run, "state": end.value} for run, end in ends.items()]
        back = [{"run_id": run, "reason": reason.value} for run, reason in done.gave_back.items()]
        print_json_line({"runs": runs, "gave_back": back})
    else:
        console = stdout()
        for run, end in ends.items():
            console.print(f"run {run} is {end}", soft_wrap=True)
        for run, reason in done.gave_back.items():
            console.print(f"run {run} was given back: {reason}; playhead why {run}", soft_wrap=True)
        if not ends and not done.gave_back:
            console.print("nothing was ready for this agent", soft_wrap=True)
    return max(codes, default=ExitCode.GOOD)
