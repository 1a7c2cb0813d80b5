"""Exit codes, and the one place where an error becomes a message and a code. Imports no engine.

  0  good
  1  the flow run failed
  2  wrong use, or what was asked cannot be done: the message says what to do
  3  no server, or no log: nobody there to ask
  4  the flow run was cancelled, or crashed
130  interrupted by Ctrl-C
"""

from __future__ import annotations

import json
import sys
from enum import IntEnum
from typing import Final

from playhead import errors


class ExitCode(IntEnum):
    GOOD = 0
    FAILED = 1
    WRONG_USE = 2
    NO_SERVER = 3
    ENDED_EARLY = 4
    DEFECT = 70  # of Playhead's own; what sysexits.h calls EX_SOFTWARE
    INTERRUPTED = 130


# The first that fits; everything else that Playhead raises on purpose is WRONG_USE.
_CODES: Final[tuple[tuple[type[errors.PlayheadError], ExitCode], ...]] = (
    (errors.FlowRunFailed, ExitCode.FAILED),
    (errors.Diverged, ExitCode.FAILED),
    (errors.FlowRunCancelled, ExitCode.ENDED_EARLY),
    (errors.FlowRunCrashed, ExitCode.ENDED_EARLY),
    (errors.RunnerEnded, ExitCode.ENDED_EARLY),
    (errors.ServerUnreachable, ExitCode.NO_SERVER),
    (errors.LogUnusable, ExitCode.NO_SERVER),
    (errors.OutcomeUnknown, ExitCode.NO_SERVER),  # its disk fails
    (errors.UnknownEvent, ExitCode.NO_SERVER),  # a log that is from a newer version
)


def code_of(error: errors.PlayheadError) -> ExitCode:
    return next((code for cls, code in _CODES if isinstance(error, cls)), ExitCode.WRONG_USE)


def tell(error: errors.PlayheadError, *, as_json: bool) -> ExitCode:
    """Print the error to stderr, for a person or for a program, and give the code to exit with."""
    message = "\n".join((error.message, *getattr(error, "__notes__", ())))
    tell_message(message, error.hint, code=error.code, as_json=as_json)
    return code_of(error)


def tell_message(message: str, hint: str | None, *, code: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": {"code": code, "message": message, "hint": hint}}), file=sys.stderr)
        return
    from rich.text import Text

    from playhead.cli.output import stderr

    console = stderr()
    console.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    if hint:
        console.print(Text(f"  {hint}", style="dim"), soft_wrap=True)
