"""`python -m playhead.zygote --agent-fd N`: imports what a runner needs, then makes one for each launch that its agent sends.

It has one thread and looks before every fork that this is still so. It is the parent of its runners: when one has ended, it kills
what is left of the runner's process group, writes the ending down, and only then lets the kernel forget the process. When its agent is
gone it makes no more runners, and ends with the last that it has.
"""

from __future__ import annotations

import argparse
import gc
import os
import select
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass

from playhead.failpoints import reach
from playhead.zygote import kernel, warmth
from playhead.zygote.child import IN_ITS_SESSION, live
from playhead.zygote.ending import Ending
from playhead.zygote.marker import Room
from playhead.zygote.messages import (
    LAUNCH_DESCRIPTORS,
    MAX_BYTES,
    Forked,
    Launch,
    Message,
    Ready,
    Refused,
    from_packet,
    to_packet,
)


class Spent(Exception):
    """This zygote can make no runner any more."""


@dataclass(slots=True)
class Spare:
    """A fork that waits for its launch, so that the fork itself is on nobody's way."""

    pid: int
    hand_over: socket.socket


@dataclass(frozen=True, slots=True)
class Runner:
    """A process that was given its launch."""

    pid: int
    folder: str
    ending: int  # descriptor of the pipe in which its agent hears of its end


class Zygote:
    def __init__(self, agent: socket.socket) -> None:
        self._agent: socket.socket | None = agent
        self._room = Room()
        self._spare: Spare | None = None
        self._runners: dict[int, Runner] = {}  # by pidfd
        self._poll = select.poll()
        self._poll.register(agent.fileno(), select.POLLIN)

    def serve(self) -> None:
        """Until the agent is gone and the last runner has ended."""
        self._prepare_if_it_can()
        self._say(Ready(pid=os.getpid()))
        while self._agent is not None or self._runners:
            for fd, _ in self._poll.poll():
                if fd in self._runners:
                    self._bury(fd)
                elif self._agent is not None:
                    self._hear(self._agent)

    # --- making runners --------------------------------------------------------------------------------------------

    def _hear(self, agent: socket.socket) -> None:
        packet, fds = b"", list[int]()
        with suppress(ConnectionError):
            packet, fds, _, _ = socket.recv_fds(agent, MAX_BYTES, LAUNCH_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        if not packet or _is_gone(agent):
            for fd in fds:
                os.close(fd)
            self._leave_agent(agent)
            return
        ending = fds.pop()
        try:
            launch = from_packet(packet)
            assert isinstance(launch, Launch), "an agent sends nothing else"
            pid = self._hand_over(packet, fds)
        except Spent as spent:
            os.close(ending)
            self._say(Refused(why=str(spent), spent=True))
        except OSError as error:
            os.close(ending)
            self._say(Refused(why=error.strerror or str(error), spent=False))
        else:
            self._watch(Runner(pid, launch.folder, ending))
            reach("zygote.forked")
            self._say(Forked(pid=pid, started=kernel.start_time(pid)))
            self._prepare_if_it_can()
        finally:
            for fd in fds:
                os.close(fd)

    def _hand_over(self, packet: bytes, fds: list[int]) -> int:
        """Give the launch to the spare, or to a fork made for it where that has died. The pid of what is a runner now."""
        for _ in range(2):
            self._prepare()
            spare, self._spare = self._spare, None
            assert spare is not None
            with spare.hand_over, suppress(ConnectionError):
                if spare.hand_over.recv(len(IN_ITS_SESSION)):
                    socket.send_fds(spare.hand_over, [packet], fds)
                    return spare.pid
            os.waitpid(spare.pid, 0)  # somebody killed it
        raise Spent("its forks die before they are launched")

    def _prepare_if_it_can(self) -> None:
        with suppress(Spent, OSError):  # the next launch meets it again, and tells the agent
            self._prepare()

    def _prepare(self) -> None:
        """Have a spare. Spent: the process is no longer one to fork. OSError: the system has no room for a process."""
        if self._spare is not None:
            return
        threads = kernel.own_threads()
        if threads != 1:
            raise Spent(f"it has {threads} threads, and a fork would copy the locks that they hold")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                pid = os.fork()
            except OSError:
                ours.close()
                raise
            if pid == 0:
                live(theirs, self._room)
            self._spare = Spare(pid, ours)

    # --- their end -------------------------------------------------------------------------------------------------

    def _watch(self, runner: Runner) -> None:
        pidfd = os.pidfd_open(runner.pid)
        self._runners[pidfd] = runner
        self._poll.register(pidfd, select.POLLIN)

    def _bury(self, pidfd: int) -> None:
        """In this order: until it is reaped, neither its pid nor its group's id can become another's."""
        runner = self._runners.pop(pidfd)
        self._poll.unregister(pidfd)
        ended = os.waitid(os.P_PID, runner.pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        reach("zygote.burying")
        with suppress(ProcessLookupError):
            os.killpg(runner.pid, signal.SIGKILL)
        by_itself = ended.si_code == os.CLD_EXITED
        ending = Ending(exit_code=ended.si_status) if by_itself else Ending(signal=ended.si_status)
        ending.write(runner.folder)
        os.waitpid(runner.pid, 0)
        os.close(pidfd)
        with suppress(BrokenPipeError):  # the agent is gone: its next life reads the folder
            os.write(runner.ending, ending.to_bytes())
        os.close(runner.ending)

    # --- its agent -------------------------------------------------------------------------------------------------

    def _say(self, message: Message) -> None:
        if self._agent is not None:
            try:
                self._agent.send(to_packet(message))
            except ConnectionError:
                self._leave_agent(self._agent)

    def _leave_agent(self, agent: socket.socket) -> None:
        self._poll.unregister(agent.fileno())
        agent.close()
        self._agent = None
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.hand_over.close()
            os.waitpid(spare.pid, 0)


def _is_gone(agent: socket.socket) -> bool:
    """Whether the agent has hung up. It gives up a zygote that was stopped for too long, and has made that runner elsewhere: a
    second one in the same folder would write its own ending over the other's."""
    look = select.poll()
    look.register(agent.fileno(), 0)  # hanging up is told unasked
    return bool(look.poll(0))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m playhead.zygote", description="Fork runners; started by an agent.")
    parser.add_argument("--agent-fd", type=int, required=True, help="descriptor of the socket to the agent")
    agent = socket.socket(fileno=parser.parse_args().agent_fd)
    agent.set_inheritable(False)
    warmth.warm()
    gc.collect()
    gc.disable()  # until the fork: a collection would touch, and so copy, every page
    gc.freeze()
    Zygote(agent).serve()


if __name__ == "__main__":
    main()
