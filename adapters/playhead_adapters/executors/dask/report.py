"""Dask's performance report: what a scheduler saw from one moment to the next. Owns asking for it; keeps nothing.

Dask's own `performance_report` writes a file where the client is, and sends its caller's source code along. Here the page goes into
the run's storage, and no code to the scheduler.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import Any, Final, Self

from playhead.errors import InfrastructureLost, UsageError

NO_CODE: Final = ""  # where Dask shows the code that called it


class Watch:
    """Since it began; of all that is on the scheduler, others' tasks too."""

    def __init__(self, client: Any, samples: int, since: float) -> None:
        self._client = client
        self._samples = samples
        self._since = since

    @classmethod
    async def begin(cls, client: Any) -> Self:
        """UsageError: the scheduler could not draw a report."""
        samples: int | None = await client.run_on_scheduler(_samples)
        if samples is None:
            raise UsageError(
                "the Dask scheduler cannot make a performance report: it has no bokeh",
                hint="pip install bokeh where the scheduler runs, or do without performance_report=True",
            )
        since = time.time()
        await client.get_task_stream(start=0, stop=0)  # from now on the scheduler takes note of its tasks
        return cls(client, samples, since)

    async def page(self) -> str:
        """InfrastructureLost: the scheduler does not make one."""
        try:
            page: str = await self._client.scheduler.performance_report(
                start=self._since, last_count=self._samples, code=NO_CODE, mode="inline"
            )
        except Exception as error:  # whatever Dask or bokeh raises there, or the line in between
            raise InfrastructureLost(f"the Dask scheduler made no performance report: {error!r}") from error
        return page


def _samples(dask_scheduler: Any) -> int | None:
    """On the scheduler: how often it has looked at itself so far. None: it cannot draw."""
    return None if find_spec("bokeh") is None else int(dask_scheduler.monitor.count)
