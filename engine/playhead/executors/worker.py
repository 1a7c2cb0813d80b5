"""What runs in a worker process: one call after the other, from a socket. Run as a script, and imported for its frames.

It must import nothing of Playhead, and no more than it needs: the time until a worker's first call is the time of its
imports, and what a call needs comes with the call. What it answers is told in plain frames, so that an outcome that cannot
be unpickled can still be named.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, NamedTuple

import cloudpickle  # pyright: ignore[reportMissingTypeStubs] — it ships no types

CALL = b"c"  # to the worker: (fn, args, kwargs)
COROUTINE = b"a"  # to the worker: the same, and calling fn gives a coroutine
READY = b"o"  # from the worker: it has started
RESULT = b"r"  # from the worker: the result
RAISED = b"x"  # the exception and its cause; the text is its traceback
BAD_CALL = b"C"  # the call does not unpickle; the text says why
BAD_RESULT = b"R"  # the result does not pickle
BAD_RAISED = b"X"  # the exception does not pickle; the text is its traceback

# Of a frame that goes and comes in one piece: up to here a copy costs less than another system call
SMALL_BYTES = 32 * 1024

_HEADER = struct.Struct("!cIQ")  # kind, bytes of text, bytes of body
_MAIN = b"__main__"  # is another module in a worker
_by_value: Callable[[Any], bytes] = cloudpickle.dumps  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] — it ships no types
_modules_by_value: Callable[[], set[str]] = cloudpickle.list_registry_pickle_by_value  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] — as above


_Asked = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Frame(NamedTuple):
    kind: bytes
    text: str = ""
    body: bytes | memoryview = b""


def dumps(value: Any) -> bytes:
    """By plain pickle where the value is small, since that is several times as quick there, unless something must go by value: then, and
    where it is large, by cloudpickle."""
    small = _Small()
    try:
        pickle.Pickler(small, pickle.HIGHEST_PROTOCOL).dump(value)
    except Exception:  # noqa: BLE001 — it is large, or a reducer raised, and may raise anything; cloudpickle tells what of it is true
        return _by_value(value)
    data = small.data
    if _MAIN in data or any(module.encode() in data for module in _modules_by_value()):
        return _by_value(value)  # also where a string names such a module: it is the same value, only slower
    return data


class _Small:
    """What a pickler writes to. It stops at its limit: to look for names in what is large costs more than to pickle it again."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, piece: bytes, /) -> None:
        if len(self.data) + len(piece) > SMALL_BYTES:
            raise OverflowError
        self.data += piece


def main() -> None:
    """`worker.py <calls fd> <lifeline fd> ...`, as the nursery spawns it."""
    calls, lifeline = (int(fd) for fd in sys.argv[2:4])
    serve(socket.socket(fileno=calls), lifeline)


def serve(calls: socket.socket, lifeline: int) -> None:
    """Compute calls until the parent closes its end."""
    signal.signal(signal.SIGINT, _leave_it_to_the_parent)
    threading.Thread(target=_end_with_parent, args=(lifeline,), name="lifeline", daemon=True).start()
    with contextlib.closing(asyncio.Runner()) as loop:  # one for all calls, made by the first that needs it
        send(calls, Frame(READY))
        while (frame := receive(calls)) is not None:
            kind, asked = frame.kind, _read(frame)
            del frame  # what is large is in memory as its call has it, and not as it came, too
            answer = asked if isinstance(asked, Frame) else _answer(kind, asked, loop)
            del asked
            _flush()
            send(calls, answer)
            del answer  # an idle worker keeps no result


def send(peer: socket.socket, frame: Frame) -> None:
    """Each side sends one frame and waits for the other's, so a piece that comes is never of two."""
    text = frame.text.encode(errors="replace")
    head = _HEADER.pack(frame.kind, len(text), len(frame.body)) + text
    if len(frame.body) <= SMALL_BYTES:
        peer.sendall(head + frame.body)
    else:
        peer.sendall(head)
        peer.sendall(frame.body)


def receive(peer: socket.socket) -> Frame | None:
    """The next frame, or None if the peer has closed its end, be it within a frame."""
    first = peer.recv(SMALL_BYTES)
    return whole(first) or receive_rest(peer, first)


def whole(first: bytes) -> Frame | None:
    """The frame of which this is the first piece, if it is all of it."""
    if len(first) < _HEADER.size:
        return None
    kind, text_bytes, body_bytes = _HEADER.unpack_from(first)
    body_at = _HEADER.size + text_bytes
    if len(first) < body_at + body_bytes:
        return None
    return Frame(kind, first[_HEADER.size : body_at].decode(), first[body_at:])


def receive_rest(peer: socket.socket, first: bytes) -> Frame | None:
    """The frame that begins with this piece; None if the peer has closed its end, and so always where the piece is empty."""
    if not first:
        return None
    while len(first) < _HEADER.size:
        more = peer.recv(_HEADER.size - len(first))
        if not more:
            return None
        first += more
    kind, text_bytes, body_bytes = _HEADER.unpack_from(first)
    data = memoryview(bytearray(text_bytes + body_bytes))  # filled in place: a large body is copied nowhere
    came = len(first) - _HEADER.size
    data[:came] = first[_HEADER.size :]
    missing = data[came:]
    while missing:
        received = peer.recv_into(missing)
        if not received:
            return None
        missing = missing[received:]
    return Frame(kind, str(data[:text_bytes], "utf-8"), data[text_bytes:])


def _read(frame: Frame) -> _Asked | Frame:
    """The call, or the answer that it does not unpickle."""
    try:
        asked: _Asked = pickle.loads(frame.body)  # noqa: S301 — it comes from the parent, which is us
    except BaseException as error:  # noqa: BLE001 — unpickling runs foreign code, which may raise anything
        return Frame(BAD_CALL, _named(error))
    return asked


def _answer(kind: bytes, asked: _Asked, loop: asyncio.Runner) -> Frame:
    fn, args, kwargs = asked
    try:
        # An empty context: a call sees the same whether it runs here or in a thread of the parent.
        if kind == COROUTINE:
            value = _value_of(loop.run(_caught(fn(*args, **kwargs)), context=Context()))
        else:
            value = Context().run(fn, *args, **kwargs)
    except BaseException as error:  # noqa: BLE001 — whatever the call raises is its outcome
        return _raised(error)
    try:
        return Frame(RESULT, body=dumps(value))
    except BaseException as error:  # noqa: BLE001 — pickling runs foreign code
        return Frame(BAD_RESULT, _named(error))


def _raised(error: BaseException) -> Frame:
    """The exception with its traceback as text: a traceback does not pickle."""
    trace = error.__traceback__
    text = "".join(traceback.format_exception(type(error), error, trace.tb_next if trace else None))
    for cause in (error.__cause__, None):  # a cause that does not pickle is still in the text
        with contextlib.suppress(BaseException):
            return Frame(RAISED, text, dumps((error, cause)))
    return Frame(BAD_RAISED, text)


async def _caught(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    """The outcome as a value: a SystemExit that leaves a task ends the loop."""
    try:
        return await coroutine, None
    except BaseException as error:  # noqa: BLE001 — whatever the call raises is its outcome
        trace = error.__traceback__
        return None, error.with_traceback(trace.tb_next if trace else None)


def _value_of(outcome: tuple[Any, BaseException | None]) -> Any:
    value, error = outcome
    if error is not None:
        raise error
    return value


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _end_with_parent(lifeline: int) -> None:
    """Nobody writes to the lifeline. It ends when the parent does, however the parent died, and then so must we."""
    with contextlib.suppress(OSError):
        os.read(lifeline, 1)
    os._exit(0)


def _leave_it_to_the_parent(*_: object) -> None:
    """Ctrl-C reaches the whole group. The parent decides what becomes of the calls. (SIG_IGN would be inherited by exec.)"""


def _flush() -> None:
    """What the call printed must not be lost if the next one kills this process."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


if __name__ == "__main__":
    main()
