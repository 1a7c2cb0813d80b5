"""What the routes take and answer, for programs and people: OpenAPI 3.1, made from the types of the routes. Owns that form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from playhead import __version__
from playhead.server.access import MAY, OPEN, Route
from playhead.server.answers import ErrorAnswer
from playhead.server.routes.lean import JSON, LeanRoute

Json = dict[str, Any]
Mode = Literal["validation", "serialization"]
Key = tuple[str, str]  # a route's name, and which of its parts
Schemas = dict[tuple[Key, Mode], Json]

_REFERENCE: Final = "#/components/schemas/{model}"
_ERROR: Final[Key] = ("", "error")
_BEARER: Final = "bearer"
_SCHEME: Final[Json] = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token of a scope that the operation names. A server that listens on its own machine only may ask for none.",
}


def described(routes: Sequence[LeanRoute], *, root: str = "", tokens_required: bool = True) -> Json:
    """The whole document. `root`: the path under which the app is mounted in another, if it is."""
    schemas, components = _schemas(routes)
    paths: dict[str, Json] = {}
    for route in routes:
        operation = _operation(route, schemas, components)
        operation["security"] = _security((route.method, route.pattern), tokens_required)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    for route in routes:
        components.pop(_query_name(route, schemas), None)  # told parameter by parameter
    return {
        "openapi": "3.1.0",
        "info": {"title": "Playhead", "version": __version__},
        **({"servers": [{"url": root}]} if root else {}),
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {_BEARER: _SCHEME}},
    }


def _schemas(routes: Sequence[LeanRoute]) -> tuple[Schemas, dict[str, Json]]:
    """The schema of each type that the routes name, and the definitions to which these refer. Made in one go: names are unique."""
    named: list[tuple[Key, Mode, TypeAdapter[Any]]] = [
        (key, mode, TypeAdapter(kind)) for route in routes for key, mode, kind in _types(route)
    ]
    named.append((_ERROR, "serialization", TypeAdapter(ErrorAnswer)))
    schemas, rest = TypeAdapter.json_schemas(named, ref_template=_REFERENCE)
    return dict(schemas), rest.get("$defs", {})


def _types(route: LeanRoute) -> Iterator[tuple[Key, Mode, Any]]:
    if route.query is not None:
        yield (route.name, "query"), "validation", route.query
    if route.body is not None:
        yield (route.name, "body"), "validation", route.body
    if route.answers is not None:
        yield (route.name, "answer"), "serialization", route.answers


def _operation(route: LeanRoute, schemas: Schemas, components: dict[str, Json]) -> Json:
    operation: Json = {
        "tags": [route.tag],
        "summary": route.name.replace("_", " ").capitalize(),
        "description": route.about,
        "operationId": route.name,
        "parameters": [*_path_parameters(route), *_query_parameters(route, schemas, components)],
        "responses": {
            str(route.status.value): _good(route, schemas),
            "default": {
                "description": "an error",
                "content": {JSON: {"schema": schemas[_ERROR, "serialization"]}},
            },
        },
    }
    if route.body is not None:
        schema = schemas[(route.name, "body"), "validation"]
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return operation


def _security(place: Route, tokens_required: bool) -> list[Json]:
    """Any one of these does. OpenAPI 3.1 lets the scopes stand beside a scheme that has none of its own."""
    if place in OPEN:
        return [{}]
    scopes: Json = {_BEARER: sorted(scope.value for scope in MAY.get(place, ()))}
    return [scopes] if tokens_required else [{}, scopes]


def _good(route: LeanRoute, schemas: Schemas) -> Json:
    if route.media_type is None:
        return {"description": "done"}
    schema = schemas.get(((route.name, "answer"), "serialization"))
    return {
        "description": HTTPStatus.OK.phrase,
        "content": {route.media_type: {} if schema is None else {"schema": schema}},
    }


def _path_parameters(route: LeanRoute) -> Iterator[Json]:
    for name in route.param_convertors:
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameters(route: LeanRoute, schemas: Schemas, components: dict[str, Json]) -> Iterator[Json]:
    if route.query is None:
        return
    whole = components[_query_name(route, schemas)]
    fields: Json = whole["properties"]
    for name, schema in fields.items():
        yield {"name": name, "in": "query", "required": name in whole.get("required", ()), "schema": schema}
    for header, name in route.query.HEADERS.items():
        yield {"name": header, "in": "header", "required": False, "schema": fields[name]}


def _query_name(route: LeanRoute, schemas: Schemas) -> str:
    """Under which the components hold what the route's query is made of; empty without one."""
    schema = schemas.get(((route.name, "query"), "validation"), {})
    return str(schema.get("$ref", "")).rpartition("/")[2]
