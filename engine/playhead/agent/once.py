"""One pass: an agent takes what is ready, and ends when nothing is left. Owns what became of the runs that it took meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field

from playhead.agent.custody import Custody
from playhead.core.kinds import ReleaseReason


@dataclass(slots=True)
class Pass:
    """`had`: runs whose runners it launched or adopted, in the order in which they came; how each ended is the server's to say.

    `gave_back`: runs that it claimed and could not launch. They wait for another agent, or for its next life: to try the same again
    would keep it here. A run that is not on its lists of what it takes is not among them.
    """

    had: dict[str, None] = field(default_factory=dict[str, None])
    gave_back: dict[str, ReleaseReason] = field(default_factory=dict[str, ReleaseReason])

    def note(self, custody: Custody) -> bool:
        """The custody is over. Whether the run may be taken again, if it is offered."""
        if custody.launched is not None:
            self.had[custody.run] = None
            return True
        if custody.gave_back not in (None, ReleaseReason.NOT_ALLOWED):
            self.gave_back[custody.run] = custody.gave_back
        return False
