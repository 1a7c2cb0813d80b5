"""What a client says beside what it asks, and what it believes of a server's answers."""

from __future__ import annotations

from typing import Any

import pytest

from playhead.client.http import HttpServer
from playhead.core.kinds import FailureCategory
from playhead.core.state import TaskStatus
from playhead.core.views import ErrorView, RunView, TaskView
from playhead.errors import ServerError
from tests.canary.recorder import recorded
from tests.canary.words import MARK
from tests.canary.world import headers_of
from tests.server.scripted import RUN, ScriptedApi, view
from tests.server.serving import QUICK, serving


class _Lying(ScriptedApi):
    """A server that tells texts of failures."""

    def __init__(self, lie: RunView) -> None:
        super().__init__()
        self._lie = lie

    async def run(self, run: str, *, at: int | None = None, tasks: bool = True, after: int = 0) -> RunView:
        return self._lie


def _failed(**texts: Any) -> ErrorView:
    return ErrorView(category=FailureCategory.RAISED, **texts)


def _task(error: ErrorView) -> TaskView:
    return TaskView(
        key="fetch",
        name="fetch",
        state=TaskStatus.FAILED,
        attempt=1,
        upstream=(),
        started_at=None,
        ended_at=None,
        error=error,
    )


@pytest.mark.parametrize("field", ["type", "message", "traceback"])
async def test_a_servers_own_texts_of_failures_are_refused(field: str) -> None:
    """They would be shown as the flow's: only storage, which is signed, says what a flow said."""
    lie = _failed(**{field: MARK})
    for told in ({"error": lie}, {"tasks": (_task(_failed()), _task(lie))}):
        async with serving(_Lying(view().model_copy(update=told))) as url, HttpServer(url, patience=QUICK) as server:
            with pytest.raises(ServerError) as refused:
                await server.run(RUN)
            assert MARK not in str(refused.value)


async def test_the_facts_of_a_failure_are_believed() -> None:
    told = view().model_copy(update={"error": _failed(), "tasks": (_task(_failed()),)})
    async with serving(_Lying(told)) as url, HttpServer(url, patience=QUICK) as server:
        assert await server.run(RUN) == told


async def test_a_client_names_neither_itself_nor_its_host() -> None:
    async with serving(ScriptedApi()) as url:
        with recorded(url) as (recorded_url, recording):
            async with HttpServer(recorded_url, patience=QUICK) as server:
                await server.info()
                await server.cancel(RUN)
        asked = b"".join(recording.bytes_of("asked"))
    headers = headers_of(asked)
    assert headers.pop("user-agent") == {"playhead"}
    assert set(headers) == {"host", "accept", "accept-encoding", "content-type", "content-length"} & set(headers)
    assert headers["host"] == {recorded_url.removeprefix("http://")}
