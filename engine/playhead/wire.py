"""How errors, recorded events and pages are written as JSON between server and client, and read back. Owns no transport.

An error crosses as its class, its code, its message and hint, and its public fields, and is raised on the other side as the
same class. A class that the reader does not know is a `ServerRefused` with the code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import msgspec
import orjson

from playhead import errors
from playhead.core.names import Epoch, Micros, Position, Seq, StreamName, Version
from playhead.errors import PlayheadError, ServerError, ServerRefused
from playhead.ports.server import EventPage
from playhead.ports.store import Recorded

HEARTBEAT_SECONDS: Final = 5.0  # between signs of life of an event stream: a proxy's idle limit is rarely below 30
# After which a client gives its stream up: two lost beats are not yet a cut
SILENCE_SECONDS: Final = 3 * HEARTBEAT_SECONDS
MAX_ERROR_FIELDS: Final = 16  # the tree's widest error has 4; bounds what a foreign server can put on one

EVENT_ERROR: Final = b"error"  # the name of the stream's message that carries an error, its last one


# --- errors -------------------------------------------------------------------------------------------------------------


def error_to_wire(error: PlayheadError) -> dict[str, Any]:
    """The JSON object that stands for the error."""
    public = {name: _plain(value) for name, value in vars(error).items() if name not in _NAMED and name[0] != "_"}
    return {
        "type": _known_class(type(error)).__name__,
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "fields": public,
    }


def error_from_wire(body: Mapping[str, Any], *, status: int) -> PlayheadError:
    """The error that the object stands for. `status` is HTTP's, for a `ServerRefused`."""
    message, code, hint = str(body.get("message", "")), str(body.get("code", "")), body.get("hint")
    hint = hint if isinstance(hint, str) else None
    cls = ERROR_TYPES.get(str(body.get("type")))
    if cls is None or cls is ServerRefused:
        return ServerRefused(message, code=code or "unknown", status=status, hint=hint)
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    vars(error).update(_fields(body.get("fields")), message=message, hint=hint)
    if code != cls.code:
        error.code = code
    return error


def _fields(received: object) -> dict[str, object]:
    if not isinstance(received, dict):
        return {}
    fields = list(cast("dict[str, object]", received).items())[:MAX_ERROR_FIELDS]
    return {name: _frozen(value) for name, value in fields if name.isidentifier() and name[0] != "_"}


def _frozen(value: object) -> object:
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def _plain(value: object) -> object:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in cast("tuple[object, ...]", value)]
    return str(value)


def _known_class(cls: type[PlayheadError]) -> type[PlayheadError]:
    """The class itself, or its nearest base that belongs to the tree, which every reader knows."""
    return next(base for base in cls.__mro__ if base.__name__ in ERROR_TYPES and base.__module__ == errors.__name__)


def _tree(root: type[PlayheadError]) -> Iterator[type[PlayheadError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _tree(child)


ERROR_TYPES: Final[Mapping[str, type[PlayheadError]]] = {cls.__name__: cls for cls in _tree(PlayheadError)}
_NAMED: Final = frozenset({"message", "hint", "code"})


# --- events -------------------------------------------------------------------------------------------------------------


def recorded_to_wire(event: Recorded) -> bytes:
    """One event as JSON, without a line break."""
    return msgspec.json.encode(event, enc_hook=dict)


def recorded_from_wire(line: bytes) -> Recorded:
    """The event of one line of a history. Raises ServerError."""
    return _recorded(_object(line))


def page_to_wire(page: EventPage) -> bytes:
    """A page as JSON, without a line break."""
    return msgspec.json.encode({"events": page.events, "cursor": page.cursor}, enc_hook=dict)


def page_from_wire(data: bytes) -> EventPage:
    """The page of one message of the event stream. Raises ServerError."""
    body = _object(data)
    try:
        events = tuple(_recorded(event) for event in body["events"])
        return EventPage.model_construct(events=events, cursor=str(body["cursor"]))
    except (KeyError, TypeError) as error:
        raise _not_ours() from error


def _recorded(fields: Mapping[str, Any]) -> Recorded:
    try:
        epoch, seq = fields.get("epoch"), fields.get("seq")
        return Recorded(
            position=Position(fields["position"]),
            stream=StreamName(fields["stream"]),
            version=Version(fields["version"]),
            recorded_at=Micros(fields["recorded_at"]),
            type=fields["type"],
            schema=fields["schema"],
            actor=fields["actor"],
            data=fields["data"],
            append_id=fields["append_id"],
            index=fields["index"],
            epoch=None if epoch is None else Epoch(epoch),
            seq=None if seq is None else Seq(seq),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _not_ours() from error


def _object(data: bytes) -> dict[str, Any]:
    try:
        body: object = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _not_ours() from error
    if not isinstance(body, dict):
        raise _not_ours()
    return cast("dict[str, Any]", body)


def _not_ours() -> ServerError:
    return ServerError(
        "the server sent something that is not an event of Playhead",
        hint="check that the address is that of a Playhead server, and its version with `playhead doctor`",
    )
