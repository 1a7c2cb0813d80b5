"""What an agent holds of the user's side: opened storages and the key ring. Owns the check of tickets and the making of orders.

It reads a run's ticket, and its seal where there are rules about it, and loads nothing: code and parameters stay bytes here. The master key
does not leave it; a runner gets the keys of its run and its flow.
"""

from __future__ import annotations

import logging
import time
from base64 import b64encode
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from playhead.agent.rules import Rule
from playhead.core.events import Hex, Ordinal
from playhead.core.names import Epoch, RunId, RunIdField
from playhead.errors import NoSuchObject, NotAllowed, PlayheadError, StorageUnavailable, TrustError
from playhead.journal.place import ENCRYPTED_LINE, JournalPlace
from playhead.journal.shelf import journals_in
from playhead.ports.server import Claimed
from playhead.ports.storage import Storage
from playhead.runner.bootstrap import LogLevel, RunnerOrder
from playhead.trust import ticket
from playhead.trust.cipher import Cipher
from playhead.trust.keyfile import KeyFile
from playhead.trust.keys import DerivedKey, KeyRing
from playhead.trust.seal import Seal, read_seal

_log = logging.getLogger("playhead.agent")


class KeptOutput(BaseModel):
    """Where what a runner writes is kept, and how: of its order, what an agent may write down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: RunIdField
    epoch: Ordinal
    grant: Hex
    storage_id: Hex
    key_id: Hex
    encrypt: bool

    @classmethod
    def of(cls, order: RunnerOrder) -> KeptOutput:
        return cls(**order.model_dump(include=set(cls.model_fields)))


class UserSide:
    """Synchronous: it reads storage. Callers on an event loop go through a thread.

    `keys`: a ring that stays, or the file in which a home's keys are, which may change at any time. `rules`: what else a run has to
    fulfil, each asked with the opened seal. `encrypt`: encrypt also what runs write that were asked for without encryption.
    """

    def __init__(
        self, storages: Sequence[Storage], keys: KeyRing | KeyFile, *, rules: Sequence[Rule] = (), encrypt: bool = False
    ) -> None:
        self._storages = {storage.id: storage for storage in storages}
        self._rules = tuple(rules)
        self._encrypt = encrypt
        self._key_file = keys if isinstance(keys, KeyFile) else None
        self._keys = keys.current() if isinstance(keys, KeyFile) else keys

    @property
    def storage_ids(self) -> tuple[str, ...]:
        return tuple(sorted(self._storages))

    @property
    def key_ids(self) -> tuple[str, ...]:
        return tuple(key.id for key in self._keys.all)

    def learn_keys(self) -> bool:
        """Read the keys again if their file is another one by now; whether they have changed. What cannot be read changes nothing."""
        if self._key_file is None:
            return False
        before = self._keys
        try:
            self._keys = self._key_file.current()
        except PlayheadError as error:
            _log.error("the keys are kept as they were: %s", error)
        return self._keys != before

    def forgotten(self, run: str, known: int) -> list[str]:
        """Folders of the run's journals that are of later epochs than the server knows of: `known` is the newest that it gave."""
        return [
            place.folder
            for storage in self._storages.values()
            for place in journals_in(storage, run)
            if place.epoch > known
        ]

    def order(self, claimed: Claimed, *, server: str, agent: str, log_level: LogLevel) -> RunnerOrder:
        """The order for a run that was granted, after its ticket has been verified.

        TrustError: nobody on the user's side asked for this run as the server tells it. NotAllowed: a rule is against it. StorageError:
        ticket or seal cannot be read.
        """
        storage = self._storages.get(claimed.storage)
        if storage is None:
            raise StorageUnavailable(
                f"run {claimed.run} needs the storage {claimed.storage}, which this agent has not opened",
                hint="start an agent with that storage",
            )
        run_key = self._keys.run_key(claimed.run, key_id=claimed.key_id)
        flow_key = self._keys.flow_key(claimed.flow, key_id=claimed.key_id)
        signed = _verified(claimed, storage, run_key, flow_key)
        if self._rules:
            self._ask_rules(claimed, read_seal(storage, claimed.flow, claimed.seal, flow_key))
        try:
            return RunnerOrder(
                server=server,
                agent=agent,
                run=claimed.run,
                epoch=claimed.epoch,
                grant=claimed.grant,
                flow=claimed.flow,
                seal=claimed.seal,
                origin=claimed.origin,
                schedule_id=claimed.schedule_id,
                scheduled_for=claimed.scheduled_for,
                preset_id=claimed.preset_id,
                nonce=claimed.nonce,
                encrypt=signed.encrypt or self._encrypt,
                executor=claimed.executor,
                storage_url=storage.url,
                storage_id=storage.id,
                key_id=claimed.key_id,
                run_key=run_key.export(),
                flow_key=flow_key.export(),
                lease_seconds=claimed.lease_seconds,
                log_level=log_level,
            )
        except ValidationError as error:
            fields = ", ".join(str(part) for e in error.errors(include_input=False) for part in e["loc"])
            raise TrustError(
                f"what the server says of run {claimed.run} is no order for a runner: {fields}",
                hint="server and agent must be of versions that work together",
            ) from None

    def seal(self, order: RunnerOrder) -> Seal:
        """The seal of the ordered run's flow, verified. TrustError, StorageError."""
        return read_seal(self._storages[order.storage_id], order.flow, order.seal, DerivedKey.parse(order.flow_key))

    def keep_output(self, kept: KeptOutput, data: bytes) -> str:
        """Append what a runner wrote to where its lines are; gives the path. TrustError: the key is gone. StorageError."""
        path = JournalPlace(RunId(kept.run), Epoch(kept.epoch), kept.grant).output
        storage = self._storages.get(kept.storage_id)
        if storage is None:
            raise StorageUnavailable(f"the storage {kept.storage_id} is no longer this agent's")
        if kept.encrypt:
            secret = self._keys.run_key(kept.run, key_id=kept.key_id).secret
            data = ENCRYPTED_LINE + b64encode(Cipher(secret, "lines").encrypt(data, path.encode())) + b"\n"
        storage.append_loose(path, data)
        return path

    def _ask_rules(self, claimed: Claimed, seal: Seal) -> None:
        for rule in self._rules:
            why_not = rule(seal)
            if why_not is not None:
                raise NotAllowed(
                    f"run {claimed.run} is not taken by this agent: {why_not}",
                    hint="allow it where the agent is started, or let another agent run it",
                )


def _verified(claimed: Claimed, storage: Storage, run_key: DerivedKey, flow_key: DerivedKey) -> ticket.Ticket:
    """The ticket that the user signed, which is as the server says. TrustError: it differs, or there is none."""
    try:
        signed = ticket.read_ticket(
            storage,
            run=claimed.run,
            flow=claimed.flow,
            seal=claimed.seal,
            labels=claimed.labels,
            origin=claimed.origin,
            schedule=claimed.schedule_id,
            due_micros=claimed.scheduled_for,
            preset=claimed.preset_id,
            nonce=claimed.nonce,
            run_key=run_key,
            flow_key=flow_key,
        )
    except NoSuchObject as error:
        raise TrustError(
            f"run {claimed.run} has no ticket in the storage {claimed.storage}: nobody with the key asked for it",
            hint="ask for the run again, and look into the server that offers it",
        ) from error
    ticket.check_time(signed, due_micros=claimed.scheduled_for, now_micros=time.time_ns() // 1000)
    return signed
