"""The log in PostgreSQL: any number of servers on one, in an order that no reader can miss. Needs the extra `postgres`."""

from playhead_adapters.stores.postgres.backend import PostgresBackend, open_url

__all__ = ["PostgresBackend", "open_url"]
