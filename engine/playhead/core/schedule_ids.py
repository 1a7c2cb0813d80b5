"""The ids of scheduled runs: computed alike by the server and by whoever verifies a run. Public facts only, no key.

A run that a schedule asked for has one id for each due time, so that firing twice asks for the same run twice.
"""

from __future__ import annotations

import hashlib

from playhead.core.names import RunId


def scheduled_run_id(flow: str, schedule_id: str, due_micros: int) -> RunId:
    """The id of the run of `flow` that `schedule_id` wants at `due_micros` (microseconds since 1970-01-01 UTC)."""
    parts = (b"playhead scheduled run", flow.encode(), schedule_id.encode(), b"%d" % due_micros)
    text = b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return RunId(hashlib.sha256(text).hexdigest()[:32])
