"""`playhead server` that says all it can: each logger at its lowest level, asyncio in debug mode. A program, for the canary."""

from __future__ import annotations

import logging

from playhead.cli import main
from playhead.cli.actions import serve


def _log_all() -> None:
    logging.basicConfig(level=1, format="%(asctime)s %(levelname)s %(name)s %(message)s")


if __name__ == "__main__":
    serve._log_to_stderr = _log_all  # pyright: ignore[reportPrivateUsage]  # a server's own levels would hide the rest
    main()
