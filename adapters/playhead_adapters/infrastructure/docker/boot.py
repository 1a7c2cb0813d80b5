"""What a container's interpreter is told to do: see whether the image fits, then run what is ordered. The same text for every run.

It stands in the container's command line, where everybody may read it, and so holds nothing of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from playhead import __version__
from playhead.core.kinds import RunnerExit

ORDER_FOLDER: Final = "playhead-order"  # at the container's root; no name that could be imported from there
ORDER_NAME: Final = "order"

# The first process of a container gets no signal that it does not ask for; so it asks for SIGTERM.
_SCRIPT: Final = f"""\
import os, runpy, signal, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit({128 + 15}))
version, python = sys.argv[1:3]
def unfit(code, said):
    print("playhead: " + said, file=sys.stderr)
    sys.exit(code)
here = "%d.%d" % sys.version_info[:2]
if here != python:
    unfit({RunnerExit.OTHER_PYTHON:d}, "this image has Python %s, and the agent says %s: start it with --python %s" % (here, python, here))
try:
    import playhead
except ImportError as error:
    unfit({RunnerExit.NO_PLAYHEAD:d}, "this image cannot import Playhead: %s" % error)
if playhead.__version__ != version:
    unfit({RunnerExit.OTHER_VERSION:d}, "this image has Playhead %s, and its agent %s" % (playhead.__version__, version))
sys.argv[1:] = sys.argv[3:]
runpy.run_module("playhead.runner", run_name="__main__", alter_sys=True)
"""


def command(interpreter: str, python: str) -> Sequence[str]:
    """`python`: the minor version that the interpreter must be of."""
    order = f"/{ORDER_FOLDER}/{ORDER_NAME}"
    return (interpreter, "-c", _SCRIPT, __version__, python, "--order-file", order)
