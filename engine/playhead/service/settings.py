"""The service's settings: the terms it grants and how long it waits. Values only."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ServiceSettings(BaseModel):
    """All durations in seconds. The bounds that follow from them:

    * A run whose runner died is offered again within `lease_seconds + sweep_seconds` of its last heartbeat.
    * A claim that never started is taken back within `launch_timeout_seconds + sweep_seconds`, and earlier if its agent
      has been silent for `agent_silence_seconds`.
    * Where several servers are on one log and the one that leads dies, another does within `takeover_seconds + lead_seconds`, and
      everyone's term begins anew then.
    * An acknowledged cancel ends within `cancel_grace_seconds + lease_seconds + sweep_seconds`, whatever its runner does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lease_seconds: float = Field(default=15.0, gt=0)
    sweep_seconds: float = Field(default=1.0, gt=0)
    launch_timeout_seconds: float = Field(default=120.0, gt=0)  # an image may have to be pulled
    agent_silence_seconds: float = Field(default=15.0, gt=0)  # a lease: two beats may be lost, as with runners
    cancel_grace_seconds: float = Field(default=60.0, ge=0)  # what a flow may take to clean up before its lease ends
    behind_seconds: float = Field(default=5.0, ge=0)  # how long a query waits for the position it asked for

    @property
    def takeover_seconds(self) -> float:
        """How long the leader's term is the same before another server takes over: time for few beats to be lost by that."""
        return self.lease_seconds / 3

    @property
    def lead_seconds(self) -> float:
        """Between two counts of the leader's term: some may be late."""
        return self.takeover_seconds / 5
