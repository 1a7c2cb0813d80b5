"""What a fault needs of the machine: rights and programs. Owns the decision between skipping a test and failing it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from typing import Final

import pytest

TOOL_SECONDS: Final = 60.0  # for a tool that answers at once, on a machine that is very busy


def need(*programs: str) -> None:
    """Skip the test where this user or machine cannot do it, and say why. In CI that is a failure: there nothing may be missing."""
    why = _missing(programs)
    if why is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must be able to do this: {why}")
    pytest.skip(why)


def tool(*command: str) -> str:
    """Run a tool of the system to its end, and give what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}: {done.stderr}"
    return done.stdout


@cache
def _missing(programs: tuple[str, ...]) -> str | None:
    if sys.platform != "linux":
        return "only Linux has what this fault needs"
    if os.geteuid() != 0:
        return "only root may do this fault"
    for program in programs:
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return None
