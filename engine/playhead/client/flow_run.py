"""`FlowRun`: one run as its asker holds it. Waits by the log, and reads the outcome on the user's side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, assert_never, cast

import anyio.to_thread

from playhead.client.crashes import why_crashed
from playhead.client.journals import claims_of
from playhead.client.outcomes import failure_of, result_of
from playhead.core.names import RunId
from playhead.core.state import RunStatus
from playhead.core.views import RunView
from playhead.errors import FlowRunCancelled, FlowRunCrashed, FlowRunFailed, StorageError, TrustError
from playhead.ports.server import Accepted

if TYPE_CHECKING:
    from playhead.client.client import Client

R = TypeVar("R")


class FlowRun(Generic[R]):
    """Made by `flow.start(...)`, `client.start(...)` and `client.flow_run(id)`. R is what the flow returns."""

    def __init__(self, run: RunId, client: Client) -> None:
        self.id = run
        self._client = client

    async def wait(self) -> RunView:
        """The run once it has ended, however it ended."""
        return await self._client.wait(self.id)

    async def result(self) -> R:
        """What the flow returned, once the run has ended.

        FlowRunFailed, with the key of the task and the exception as it reads back from storage; FlowRunCancelled; FlowRunCrashed.
        For a run that succeeded also what `outcomes.result_of` raises, StorageLost and TrustError above all.
        """
        view = await self.wait()
        match view.state:
            case RunStatus.SUCCEEDED:
                claims = await claims_of(self._client.api, view)
                value: Any = await anyio.to_thread.run_sync(result_of, view, claims, self._client.home)
                return cast("R", value)
            case RunStatus.FAILED:
                raise await self._failure(view)
            case RunStatus.CANCELLED:
                raise FlowRunCancelled(self.id)
            case RunStatus.CRASHED:
                raise FlowRunCrashed(self.id, await why_crashed(self._client.api, view))
            case RunStatus.SCHEDULED | RunStatus.READY | RunStatus.CLAIMED | RunStatus.RUNNING | RunStatus.CANCELLING:
                raise AssertionError(f"run {self.id} is {view.state}, and its end was waited for")
            case _:
                assert_never(view.state)

    async def state(self) -> RunStatus:
        """What the run is now."""
        return (await self._client.run(self.id, tasks=False)).state

    async def cancel(self) -> Accepted:
        """Ask that the run end; its tasks may take a while to do so. A run that has ended stays as it is."""
        return await self._client.cancel(self.id)

    async def _failure(self, view: RunView) -> FlowRunFailed:
        """That the run failed is the log's word, and stays true where its reason cannot be read any more."""
        try:
            claims = await claims_of(self._client.api, view)
            failure = await anyio.to_thread.run_sync(failure_of, view, claims, self._client.home)
        except (StorageError, TrustError) as unreadable:
            failed = FlowRunFailed(self.id, view.failed_task, None)
            failed.add_note(f"why it failed cannot be read: {unreadable}")
            failed.__cause__ = unreadable
            return failed
        return FlowRunFailed(self.id, view.failed_task, failure.exception)

    def __repr__(self) -> str:
        return f"<FlowRun {self.id}>"
