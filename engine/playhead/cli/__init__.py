"""The command line. Owns `main`; each command's work is imported when that command runs, so that `playhead --help` is quick."""

from __future__ import annotations

import sys


def main() -> None:
    """The `playhead` program."""
    from playhead.cli.app import run

    sys.exit(run(sys.argv[1:]))
