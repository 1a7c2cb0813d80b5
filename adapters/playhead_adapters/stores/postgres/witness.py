"""What this process knows to be in the log, and must find there whenever it connects again. Owns when a connection is refused for that.

After a fail-over to a standby that lagged, or a restore under a running server, the log may lack what was acknowledged. What this
process has folded and cached then comes from a history that is no more, so it takes no part in the other one: it must be started again.
"""

from __future__ import annotations

import psycopg

from playhead.core.names import LogId, Position
from playhead.errors import LogUnusable
from playhead_adapters.stores.postgres import faults
from playhead_adapters.stores.postgres.address import Address
from playhead_adapters.stores.postgres.connections import PREPARE_AT_ONCE, Connection, connect, rows


class Witness:
    def __init__(self, address: Address, log_id: LogId) -> None:
        self._address = address
        self.log_id = log_id
        self._position = Position(0)  # of the newest append of our own
        self._link = b""
        self._refusal: LogUnusable | None = None  # for ever, once the log was another

    def saw(self, position: Position, link: bytes) -> None:
        """Our own append ends there, durably."""
        if position > self._position:
            self._position, self._link = position, link

    async def connect(self) -> Connection:
        """A new connection to the log that we know. LogUnusable: there is none, or it is another by now."""
        if self._refusal is not None:
            raise self._refusal
        position, link = self._position, self._link
        connection = await connect(self._address)
        try:
            ((log_id, head, found, forgotten),) = await rows(connection, "witness", {"position": position})
        except psycopg.Error as error:
            await connection.close()
            raise faults.unusable(self._address, error) from error
        except BaseException:
            await connection.close()
            raise
        if log_id == self.log_id and (position == 0 or forgotten or found == link):
            connection.prepare_threshold = PREPARE_AT_ONCE
            return connection
        await connection.close()
        self._refusal = self._another(log_id, head)
        raise self._refusal

    def _another(self, log_id: str, head: int) -> LogUnusable:
        was = (
            "is another one now" if log_id != self.log_id else f"ends at position {head}, without what was acknowledged"
        )
        return LogUnusable(
            f"the log at {self._address} {was}: an older copy was put in its place, or a standby that lagged took over",
            hint=f"start this server again; it had come to position {self._position}",
        )
