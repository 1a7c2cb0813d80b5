"""A backend over any application recorder of the `eventsourcing` library (9.5): its POPO, SQLite, PostgreSQL, and those of others.

One stored event for each of ours: originator = stream, topic = type, notification id = position, and what the library has no field
for is in its state. What it does not have at all is made here: idempotence by append id, and an outcome for each append.

`urls` opens what a URL names, `backend` is the port, `writer` commits, `memory` knows the streams, `reader` reads, `rows` is the
form of a stored event, `waking` follows the recorder's subscription, and `following` is the other way: our log for the library.
"""

from playhead_adapters.stores.eventsourcing.backend import EventSourcingBackend, open_recorder
from playhead_adapters.stores.eventsourcing.urls import open_url

__all__ = ["EventSourcingBackend", "open_recorder", "open_url"]
