"""The route of a request: query, headers and body are parsed once, by pydantic's core, straight into the declared models.

An endpoint is `async def (request, [query], [body], **path)`, where `query` is a `Query` and `body` a model. The route keeps what
it takes and gives as types, from which `playhead.server.openapi` describes it. Why not by FastAPI:
docs/decisions/0079-a-server-starts-without-fastapi.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Final, TypeVar, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from playhead.ports.access import Guarded
from playhead.server.access import check_may
from playhead.server.answers import parsed, parsed_query

ApiSource = Callable[[], Guarded]
Endpoint = Callable[..., Awaitable[Response]]
EndpointT = TypeVar("EndpointT", bound=Endpoint)

PREFIX: Final = "/api"
JSON: Final = "application/json"


class Query(BaseModel):
    """What a request says beside its path and body. A parameter that is not declared is passed over.

    A field that is a tuple takes every value of its name, any other the last one. A header in `HEADERS` wins over the field that
    is named there.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    HEADERS: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def read(cls, request: Request) -> dict[str, object]:
        """The declared ones among the request's parameters, not yet parsed."""
        given = request.query_params
        found: dict[str, object] = {
            name: given.getlist(name) if get_origin(field.annotation) is tuple else given[name]
            for name, field in cls.model_fields.items()
            if name in given
        }
        return found | {name: request.headers[key] for key, name in cls.HEADERS.items() if key in request.headers}


class LeanRoute(Route):
    """`answers` is the type of a good answer, in the form `media_type`; None: not described, or nothing where that is None, too."""

    def __init__(
        self, method: str, path: str, endpoint: Endpoint, *, tag: str, answers: Any, media_type: str | None
    ) -> None:
        hints = get_type_hints(endpoint)
        self.query: type[Query] | None = hints.get("query")
        self.body: type[BaseModel] | None = hints.get("body")
        self.method = method
        self.pattern = PREFIX + path  # with names of parameters, as it was declared
        self.tag = tag
        self.answers = answers
        self.media_type = media_type
        self.about = inspect.getdoc(endpoint) or ""
        self._handle = self._handler(endpoint)
        super().__init__(self.pattern, self._handle, methods=[method], name=endpoint.__name__)
        self.methods = {method}  # Starlette would add HEAD, which is of no use for what a program asks
        assert set(inspect.signature(endpoint).parameters) <= {"request", "query", "body", *self.param_convertors}

    @property
    def status(self) -> HTTPStatus:
        """That of a good answer."""
        return HTTPStatus.NO_CONTENT if self.media_type is None else HTTPStatus.OK

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is this route's, its parameters in the scope. Raises what the endpoint raises."""
        response = await self._handle(Request(scope, receive, send))
        await response(scope, receive, send)

    def _handler(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        query, body, place = self.query, self.body, (self.method, self.pattern)

        async def handle(request: Request) -> Response:
            check_may(request.scope, place)
            taken: dict[str, Any] = dict(request.path_params)
            if query is not None:
                taken["query"] = parsed_query(query.read(request), query)
            if body is not None:
                # The boundary hands a body over in one message.
                taken["body"] = parsed((await request.receive()).get("body", b""), body)
            return await endpoint(request=request, **taken)

        return handle


class Routes:
    """The routes of one kind of thing, in the order in which they were declared."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._routes: list[LeanRoute] = []

    def __iter__(self) -> Iterator[LeanRoute]:
        return iter(self._routes)

    def post(self, path: str, answers: Any = None) -> Callable[[EndpointT], EndpointT]:
        """Declare a command. `answers` None: its answer says nothing."""
        return self._declare("POST", path, answers, JSON if answers is not None else None)

    def get(self, path: str, answers: Any = None, *, media_type: str = JSON) -> Callable[[EndpointT], EndpointT]:
        """Declare a question."""
        return self._declare("GET", path, answers, media_type)

    def _declare(
        self, method: str, path: str, answers: Any, media_type: str | None
    ) -> Callable[[EndpointT], EndpointT]:
        def declared(endpoint: EndpointT) -> EndpointT:
            self._routes.append(
                LeanRoute(method, path, endpoint, tag=self._tag, answers=answers, media_type=media_type)
            )
            return endpoint

        return declared


def nothing() -> Response:
    """The answer of a command that was carried out, and has nothing to say."""
    return Response(status_code=HTTPStatus.NO_CONTENT)


def api_of(request: Request) -> Guarded:
    """The server that this app speaks for."""
    source: ApiSource = request.app.state.api
    return source()
