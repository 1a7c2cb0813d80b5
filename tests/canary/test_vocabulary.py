"""The closed vocabulary: no field that crosses to a server could hold a sentence, a value, or a size."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, Final, get_type_hints

import pytest
from pydantic import BaseModel, TypeAdapter

from playhead.core.events import EVENT_TYPES, Schedule
from playhead.core.schedules import check_schedule
from playhead.core.waiting import RunWaiting
from playhead.errors import BadSchedule, PlayheadError
from playhead.ports.server import ReportRequest, ServerApi
from playhead.server.app import create_app
from playhead.server.routes.lean import LeanRoute
from playhead.service.commands import runner_events
from tests.canary.words import MARK
from tests.server.scripted import ScriptedApi

SENTENCES: Final = (
    "the value was 7", f"{MARK}: {MARK}", "KeyError('name')", "/srv/data/x.csv?a=b", "name@example.com", "ä", "a" * 600,
)  # fmt: skip
ROUTES: Final = [route for route in create_app(ScriptedApi()).routes if isinstance(route, LeanRoute)]
REQUESTS: Final = {route.body.__name__: route.body for route in ROUTES if route.body is not None}
QUERIES: Final = {route.query.__name__: route.query for route in ROUTES if route.query is not None}
MODELS: Final = {**EVENT_TYPES, **REQUESTS, **QUERIES}

# Text that no pattern bounds, and what does.
OTHERWISE: Final = {
    "Schedule.cron": "spaces belong to it; a server takes only what it can follow",
    "ReportRequest.events": "each becomes an event of the vocabulary before anything is done with it",
    "Following.cursor": "is read and never kept; refused unless this server made it",
    "Following.stream": "compared with the streams that there are, and never kept",
    "Following.type": "as `stream`",
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_no_field_could_hold_a_sentence(model: type[BaseModel]) -> None:
    assert set(open_texts(model)) - set(OTHERWISE) == set()


def test_every_exception_is_one() -> None:
    assert {place for model in MODELS.values() for place in open_texts(model)} == set(OTHERWISE)


def test_every_request_of_the_port_is_among_them() -> None:
    """What agents and runners send is what the routes take."""
    asked = {
        kind
        for _, method in inspect.getmembers(ServerApi, inspect.isfunction)
        for name, kind in get_type_hints(method, localns={"RunWaiting": RunWaiting}).items()
        if name != "return" and inspect.isclass(kind) and issubclass(kind, BaseModel)
    }
    assert {kind.__name__ for kind in asked} - set(REQUESTS) <= {"RunFilter", "EventFilter"}, "those are queries"


def test_models_take_no_other_fields() -> None:
    models = [*EVENT_TYPES.values(), *REQUESTS.values()]
    assert [model.__name__ for model in models if model.model_config.get("extra") != "forbid"] == []


def test_a_pattern_that_lets_a_sentence_through_would_be_found() -> None:
    class Open(BaseModel):
        named: str
        listed: tuple[str, ...]
        by: dict[str, int]
        anything: Any

    assert set(open_texts(Open)) == {"Open.named", "Open.listed", "Open.by", "Open.anything"}


@pytest.mark.parametrize("cron", ["the value was 7", "zqxkanarie", "0 0 * * zqxkanarie", "a b c d e", "0 6 * * *,#"])
def test_a_schedule_that_is_none_is_refused(cron: str) -> None:
    with pytest.raises(BadSchedule):
        check_schedule(Schedule(id="0" * 32, cron=cron))


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_no_event_of_a_report_has_a_field_of_its_own(name: str) -> None:
    """A report's data is no open field: it must be an event of the vocabulary."""
    request = ReportRequest(
        epoch=1, grant="0" * 32, origin=1, first_seq=0, events=((name, 1, {"at": 1, "key": "a", "text": MARK}),)
    )
    with pytest.raises(PlayheadError) as refused:
        runner_events(request.events)
    assert MARK not in str(refused.value)


def open_texts(model: type[BaseModel]) -> Iterator[str]:
    """Each place of the model that takes text which no enum and no pattern bounds, or that takes anything."""
    schema = TypeAdapter(model).json_schema(mode="validation")
    definitions: dict[str, Any] = schema.get("$defs", {})
    for field, part in schema.get("properties", {}).items():
        if not _is_closed(part, definitions):
            yield f"{model.__name__}.{field}"
    for name, definition in definitions.items():
        if "properties" not in definition and not _is_closed(definition, definitions):
            yield name
        for field, part in definition.get("properties", {}).items():
            if not _is_closed(part, definitions):
                yield f"{name}.{field}"


def _is_closed(part: dict[str, Any], definitions: dict[str, Any]) -> bool:
    if "$ref" in part:
        return True  # looked at by itself
    if "enum" in part or "const" in part:
        return True
    if "anyOf" in part:
        return all(_is_closed(each, definitions) for each in part["anyOf"])
    match part.get("type"):
        case "string":
            pattern = part.get("pattern")
            return pattern is not None and not any(re.fullmatch(pattern, sentence) for sentence in SENTENCES)
        case "array":
            inner = [*part.get("prefixItems", []), *([part["items"]] if isinstance(part.get("items"), dict) else [])]
            return bool(inner) and all(_is_closed(each, definitions) for each in inner)
        case "integer" | "boolean" | "null":
            return True
        case "number":
            return False  # a fraction can hold what no count can
        case _:
            return False
