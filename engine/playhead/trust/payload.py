"""Values as bytes: results, parameters, arguments. Owns how a value is pickled and what is said when it cannot be.

`load` runs what the bytes say. It must only ever be given bytes that were verified (`envelope`, a journal's MAC, a blob's
digest); it cannot see that for itself. Failures have a form of their own, in `failure`.
"""

from __future__ import annotations

import copyreg
import dataclasses
import io
import pickle
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from playhead.errors import BadParameter, UnloadableOutcome

if TYPE_CHECKING:  # cloudpickle has no types; its pickler is used like the one that it extends
    from pickle import Pickler as ValuePickler
else:
    from cloudpickle import Pickler as ValuePickler

__all__ = ["PROTOCOL", "ValuePickler", "check_serialisable", "dump", "dump_by_value", "load", "size_class", "type_name"]

PROTOCOL: Final = 5
# Values tried when looking for the part that cannot be pickled; the search must not outlast the work
MAX_SEARCH: Final = 200
MAX_DEPTH: Final = 20

# A frame ends with the value that takes it beyond 64 KiB, and one of that size is a piece of its own (PEP 3154; PEP 574)
MAX_FRAME: Final = 2 * 64 * 1024 + 64

_MAIN = b"__main__"
_PLAIN: Final = frozenset({type(None), bool, int, float})

# Dataclasses know this object by identity, and a copy of it in a class that travelled by value would break the class: also the
# original, whose fields cloudpickle sets anew when the class comes back to the process that it left.
copyreg.pickle(type(dataclasses.MISSING), lambda _: "MISSING")


def dump(value: object) -> bytes:
    """The value as bytes, by plain pickle where that does, else by cloudpickle.

    What lives in `__main__` goes by value, as the reader's `__main__` is another module. UnloadableOutcome: it cannot be
    pickled; the message names the part of it that cannot.
    """
    if type(value) in _PLAIN:
        return pickle.dumps(value, PROTOCOL)
    try:
        sink = _Sink()
        pickle.Pickler(sink, PROTOCOL).dump(value)
        if not sink.names_main:
            return b"".join(sink.pieces)
    except Exception:  # noqa: BLE001, S110 — any reducer of the user's may raise anything; cloudpickle is tried next
        pass
    try:
        return dump_by_value(value)
    except Exception as error:
        path, culprit = _culprit(value)
        raise UnloadableOutcome(
            f"{path} is a {type_name(type(culprit))}, which cannot be pickled: {_told(error)}",
            hint="return or pass plain data instead: what a task opens (files, connections, locks) it should close itself",
        ) from error


class _Sink:
    """A pickle in the pieces that it is written in: frames, which name all classes, and between them what is large, as it lies in memory.

    To look through an array of 100 MB for a name would take as long as to pickle it.
    """

    def __init__(self) -> None:
        self.pieces: list[bytes | memoryview] = []
        self.names_main = False  # also a string may hold it: then cloudpickle writes the same value, only slower

    def write(self, piece: bytes | pickle.PickleBuffer) -> None:
        """Called by the pickler."""
        if isinstance(piece, pickle.PickleBuffer):
            self.pieces.append(piece.raw())
            return
        self.pieces.append(piece)
        if len(piece) < MAX_FRAME and _MAIN in piece:
            self.names_main = True


def dump_by_value(value: object) -> bytes:
    """By cloudpickle: functions and classes that cannot be imported elsewhere travel with the value."""
    buffer = io.BytesIO()
    ValuePickler(buffer, PROTOCOL).dump(value)
    return buffer.getvalue()


def load(data: bytes, what: str = "a stored value") -> Any:
    """The value. Only for verified bytes. UnloadableOutcome: they do not load here, with the reason; `what` says whose they are."""
    try:
        return pickle.loads(data)  # noqa: S301 — verified by the caller, as the module says
    except Exception as error:
        raise UnloadableOutcome(f"{what} does not load here: {_told(error)}", hint=_advice(error)) from error


def check_serialisable(name: str, value: object) -> bytes:
    """The parameter's bytes, tried both ways. BadParameter: they cannot be made, or do not read back."""
    try:
        data = dump(value)
        load(data, "its pickle")
    except UnloadableOutcome as error:
        raise BadParameter(
            f"parameter {name!r} cannot be sent to a run: {error.message}",
            hint="pass plain data, such as a path or an address, and open it in a task",
        ) from error
    return data


def size_class(n: int) -> int:
    """The smallest k with n <= 4**k: all that an event tells of a size of `n` bytes."""
    return ((max(n, 1) - 1).bit_length() + 1) // 2


def type_name(cls: type) -> str:
    """How a reader knows the type: with its module, unless it is a builtin."""
    module = cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"


def _told(error: BaseException) -> str:
    return f"{type_name(type(error))}: {error}"


def _advice(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install what provides {error.name!r} here, or read it where its flow's code is loaded"
    if isinstance(error, (ImportError, AttributeError)):
        return "its class was moved, renamed or changed since: read it with the code that wrote it"
    return "a class whose pickle does not read back needs __reduce__ or __getstate__, or return plain data"


def _culprit(value: object) -> tuple[str, object]:
    """The innermost part that cannot be pickled, and the way to it: `value['rows'][3].connection`."""
    path, part = "value", value
    tries = MAX_SEARCH
    for _ in range(MAX_DEPTH):
        for step, child in _parts(part):
            tries -= 1
            if tries < 0:
                return path, part
            if not _pickles(child):
                path, part = path + step, child
                break
        else:
            break
    return path, part


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        yield from ((f"[{key!r:.60}]", item) for key, item in items)
        yield from ((f".key({key!r:.60})", key) for key, _ in items)
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{index}]", item) for index, item in enumerate(cast("list[object]", value)))
    elif isinstance(value, (set, frozenset)):
        yield from (("{…}", item) for item in cast("set[object]", value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from ((f".{field.name}", getattr(value, field.name, None)) for field in dataclasses.fields(value))
    elif not isinstance(value, type):
        state = getattr(value, "__dict__", None)
        if isinstance(state, dict):
            yield from ((f".{name}", item) for name, item in cast("dict[str, object]", state).items())


def _pickles(value: object) -> bool:
    try:
        dump_by_value(value)
    except Exception:  # noqa: BLE001 — that it raises is the answer
        return False
    return True
