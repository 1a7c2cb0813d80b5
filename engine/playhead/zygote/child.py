"""A fork on its way to be a runner: waits for its launch, and makes of itself what a fresh interpreter would be. Never returns.

What it leaves behind: the zygote's session, every descriptor but its own, its folder, stdio and import paths. What it keeps is what
the zygote took care to hold nothing of a run's in: modules, and settings of an interpreter that has done nothing yet.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import traceback
from typing import Final, NoReturn

from playhead.runner import __main__ as runner
from playhead.zygote.marker import Room
from playhead.zygote.messages import LAUNCH_DESCRIPTORS, MAX_BYTES, Launch, from_packet

ORDER_FD: Final = 3  # the first behind stdio
IN_ITS_SESSION: Final = b"."  # the first word of a fork: from now on its pid is its group's, and can be signalled
UNWANTED: Final = 0  # exit code of a fork that nobody launched

_MAX_FD: Final = 2**31 - 1


def live(hand_over: socket.socket, room: Room) -> NoReturn:
    """Become the runner that comes over this socket; end when nobody sends one."""
    code = 1  # as an interpreter ends that raised
    try:
        os.setsid()
        code = _live(hand_over, room)
    except BaseException:  # noqa: BLE001 — nothing may get out of here into the zygote's own frames
        traceback.print_exc()
    finally:
        runner.end(code)


def _live(hand_over: socket.socket, room: Room) -> int:
    _close_all_but(hand_over.fileno())
    try:
        hand_over.send(IN_ITS_SESSION)
        packet, fds, _, _ = socket.recv_fds(hand_over, MAX_BYTES, LAUNCH_DESCRIPTORS)
    except ConnectionError:
        return UNWANTED
    if not packet:
        return UNWANTED
    launch = from_packet(packet)
    assert isinstance(launch, Launch)
    _take_descriptors(*fds)
    _settle(launch, room)
    sys.argv = [runner.__file__, "--order-fd", str(ORDER_FD)]
    sys.modules["__main__"] = runner
    gc.enable()
    return runner.serve(ORDER_FD)


def _take_descriptors(order: int, stdout: int, stderr: int) -> None:
    """Stdio and the order at the numbers where they belong, and nothing else."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    if order != ORDER_FD:
        os.dup2(order, ORDER_FD, inheritable=False)
    os.closerange(ORDER_FD + 1, _MAX_FD)


def _close_all_but(kept: int) -> None:
    os.closerange(3, kept)
    os.closerange(kept + 1, _MAX_FD)


def _settle(launch: Launch, room: Room) -> None:
    """Folder, environment and import paths, as `python -m playhead.runner` would find them there."""
    os.chdir(launch.folder)
    room.mark(launch.marker)
    os.environ.update(launch.environment)
    inherited = sys.path[1:]  # the first is the folder in which the zygote was started
    sys.path[:] = [launch.folder, *(path for path in launch.import_paths if path not in inherited), *inherited]
    for path in [path for path, finder in sys.path_importer_cache.items() if finder is None]:
        del sys.path_importer_cache[path]  # what was no folder when the zygote looked may be one by now
