"""Lean events: each event once more as a struct, for the way from the log into a fold. Owns no field: all are made from the models.

A lean event has its model's fields under the same names, and is made in an eighth of the time; a fold takes either. Its fields are
closed, and their types and ranges are checked. The patterns of its names are not: they were when the event came into the log, and to
look at the letters again takes longer than all the rest. What people and programs hold is the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import GenericAlias, UnionType
from typing import Annotated, Any, ClassVar, Union, cast, get_args, get_origin

import msgspec
from annotated_types import Ge, Le, MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from playhead.core import events as ev


class LeanEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Base of all lean events."""

    TYPE: ClassVar[str]


def lean_event(type_name: str, schema: int, data: Mapping[str, Any]) -> LeanEvent | ev.Event:
    """The event of that type: a lean one, or the model where its data must first be brought forward. Raises UnknownEvent."""
    cls = _made.get((type_name, schema)) or _lean_type(type_name, schema)
    if cls is not None:
        try:
            return msgspec.convert(data, cls)
        except msgspec.ValidationError:
            pass  # the model says what does not fit; or takes it, since it is less strict about what is a number
    return ev.decode(type_name, schema, data)


# Made when the first event of a type comes: most processes see few types, and to make them all takes 5 ms.
_made: dict[tuple[str, int], type[LeanEvent]] = {}


def _lean_type(type_name: str, schema: int) -> type[LeanEvent] | None:
    model = ev.EVENT_TYPES.get(type_name)
    if model is None or schema != model.SCHEMA:
        return None
    made = msgspec.defstruct(
        f"Lean{model.__name__}", _fields(model), bases=(LeanEvent,), namespace={"TYPE": model.TYPE}, kw_only=True
    )
    return _made.setdefault((type_name, schema), cast("type[LeanEvent]", made))


def _fields(model: type[BaseModel]) -> list[Any]:
    return [_field(name, field) for name, field in model.model_fields.items()]


def _field(name: str, field: FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
    kind = _kind(field.annotation, tuple(field.metadata))
    return (name, kind) if field.is_required() else (name, kind, field.default)


def _kind(annotation: Any, metadata: tuple[Any, ...] = ()) -> Any:
    """The annotation of a model's field in the words of msgspec."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(inner[0], inner[1:])
    if origin in (Union, UnionType):
        union: Any = _kind(inner[0])
        for one in inner[1:]:
            union |= _kind(one)
        return union
    kind: Any = annotation
    if origin is tuple:
        kind = GenericAlias(tuple, (_kind(inner[0]), ...))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        kind = _part(annotation)
    limits = _limits(metadata)
    return Annotated[kind, msgspec.Meta(**limits)] if limits else kind


@cache
def _part(model: type[BaseModel]) -> type[msgspec.Struct]:
    """A model inside an event."""
    return msgspec.defstruct(
        f"Lean{model.__name__}", _fields(model), frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False
    )


def _limits(metadata: tuple[Any, ...]) -> dict[str, Any]:
    """The ranges and lengths among what pydantic keeps beside a type."""
    limits: dict[str, Any] = {}
    for limit in metadata:
        if isinstance(limit, FieldInfo):
            limits |= _limits(tuple(limit.metadata))
        elif isinstance(limit, Ge):
            limits["ge"] = limit.ge
        elif isinstance(limit, Le):
            limits["le"] = limit.le
        elif isinstance(limit, MaxLen):
            limits["max_length"] = limit.max_length
    return limits
