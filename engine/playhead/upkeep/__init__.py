"""Upkeep: what is done to a log as a whole, by a program or `playhead store`: looking at it, verifying, copying, retention."""

from playhead.upkeep.backup import archive, back_up
from playhead.upkeep.compacting import Compacted, Leaving, Retention, compact, plan
from playhead.upkeep.copying import Copied, copy
from playhead.upkeep.inventory import Inventory, take_inventory
from playhead.upkeep.opening import opened, opened_to_read
from playhead.upkeep.progress import Progress, unheard
from playhead.upkeep.verifying import Finding, Verified, verify

__all__ = [
    "Compacted",
    "Copied",
    "Finding",
    "Inventory",
    "Leaving",
    "Progress",
    "Retention",
    "Verified",
    "archive",
    "back_up",
    "compact",
    "copy",
    "opened",
    "opened_to_read",
    "plan",
    "take_inventory",
    "unheard",
    "verify",
]
