"""The names of what is checked: each begins with the promise's number in docs/guarantees.md, where it has one. Values only."""

from __future__ import annotations

from typing import Final

LINEAR: Final = "S1 linear history"
EACH_EVENT: Final = "S3 each event once"
ONE_RUNNER: Final = "S4 one effective runner"
ONCE: Final = "S5 what completed is not run again"
CAUGHT_UP: Final = "S5 catch up, then launch"
SAME_WORLD: Final = "S5 a resumed flow sees the same"
RECORDED_ONCE: Final = "S6 recorded once for each attempt"
FINAL: Final = "S7 terminal is final"
REPLAY: Final = "S8 replay equals live"
IDEMPOTENT: Final = "S11 appends by their ids"
RESULT_FIRST: Final = "S12 result before event"
CURSORS: Final = "S13 a cursor names its log"
BOUNDED: Final = "S17 losses are bounded"
EACH_TIME: Final = "S18 one run for each time"
OFFERED: Final = "L1 offered again within a lease and a sweep"
TAKEN_BACK: Final = "L2 a claim that never started is taken back"
LEASED: Final = "L4 nothing starts beyond the lease"
CANCELLED: Final = "L9 a cancel ends in time"
DRAINS: Final = "an agent that drains takes no more runs"
PROOF: Final = "a death is reported with proof"
NO_ERROR: Final = "a process ends by an outcome, or because its time is over"
PROGRESS: Final = "all runs come to their end"
WORTH: Final = "a run succeeds, unless all were cancelled or lost"
