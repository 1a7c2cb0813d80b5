"""Places in the flow: what was asked for there is recorded, or, where it was recorded before, must be the same.

Owns the comparison on a resume, and the private notes of a call's inputs that it needs. DURABILITY.md section 4.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, Final

from playhead.core import events as ev
from playhead.core.names import TaskKey
from playhead.errors import Diverged
from playhead.journal.format import Record
from playhead.journal.writer import JournalWriter
from playhead.runner.mapping import Arguments
from playhead.runner.recall import Recall, note_of
from playhead.trust.fingerprint import describe, fingerprint

FINGERPRINT_BYTES: Final = 8  # kept for each call: enough to notice a change, and small in a map of 100,000
DESCRIBED_ELEMENTS: Final = 1_000  # maps up to this width also keep what their inputs looked like


class Places:
    """Of one run: what earlier epochs recorded, and the journal that takes what is asked for anew."""

    def __init__(self, recall: Recall, journal: JournalWriter) -> None:
        self._recall = recall
        self._journal = journal

    def ask(self, key: TaskKey, event: ev.TaskSubmitted | ev.TaskMapped, inputs: Sequence[Arguments]) -> None:
        """Write that this was asked for, or, where it was asked for before, see that it is the same. Raises Diverged."""
        note = _note(inputs)
        place = self._recall.places.get(key)
        if place is None or place.asked is None:
            self._journal.append(Record(event.TYPE, event.SCHEMA, ev.encode(event), note))
            return
        before, now = dict(place.asked.data), ev.encode(event)
        for fields in (before, now):
            fields.pop("at", None)
        if place.asked.type != event.TYPE or before != now:
            raise Diverged(
                f"task {key} was {_told(place.asked.type, before)}, now it is {_told(event.TYPE, now)}", task_key=key
            )
        _compare_notes(key, note_of(place.asked), note or {}, inputs)


def _note(inputs: Sequence[Arguments]) -> dict[str, Any] | None:
    """What is kept of the inputs, on the user's side: a digest of each that has a canonical form, and a look at it."""
    prints = [fingerprint([list(args), kwargs]) for args, kwargs in inputs]
    if not any(prints):
        return None
    short = b"".join((each or b"")[:FINGERPRINT_BYTES].ljust(FINGERPRINT_BYTES, b"\0") for each in prints)
    note: dict[str, Any] = {"f": b64encode(short).decode()}
    if len(inputs) <= DESCRIBED_ELEMENTS:
        note["d"] = [describe([*args, *kwargs.values()]) for args, kwargs in inputs]
    return note


def _compare_notes(key: TaskKey, before: Any, now: Any, inputs: Sequence[Arguments]) -> None:
    if not before or not now or before["f"] == now["f"]:
        return
    old, new = b64decode(before["f"]), b64decode(now["f"])
    for index in range(len(inputs)):
        at = slice(index * FINGERPRINT_BYTES, (index + 1) * FINGERPRINT_BYTES)
        known = any(old[at]) and any(new[at])
        if known and old[at] != new[at]:
            place = key if len(inputs) == 1 else TaskKey(f"{key}.{index}")
            was = before["d"][index] if "d" in before else "another input"
            is_now = now["d"][index] if "d" in now else "a new one"
            raise Diverged(f"{place} had input {was}, now {is_now}", task_key=place)


def _told(type_name: str, fields: dict[str, Any]) -> str:
    what = "a map of" if type_name == ev.TaskMapped.TYPE else "a call of"
    after = ", ".join([*fields.get("after", ()), *fields.get("each", ())]) or "nothing"
    width = f" x {fields.get('width', 0)}" if type_name == ev.TaskMapped.TYPE else ""
    return f"{what} {fields.get('name')}{width} after {after}"
