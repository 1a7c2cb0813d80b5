"""What a route answers: models and errors as JSON. Owns the table from errors to HTTP statuses; knows no route.

Validation errors say where and what kind, and echo nothing of the input, field names that we did not declare included: the
server must not learn data by mistake, nor hand it to a log.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Match, Route

from playhead import errors as e
from playhead.server.access import CHALLENGE
from playhead.wire import error_to_wire

ModelT = TypeVar("ModelT", bound=BaseModel)

# Of one request's validation: more help nobody, and a hostile body could have millions
MAX_REPORTED_PROBLEMS: Final = 20

WRITTEN_AT_ONCE: Final = 2**18  # bytes: no more than a connection takes without a wait

# The nearest class on an error's way up the tree decides.
STATUS: Final[dict[type[e.PlayheadError], int]] = {
    e.NotFound: 404,
    e.UsageError: 422,
    e.Refused: 409,
    e.Unauthenticated: 401,
    e.AccessDenied: 403,
    e.RunnerEnded: 410,
    e.WrongVersion: 409,
    e.AppendMismatch: 409,
    e.IllegalEvent: 409,
    e.CursorRefused: 409,
    e.UnknownEvent: 422,
    e.LogError: 503,
    e.StorageError: 503,
    e.TrustError: 403,
    e.ServerUnreachable: 502,
    e.ServerError: 503,
    e.PlayheadError: 500,
}


def answer(model: BaseModel) -> Response:
    """The model as JSON, written by pydantic's core."""
    return Response(to_json(model), media_type="application/json")


def answer_all(models: Iterable[BaseModel]) -> Response:
    return Response(b"[" + b",".join(to_json(model) for model in models) + b"]", media_type="application/json")


def answer_parts(parts: Sequence[bytes]) -> Response:
    """The JSON text in these parts. A long one is written part by part, and waits for its reader in between."""
    size = sum(map(len, parts))
    if size <= WRITTEN_AT_ONCE:
        return Response(b"".join(parts), media_type="application/json")
    return StreamingResponse(_one_by_one(parts), headers={"content-length": str(size)}, media_type="application/json")


async def _one_by_one(parts: Sequence[bytes]) -> AsyncGenerator[bytes]:
    for part in parts:
        yield part


def parsed(body: bytes, model: type[ModelT]) -> ModelT:
    """A request's body, read once and strictly: `true` and `"1"` are no numbers. Its depth is bounded by the parser (about 200
    levels). Raises BadRequest.
    """
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        if all(map(_is_whole, error.errors(include_url=False))):
            return model.model_validate_json(body)
        raise BadRequest("body", error) from None


def _is_whole(detail: ErrorDetails) -> bool:
    """Whether the problem is only a whole number with a fraction of zero: to JSON, 1.0 is an integer."""
    given: object = detail["input"]
    return detail["type"] == "int_type" and isinstance(given, float) and given.is_integer()


def parsed_query(given: Mapping[str, object], model: type[ModelT]) -> ModelT:
    """The parameters of a request's query."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise BadRequest("query", error) from None


class BadRequest(e.UsageError):
    """A request that does not have the declared shape. `problems` are places and kinds, never values."""

    code = "bad_request"

    def __init__(self, part: str, error: ValidationError) -> None:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        problems = tuple(_problem(detail, part) for detail in details[:MAX_REPORTED_PROBLEMS])
        super().__init__(
            f"the request does not have the right shape: {'; '.join(problems)}",
            hint="/openapi.json describes what this server takes",
        )
        self.problems = problems


def _problem(detail: ErrorDetails, part: str) -> str:
    place = [part, *(str(step) for step in detail["loc"])]
    kind = detail["type"]
    if kind == "extra_forbidden":  # its place ends with a name that the sender made up
        place[-1] = "(a field that is not declared)"
    return f"{'.'.join(place)}: {kind}"


class ComeBack(e.ServerRefused):
    """Not now: a limit is reached. `seconds` from now the same request may be answered; the answer's `Retry-After` says so, too."""

    def __init__(self, message: str, *, code: str, status: int, seconds: int, hint: str | None = None) -> None:
        super().__init__(message, code=code, status=status, hint=hint)
        self.seconds = seconds


class ErrorBody(BaseModel):
    """What an error is on the wire. `type` is its class, `code` a stable word, `fields` its public fields."""

    type: str
    code: str
    message: str
    hint: str | None
    fields: dict[str, Any]


class ErrorAnswer(BaseModel):
    """Every answer that is not a success."""

    error: ErrorBody


# --- errors -------------------------------------------------------------------------------------------------------------


def refusal(error: e.PlayheadError) -> Response:
    """The error as JSON, under its status."""
    headers = {"retry-after": str(error.seconds)} if isinstance(error, ComeBack) else {}
    if (challenge := _challenge(error)) is not None:
        headers["www-authenticate"] = challenge
    return Response(to_json({"error": _unechoed(error)}), status_of(error), headers, "application/json")


def _unechoed(error: e.PlayheadError) -> dict[str, Any]:
    """The error on the wire, without what was asked for: whoever asked knows it, and puts it in again (`client.http`)."""
    body = error_to_wire(error)
    if isinstance(error, e.NotFound):
        body |= {"message": f"no such {error.kind}", "fields": {"kind": error.kind}}
    return body


def status_of(error: e.PlayheadError) -> int:
    """HTTP's status for the error: its own, or that of its nearest class in the table; 507 where a disk is full."""
    if isinstance(error, e.ServerRefused):
        return error.status
    if isinstance(error, e.LogUnusable) and _is_full(error):
        return 507
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def _challenge(error: e.PlayheadError) -> str | None:
    """What HTTP clients are told of tokens: RFC 6750, section 3."""
    match error:
        case e.Unauthenticated(code="token_required"):
            return CHALLENGE
        case e.Unauthenticated():
            return f'{CHALLENGE}, error="invalid_token"'
        case e.Forbidden(scopes=scopes):
            return f'{CHALLENGE}, error="insufficient_scope", scope="{" ".join(scopes)}"'
        case _:
            return None


def _is_full(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if getattr(cause, "sqlite_errorname", None) == "SQLITE_FULL":
            return True
        cause = cause.__cause__
    return False


async def on_playhead_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, e.PlayheadError)
    return refusal(error)


async def on_http_error(request: Request, error: Exception) -> Response:
    """An unknown path or method. Starlette's detail is a fixed phrase."""
    assert isinstance(error, HTTPException)
    codes = {404: "no_such_route", 405: "no_such_method"}
    known = e.ServerRefused(
        str(error.detail),
        code=codes.get(error.status_code, "http"),
        status=error.status_code,
        hint="/openapi.json lists what this server answers",
    )
    response = refusal(known)
    response.headers.update(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["allow"] = ", ".join(sorted(_methods_at(request)))  # Starlette's names the first route's only
    return response


def _methods_at(request: Request) -> set[str]:
    """What can be done with the path that was asked for."""
    app: Starlette = request.app
    routes = [route for route in app.routes if isinstance(route, Route)]
    here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    exactly = [route for route in here if not route.param_convertors]  # `embedded` is the name of no run
    return {method for route in exactly or here for method in route.methods or ()}
