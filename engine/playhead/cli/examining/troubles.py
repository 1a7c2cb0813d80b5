"""An error that was met while something was looked at, as a finding."""

from __future__ import annotations

from playhead.cli.exits import ExitCode, code_of
from playhead.errors import PlayheadError
from playhead.ports.examination import Finding, Health


def failed(part: str, error: PlayheadError) -> Finding:
    return Finding(part, Health.FAIL, error.message, error.hint, unreachable=code_of(error) is ExitCode.NO_SERVER)
