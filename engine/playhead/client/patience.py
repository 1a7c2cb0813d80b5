"""How patient a client is with a server that does not answer. Values only."""

from __future__ import annotations

import random
from dataclasses import dataclass

from playhead.wire import SILENCE_SECONDS


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long and how often the client tries. The bound of a delay doubles from `first_delay` to
    `most_delay` seconds; each is anything up to it, so that many who lost one server do not come back at one moment."""

    tries: int = 4  # of one request: rides out a dropped connection, and tells a person soon that nobody is there
    request_seconds: float = 30.0  # for one try
    connect_seconds: float = 5.0
    silence_seconds: float = SILENCE_SECONDS  # of an event stream, after which it is opened anew
    first_delay: float = 0.1
    most_delay: float = 5.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        return random.uniform(0, min(self.most_delay, self.first_delay * 2.0 ** min(failures - 1, 30)))
