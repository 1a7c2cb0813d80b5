"""A run's parameters, checked against the flow's signature before anything is asked of a server. Owns what a value may be.

This is the user's side: messages show values. Conversions are pydantic's: "5" is an int where an int is expected, and never is
5.5. Annotations that cannot be resolved or checked let everything pass.
"""

from __future__ import annotations

import inspect
import reprlib
import typing
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from types import SimpleNamespace
from typing import Any, Final, NoReturn

from pydantic import (
    ConfigDict,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import from_json

from playhead.errors import BadParameter
from playhead.flows.flow import Flow
from playhead.trust.payload import check_serialisable

MAX_SHOWN: Final = 60  # characters of a value in a message

_UNCHECKABLE = (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError)


def check_parameters(flow: Flow[..., Any], given: Mapping[str, object], *, from_text: bool = False) -> dict[str, Any]:
    """The values of all of the flow's parameters, converted to their annotations, defaults filled in.

    `from_text`: each value given is a str, read as JSON where it fits so, else taken as it is. BadParameter: an unknown or
    missing parameter, a value of the wrong type, or one that cannot be pickled; the first that is found is named.
    """
    parameters = flow.signature.parameters
    for name in given:
        if name not in parameters:
            refuse_unknown(flow.name, name, list(parameters), hint=f"its parameters: {_listed(flow)}")
    annotations = _annotations(flow.fn)
    values: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name in given:
            where = f"parameter {name!r} of flow {flow.name}"
            values[name] = _checked(where, parameter, annotations.get(name), given[name], from_text=from_text)
            check_serialisable(name, values[name])
        elif parameter.default is not parameter.empty:
            values[name] = parameter.default
        else:
            refuse_missing(flow.name, name, hint=f"its parameters: {_listed(flow)}")
    return values


def refuse_unknown(flow: str, name: str, known: list[str], *, hint: str | None = None) -> NoReturn:
    """Raise BadParameter for a name that is no parameter of the flow."""
    near = get_close_matches(name, known, n=1)
    listed = hint or f"its parameters: {', '.join(known) or 'none'}"
    raise BadParameter(
        f"flow {flow} has no parameter {name!r}", hint=f"did you mean {near[0]!r}? {listed}" if near else listed
    )


def refuse_missing(flow: str, name: str, *, hint: str) -> NoReturn:
    """Raise BadParameter for a parameter that has no default and was not given."""
    raise BadParameter(f"flow {flow} needs the parameter {name!r}, which was not given", hint=hint)


def text_or_json(text: str) -> Any:
    """What the text says as JSON; the text itself where it is none."""
    try:
        return from_json(text)
    except ValueError:
        return text


def shown(value: object) -> str:
    """The value and its type, short enough for a message."""
    return f"{_REPR.repr(value)} ({type(value).__name__})"


def _checked(where: str, parameter: inspect.Parameter, annotation: Any, value: object, *, from_text: bool) -> Any:
    adapter = _adapter(annotation) if annotation is not None else None
    try:
        if from_text:
            return _read(adapter, parameter, str(value))
        return _converted(adapter, parameter, value)
    except ValidationError as error:
        _refuse_value(where, parameter, value, error)
    except Exception as error:  # an annotation may carry validators of the user's, which may raise anything
        raise BadParameter(
            f"{where}: checking {shown(value)} raised {type(error).__name__}: {error}",
            hint="the annotation's own validator raises this: give another value, or mend the validator",
        ) from error


def _read(adapter: TypeAdapter[Any] | None, parameter: inspect.Parameter, text: str) -> Any:
    """The text as JSON if that fits, else as it is: `5` is a number for an int, and a text for a str."""
    parsed = text_or_json(text)
    try:
        return _converted(adapter, parameter, parsed)
    except ValidationError as as_json:
        try:
            return _converted(adapter, parameter, text)
        except ValidationError:
            raise as_json from None


def _converted(adapter: TypeAdapter[Any] | None, parameter: inspect.Parameter, value: Any) -> Any:
    if adapter is None or value is parameter.default:  # what the author took for good is: `limit: int = None`
        return value
    converted: Any = adapter.validate_python(value)
    # For `Iterable[int]` pydantic makes an iterator that checks as it goes; that could not be sent.
    return list(converted) if _is_iterator(converted) and not _is_iterator(value) else converted


def _is_iterator(value: object) -> bool:
    return isinstance(value, Iterator)


def _refuse_value(where: str, parameter: inspect.Parameter, value: object, error: ValidationError) -> NoReturn:
    first, *others = error.errors(include_url=False, include_context=False)
    place = "".join(f"[{part!r}]" for part in first["loc"])
    inside = f", which at {place} is {shown(first['input'])}" if place else ""
    more = f" (and {len(others)} more)" if others else ""
    raise BadParameter(
        f"{where}: expected {_told(parameter.annotation)}, got {shown(value)}{inside}", hint=f"{first['msg']}{more}"
    ) from None


def _adapter(annotation: Any) -> TypeAdapter[Any] | None:
    """What checks values of that annotation; classes that pydantic does not know by isinstance. None: nothing can."""
    try:
        return TypeAdapter(annotation)
    except _UNCHECKABLE:
        pass
    try:
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except _UNCHECKABLE:
        return None


def _annotations(fn: Callable[..., Any]) -> dict[str, Any]:
    """The function's annotations, each by itself: one that names what is not there at run time leaves the others alone."""
    found: dict[str, Any] = {}
    names: dict[str, Any] = getattr(fn, "__globals__", {})
    for name, annotation in inspect.get_annotations(fn).items():
        try:
            alone = SimpleNamespace(__annotations__={name: annotation})
            found[name] = typing.get_type_hints(alone, globalns=names, include_extras=True)[name]
        except Exception:  # noqa: BLE001, S112 — evaluating an annotation may raise anything; then it is not checked
            continue
    return found


def _listed(flow: Flow[..., Any]) -> str:
    return ", ".join(_signature_of(each) for each in flow.signature.parameters.values()) or "none"


def _signature_of(parameter: inspect.Parameter) -> str:
    kind = "" if parameter.annotation is parameter.empty else f": {_told(parameter.annotation)}"
    return f"{parameter.name}{kind}" + (
        "" if parameter.default is parameter.empty else f" = {_REPR.repr(parameter.default)}"
    )


def _told(annotation: Any) -> str:
    """The annotation as its author wrote it, without what `Annotated` adds."""
    if isinstance(annotation, str):
        return annotation
    if typing.get_origin(annotation) is typing.Annotated:
        return _told(typing.get_args(annotation)[0])
    return inspect.formatannotation(annotation)


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = MAX_SHOWN
