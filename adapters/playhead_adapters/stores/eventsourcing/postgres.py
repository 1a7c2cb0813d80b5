"""What the library's PostgreSQL module needs to never wait without end. Owns how its connections are made; knows no events.

The library sends an insert by psycopg's pipeline, whose `sync()` waits for the server's answer alone. If the insert did not fit into
the socket's buffer, the rest of it is still here then: client and server wait for each other, with the table locked, and everybody else
waits for the lock. Our connections go on sending while they wait, give up a server that is silent, and never wait long for a lock.
"""

from __future__ import annotations

import time
from typing import Any, Final

from eventsourcing.postgres import PostgresDatastore
from psycopg import Connection, OperationalError
from psycopg.abc import RV, PQGen
from psycopg.waiting import Ready, Wait

# For a lock on the table, which an insert holds for far less; the library then tries again, ten times in all
LOCK_SECONDS: Final = 10
POOL_POLL_SECONDS: Final = 0.005
SILENT_SECONDS: Final = 30.0  # that a server neither takes nor gives a byte; longer than it may wait for a lock


class AttendedConnection(Connection[Any]):
    """Sends what libpq still holds, whatever it waits for, and waits for no lock and no answer without end."""

    @classmethod
    def connect(cls, conninfo: str = "", **settings: Any) -> AttendedConnection:
        settings["autocommit"] = True  # as the library has it
        connection = super().connect(conninfo, **settings)
        # It holds where tables are made, which the library's own setting does not. A limit of the user's, or of the role's, stays.
        connection.execute(
            "SELECT set_config('lock_timeout', %s, false) WHERE current_setting('lock_timeout') = '0'",
            (f"{LOCK_SECONDS}s",),
        )
        return connection

    def wait(self, gen: PQGen[RV], *arguments: Any, **options: Any) -> RV:
        return super().wait(self._attended(gen), *arguments, **options)

    def _attended(self, gen: PQGen[RV]) -> PQGen[RV]:
        try:
            wanted, heard = next(gen), time.monotonic()
            while True:
                ready = yield (Wait.RW if wanted == Wait.R and self._unsent() else wanted)
                if ready:
                    heard = time.monotonic()
                elif time.monotonic() - heard > SILENT_SECONDS:
                    self.close()
                    wanted = gen.throw(OperationalError(f"the server has been silent for {SILENT_SECONDS:g} s"))
                    continue
                wanted = gen.send(Ready(ready & wanted))
        except StopIteration as end:
            result: RV = end.value
            return result

    def _unsent(self) -> bool:
        """Send what goes; whether something is left."""
        try:
            return self.pgconn.flush() == 1
        except OperationalError:
            return False  # the connection is lost, which whoever waits finds out when it reads


def attend(datastore: object) -> None:
    """Make its connections ours; nothing, if it is not the library's for PostgreSQL."""
    if not isinstance(datastore, PostgresDatastore) or datastore.pool.connection_class is AttendedConnection:
        return
    # Which recorders made from now on set for their inserts
    datastore.lock_timeout = datastore.lock_timeout or LOCK_SECONDS
    datastore.pool.connection_class = AttendedConnection
    if not datastore.pool.closed:
        _wait_until_nothing_is_made(datastore)  # that is not ours; it would come after the others have gone
        datastore.pool.drain()


def _wait_until_nothing_is_made(datastore: PostgresDatastore) -> None:
    """Until every connection that the pool counts lies in it. One that is lent out at that time and later is let go at its return."""
    pool = datastore.pool
    end = time.monotonic() + pool.timeout
    while (stats := pool.get_stats())["pool_available"] < stats["pool_size"]:
        if time.monotonic() > end:
            raise OperationalError(
                f"after {pool.timeout:g} s the recorder's pool has {stats['pool_available']} of its {stats['pool_size']} connections:"
                " is the server there, and is the recorder at rest while a log is opened on it?"
            )
        time.sleep(POOL_POLL_SECONDS)
