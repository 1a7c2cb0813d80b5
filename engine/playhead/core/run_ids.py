"""The ids of runs that a server names: computed alike by it and by whoever verifies a run. Public facts only, no key.

A run that a schedule asked for has one id for each due time, so that firing twice asks for the same run twice. One that was asked for
by a preset has one id for each nonce. None of these ids is that of a run that was asked for with the key, which is random.
"""

from __future__ import annotations

import hashlib

from playhead.core.names import RunId


def scheduled_run_id(flow: str, schedule_id: str, due_micros: int) -> RunId:
    """The id of the run of `flow` that `schedule_id` wants at `due_micros` (microseconds since 1970-01-01 UTC)."""
    return _id(b"playhead scheduled run", flow.encode(), schedule_id.encode(), b"%d" % due_micros)


def preset_run_id(flow: str, preset_id: str, nonce: str) -> RunId:
    """The id of the run of `flow` with that preset's parameters that was asked for under `nonce`."""
    return _id(b"playhead preset run", flow.encode(), preset_id.encode(), nonce.encode())


def _id(*parts: bytes) -> RunId:
    text = b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return RunId(hashlib.sha256(text).hexdigest()[:32])
