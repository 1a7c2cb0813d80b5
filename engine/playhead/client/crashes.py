"""Why a run crashed, for whoever asked for it: from the facts of the log alone. The words are `core.troubles`'."""

from __future__ import annotations

from typing import Final

from playhead.core.events import RunLost, RunReleased, decode
from playhead.core.troubles import Trouble, crashed
from playhead.core.views import RunView
from playhead.ports.server import ServerApi

_TROUBLES: Final = (RunLost.TYPE, RunReleased.TYPE)


async def why_crashed(api: ServerApi, view: RunView) -> str:
    """What ended the run. Of runners that were lost it says how the last one was, which is what a person looks into."""
    last: Trouble | None = None
    async for recorded in api.history(view.run_id):
        if recorded.type in _TROUBLES:
            event = decode(recorded.type, recorded.schema, recorded.data)
            assert isinstance(event, RunLost | RunReleased), "that is what the types say"
            last = event
    return crashed(view.crash, view.losses, last)
