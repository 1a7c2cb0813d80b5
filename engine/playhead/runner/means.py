"""What a run has to work with: its names, its journal, its executor. Values; owns none of them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from playhead.core.names import Epoch, RunId
from playhead.journal.writer import JournalWriter
from playhead.ports.executor import OpenExecutor
from playhead.ports.storage import Storage
from playhead.runner.capture import Sink
from playhead.runner.payloads import Payloads
from playhead.runner.upkeep import Upkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    run: RunId
    flow: str
    epoch: Epoch
    storage: Storage
    payloads: Payloads
    journal: JournalWriter
    executor: OpenExecutor
    upkeep: Upkeep
    sink: Sink
    chance: random.Random
    log_prints: bool
