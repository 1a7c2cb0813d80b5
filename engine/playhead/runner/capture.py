"""Captured logging and prints: what flow and task code says, as JSON lines for the user's storage. Never sent to a server.

The standard `logging` module is captured at its root, and `print` where `log_prints` says so, for code that runs in a flow or a
task of this run; everything else passes as it was. A line: {"at", "level", "logger", "task", "attempt", "message"}.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TextIO

import orjson

from playhead.flows.context import CurrentRun, session_var, task_var

MAX_LINE_BYTES: Final = 64 * 1024  # one line; a longer message is cut and says so
MAX_COLLECTED_BYTES: Final = 4 * 1024 * 1024  # what one call in a worker process may send back

Sink = Callable[[bytes], None]

_sink_var: ContextVar[Sink | None] = ContextVar("playhead_log_sink", default=None)
_prints_var: ContextVar[bool] = ContextVar("playhead_log_prints", default=False)


def get_logger(name: str = "playhead.flow") -> logging.Logger:
    """A standard logger. What is logged in a flow or a task, by this or any other logger, is kept with the run."""
    return logging.getLogger(name)


@contextmanager
def installed() -> Generator[None]:
    """While a run lasts, logging and stdout of this process can be captured; when the last one has ended they are as they were."""
    with _STATE.lock:
        _STATE.runs += 1
        _STATE.install()
    try:
        yield
    finally:
        with _STATE.lock:
            _STATE.runs -= 1
            if not _STATE.runs:
                _STATE.restore()


class capturing:  # noqa: N801  # a `with` block, as contextlib's own; as a generator it would take three times as long, for every task
    """`with capturing(sink, log_prints=…)`: lines of code in this context go to `sink`."""

    __slots__ = ("_log_prints", "_prints_token", "_sink", "_sink_token")

    def __init__(self, sink: Sink, *, log_prints: bool) -> None:
        self._sink = sink
        self._log_prints = log_prints

    def __enter__(self) -> None:
        if _STATE.runs:
            _STATE.install()
        self._sink_token = _sink_var.set(self._sink)
        self._prints_token = _prints_var.set(self._log_prints)

    def __exit__(self, *_: object) -> None:
        _sink_var.reset(self._sink_token)
        _prints_var.reset(self._prints_token)


def log_prints_here(log_prints: bool) -> None:
    """The task's own rule for prints, in the context of its call, for as long as that lasts."""
    _prints_var.set(log_prints)


@contextmanager
def collected_lines() -> Generator[Callable[[], bytes]]:
    """In a worker process: lines are collected, to travel with the outcome."""
    _STATE.install()
    lines: list[bytes] = []
    size = 0

    def sink(line: bytes) -> None:
        nonlocal size
        size += len(line)
        if size <= MAX_COLLECTED_BYTES:
            lines.append(line)

    token = _sink_var.set(sink)
    try:
        yield lambda: b"".join(lines)
    finally:
        _sink_var.reset(token)


def line(level: str, logger: str, message: str, current: CurrentRun | None) -> bytes:
    encoded = message.encode("utf-8", "backslashreplace")  # half a surrogate pair, as undecodable file names have them
    message = encoded[:MAX_LINE_BYTES].decode("utf-8", "ignore")
    if len(encoded) > MAX_LINE_BYTES:
        message += f"… ({len(encoded)} bytes, cut)"
    return orjson.dumps(
        {
            "at": time.time_ns() // 1000,
            "level": level,
            "logger": logger,
            "task": current.task_key if current else None,
            "attempt": current.attempt if current else None,
            "message": message,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def end_line() -> None:
    """What was printed without the end of its line is a line too, where the code that printed it has ended."""
    out: object = sys.stdout
    if isinstance(out, _Prints):
        out.end_line()


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _tell_as_before(record)
        sink = _sink_var.get()
        if sink is None:
            return
        try:
            message = record.getMessage()
            if record.exc_info:
                message += "\n" + logging.Formatter().formatException(record.exc_info)
        except Exception as error:  # noqa: BLE001  # a log call must not end a task; logging itself behaves so
            message = f"{record.msg!r} could not be formatted: {error!r}"
        sink(line(record.levelname, record.name, message, _current()))


def _tell_as_before(record: logging.LogRecord) -> None:
    """Without our handler logging's last resort would print it, where nobody else handles it."""
    last = logging.lastResort
    if last is None or record.levelno < max(last.level, _STATE.level or 0):
        return
    if not any(handler is not _HANDLER for logger in _upwards(record.name) for handler in logger.handlers):
        last.handle(record)


def _upwards(name: str) -> Iterator[logging.Logger]:
    """The logger of that name and those above it, the root last."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        yield logger
        logger = logger.parent


class _AsBefore(logging.Filter):
    """On the handlers of a user's own: they see no record that they would not see without us."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _STATE.level is None or record.levelno >= _STATE.level:
            return True
        # A level of its own let it through, not the root's.
        return any(logger.level for logger in _upwards(record.name) if logger.parent is not None)


_HANDLER: Final = _Handler()
_FILTER: Final = _AsBefore()


class _State:
    """What was changed of this process's logging and stdout. One for each process, as those are."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs = 0
        self.level: int | None = None  # the root's, where we have changed it

    def install(self) -> None:
        """At the start of each task too: a flow's code may replace the root's handlers, or stdout."""
        root = logging.getLogger()
        if _HANDLER not in root.handlers:
            for handler in root.handlers:
                handler.addFilter(_FILTER)
            root.addHandler(_HANDLER)
            if root.level in (logging.WARNING, logging.NOTSET):
                self.level = root.level
                root.setLevel(logging.INFO)
        out: object = sys.stdout
        if out is not None and not isinstance(out, _Prints):
            sys.stdout = _Prints(sys.stdout)

    def restore(self) -> None:
        root = logging.getLogger()
        root.removeHandler(_HANDLER)
        for handler in root.handlers:
            handler.removeFilter(_FILTER)
        if self.level is not None and root.level == logging.INFO:
            root.setLevel(self.level)
        self.level = None
        out: object = sys.stdout
        if isinstance(out, _Prints):
            sys.stdout = out.inner


_STATE: Final = _State()


class _Prints(io.TextIOBase):
    """Stands before stdout: whole lines printed by captured code become log lines."""

    def __init__(self, inner: TextIO) -> None:
        self.inner = self._inner = inner
        self._partial: ContextVar[str] = ContextVar("playhead_partial_print", default="")

    def write(self, text: str, /) -> int:
        sink = _sink_var.get() if _prints_var.get() else None
        if sink is None:
            return self._inner.write(text)
        *lines, rest = (self._partial.get() + text).split("\n")
        self._partial.set(rest)
        for each in lines:
            sink(line("PRINT", "print", each, _current()))
        return len(text)

    def end_line(self) -> None:
        if self._partial.get():
            self.write("\n")

    def flush(self) -> None:
        self._inner.flush()

    def fileno(self) -> int:
        return self._inner.fileno()

    def isatty(self) -> bool:
        return self._inner.isatty()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # TextIOBase calls it an attribute
        return self._inner.encoding

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _current() -> CurrentRun | None:
    task = task_var.get()
    if task is not None:
        return task
    session = session_var.get()
    return session.current if session is not None else None
