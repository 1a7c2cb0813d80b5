"""How often an agent does things, and how long it waits: every interval and limit of an agent, with its reason."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final

MAX_READY: Final = 10_000  # runs that an agent keeps in mind to claim; what lies beyond is found by a later query
MAX_KNOWN: Final = 50_000  # runs of which it remembers whether they fit; of others it asks again
MAX_TROUBLED: Final = 1_000  # runs whose failed launches it counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """All in seconds."""

    beat_seconds: float = 5.0  # a third of a lease: the server forgets an agent after it has missed several
    safety_seconds: float = 60.0  # between queries beside the stream, which mend what a lost event would break
    launch_timeout_seconds: float = 110.0  # below the server's 120, so that the agent takes its launch back first
    ended_grace_seconds: float = 30.0  # for a runner to go once its run has ended: it may have workers to put away (L5)
    superseded_grace_seconds: float = 5.0  # for a runner whose epoch is over: it may write down what it has in flight
    stop_grace_seconds: float = 5.0  # between SIGTERM and SIGKILL when runners are stopped with their agent
    farewell_seconds: float = 3.0  # for the last words to a server that may be gone
    retry_first_seconds: float = 0.25  # while the server cannot be reached
    retry_most_seconds: float = 10.0
    rest_first_seconds: float = 1.0  # before a run whose launch failed here is claimed here again
    rest_most_seconds: float = 60.0

    def retry(self, tries: int) -> float:
        """How long to wait after so many failed requests: anything up to a bound that doubles. All of it is chance, so that agents that
        lost their server at one moment do not come back at one moment."""
        return random.uniform(0, min(math.ldexp(self.retry_first_seconds, min(tries - 1, 16)), self.retry_most_seconds))

    def rest(self, failures: int) -> float:
        """How long to leave a run alone after so many failures here. The first costs nothing: a kill is mended at once."""
        if failures <= 1:
            return 0.0
        return min(math.ldexp(self.rest_first_seconds, min(failures - 2, 16)), self.rest_most_seconds)
