"""Failures as bytes: an exception with its causes, context and notes, and its text beside it. Owns their format.

    length of the text part 4 | text part: JSON | exception: pickle

The text part is read without unpickling, so that tracebacks can be shown where the exception's class cannot be loaded. An
exception that cannot be pickled or read back is replaced by an `UnloadableOutcome` that carries its type's name and its text;
causes and contexts are replaced one by one, so that one bad link does not cost the chain.
"""

from __future__ import annotations

import io
import pickle
import struct
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson

from playhead.errors import UnloadableOutcome
from playhead.trust.payload import PROTOCOL, ValuePickler, load, type_name

MAX_TEXT: Final = 256 * 1024  # characters of a text or traceback: a recursion's or a table's must not fill the storage
MAX_CHAIN: Final = 100  # exceptions kept of one chain or group, nearest first

_LENGTH = struct.Struct(">I")


@dataclass(frozen=True)
class FailureText:
    """What can be shown of a failure without loading it."""

    type_name: str
    text: str
    traceback: str


@dataclass(frozen=True)
class Failure(FailureText):
    """A failure read back. `exception` is the task's own, or the `UnloadableOutcome` in its place."""

    exception: BaseException


def dump_failure(exception: BaseException) -> bytes:
    """The exception as bytes. Always succeeds: what cannot be kept is replaced, and says so."""
    text = FailureText(
        type_name=type_name(type(exception)),
        text=_bounded(_text_of(exception)),
        traceback=_bounded("".join(traceback.format_exception(exception))),
    )
    head = orjson.dumps({"type": text.type_name, "text": text.text, "traceback": text.traceback})
    return _LENGTH.pack(len(head)) + head + _dump_chain(exception)


def load_failure(data: bytes) -> Failure:
    """The failure, with its exception loaded. Only for verified bytes. An exception that does not load here is replaced."""
    text = failure_text(data)
    (length,) = _LENGTH.unpack_from(data)
    try:
        exception = _linked(load(data[_LENGTH.size + length :]))
    except UnloadableOutcome as error:
        exception = _substitute(text.type_name, text.text, error.message)
        exception.__cause__ = error
    return Failure(text.type_name, text.text, text.traceback, exception)


def failure_text(data: bytes) -> FailureText:
    """The failure's type, text and traceback; loads no pickle."""
    (length,) = _LENGTH.unpack_from(data)
    head = orjson.loads(data[_LENGTH.size : _LENGTH.size + length])
    return FailureText(head["type"], head["text"], head["traceback"])


@dataclass(frozen=True)
class _Link:
    """One exception of a chain, and what pickling an exception loses. The links are places in the chain."""

    exception: BaseException
    cause: int | None
    context: int | None
    suppress_context: bool
    notes: tuple[str, ...]


def _dump_chain(exception: BaseException) -> bytes:
    chain = _reachable(exception)
    try:
        data = _dump_links(chain, chain)
        _linked(load(data))
    except Exception:  # noqa: BLE001 — reducers and constructors of the user's may raise anything; next, one by one
        return _dump_links(chain, [_kept_or_replaced(each) for each in chain])
    return data


def _dump_links(chain: list[BaseException], kept: list[BaseException]) -> bytes:
    place = {id(each): index for index, each in enumerate(chain)}
    return _dump_exceptions(
        [
            _Link(
                exception=keep,
                cause=place.get(id(each.__cause__)),
                context=place.get(id(each.__context__)),
                suppress_context=each.__suppress_context__,
                notes=_notes_of(each),
            )
            for each, keep in zip(chain, kept, strict=True)
        ]
    )


def _linked(links: list[_Link]) -> BaseException:
    """The first exception of the chain, with all links restored."""
    for link in links:
        exception = _an_exception(link.exception)
        exception.__cause__ = None if link.cause is None else links[link.cause].exception
        exception.__context__ = None if link.context is None else links[link.context].exception
        exception.__suppress_context__ = link.suppress_context
        if link.notes:
            exception.__notes__ = list(link.notes)
    return links[0].exception


def _reachable(exception: BaseException) -> list[BaseException]:
    """The exception, its causes and contexts, and the members of groups; each once."""
    found: dict[int, BaseException] = {}
    waiting: list[BaseException | None] = [exception]
    while waiting and len(found) < MAX_CHAIN:
        each = waiting.pop(0)
        if each is None or id(each) in found:
            continue
        found[id(each)] = each
        waiting += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            waiting += cast("BaseExceptionGroup[BaseException]", each).exceptions
    return list(found.values())


def _kept_or_replaced(exception: BaseException) -> BaseException:
    try:
        _an_exception(load(_dump_exceptions(exception)))
        why = None
    except UnloadableOutcome as error:
        why = error.message
    except Exception as error:  # noqa: BLE001 — see _dump_chain
        why = f"it cannot be pickled: {type_name(type(error))}: {_text_of(error)}"
    return exception if why is None else _substitute(type_name(type(exception)), _text_of(exception), why)


def _an_exception(back: object) -> BaseException:
    """What was read back, if its own way of being pickled has made an exception of it."""
    if isinstance(back, BaseException):
        return back
    raise UnloadableOutcome(f"it reads back as a {type_name(type(back))}")


def _substitute(original: str, text: str, why: str) -> UnloadableOutcome:
    return UnloadableOutcome(
        f"{original}: {_bounded(text)}",
        hint=f"the exception itself is lost ({_bounded(why)}); `playhead show RUN --failures` prints its traceback",
    )


def _dump_exceptions(value: object) -> bytes:
    """As `payload.dump`, but with exceptions rebuilt by `_rebuilt`."""
    try:
        data = _dumped_by(_ReferencePickler, value)
        if b"__main__" not in data:
            return data
    except Exception:  # noqa: BLE001, S110 — cloudpickle is tried next
        pass
    return _dumped_by(_ValuePickler, value)


def _dumped_by(pickler: Callable[[io.BytesIO, int], pickle.Pickler], value: object) -> bytes:
    buffer = io.BytesIO()
    pickler(buffer, PROTOCOL).dump(value)
    return buffer.getvalue()


class _ReferencePickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        return _reduced(obj)


class _ValuePickler(ValuePickler):
    def reducer_override(self, obj: Any) -> Any:
        reduced = _reduced(obj)
        return super().reducer_override(obj) if reduced is NotImplemented else reduced


def _reduced(obj: object) -> Any:
    """How to pickle an exception with a constructor of its own: without calling it.

    `BaseException` reads back by `cls(*args)`, which fails, or changes the text, where `__init__` takes other arguments than it
    hands on. A class that says itself how it is pickled is left to it, and to nobody else: Dask has tblib register itself for all
    exceptions of a process, and that reads some of Python's own back without their text.
    """
    if not isinstance(obj, BaseException):
        return NotImplemented
    cls = type(obj)
    own_way = cls.__reduce__ is not BaseException.__reduce__ or cls.__reduce_ex__ is not object.__reduce_ex__
    if own_way or isinstance(obj, BaseExceptionGroup) or cls.__init__ is _builtin_base(cls).__init__:
        return obj.__reduce_ex__(PROTOCOL)
    return _rebuilt, (cls, obj.args, obj.__dict__)


def _rebuilt(cls: type[BaseException], args: tuple[object, ...], state: dict[str, object]) -> BaseException:
    exception = cls.__new__(cls, *args)
    _builtin_base(cls).__init__(exception, *args)
    exception.__dict__.update(state)
    return exception


def _builtin_base(cls: type[BaseException]) -> type[BaseException]:
    return next(base for base in cls.__mro__ if base.__module__ == "builtins")


def _notes_of(exception: BaseException) -> tuple[str, ...]:
    """Its notes as texts. What a program has put there that is no list of texts must not hide the failure."""
    try:
        return tuple(str(note) for note in getattr(exception, "__notes__", ()))
    except Exception as error:  # noqa: BLE001 — foreign code, as in _text_of
        return (f"<its notes cannot be read: {type_name(type(error))}>",)


def _text_of(exception: BaseException) -> str:
    try:
        return str(exception)
    except Exception as error:  # noqa: BLE001 — a broken __str__ must not hide the failure
        return f"<its text cannot be made: {type_name(type(error))}>"


def _bounded(text: str) -> str:
    """At most MAX_TEXT characters, beginning and end kept, and without halves of surrogate pairs."""
    if len(text) > MAX_TEXT:
        half = MAX_TEXT // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode()
