"""Whoever can write into storage and has no key: what was planted or changed is refused, named, and runs nothing."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from playhead.core.events import Origin, Schedule
from playhead.core.names import Epoch, RunId, TaskKey
from playhead.errors import JournalCorrupt, NoSuchObject, TrustError
from playhead.journal.format import Blob, Record
from playhead.journal.place import JournalPlace
from playhead.journal.reader import payload_bytes, read_journal
from playhead.journal.writer import JournalWriter
from playhead.runner.payloads import Payloads
from playhead.runner.references import INLINE_BYTES
from playhead.storage.memory import MemoryStorage
from playhead.trust.cipher import Cipher
from playhead.trust.keys import MasterKey
from playhead.trust.payload import dump, load
from playhead.trust.seal import ModuleCode, Seal, read_seal, write_seal
from playhead.trust.ticket import (
    AskedTicket,
    PresetTicket,
    ScheduleTicket,
    preset_id,
    read_asked,
    read_preset,
    read_schedule,
    read_ticket,
    write_asked,
    write_preset,
    write_schedule,
)

RUN, OTHER, FLOW, SEAL, SCHEDULE = RunId("ab" * 16), RunId("cd" * 16), "etl", "5ea1" * 8, "c0de" * 4
MASTER, STRANGER = MasterKey.random(), MasterKey.random()
PLACE = JournalPlace(RUN, Epoch(1), "aabbccdd")
PRESET = preset_id(MASTER.flow_key(FLOW), "nightly", b"", ())


class Bomb:
    """Leaves a mark when its pickle is loaded."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self._mark),)


class Planted(MemoryStorage):
    """Storage into which a stranger writes."""

    def plant(self, path: str, data: bytes) -> None:
        self._objects[path] = bytearray(data)


READERS: dict[str, tuple[str, Callable[[MemoryStorage], object]]] = {
    "seal": (f"flows/{FLOW}/{SEAL}", lambda s: read_seal(s, FLOW, SEAL, MASTER.flow_key(FLOW))),
    "ticket": (f"runs/{RUN}/ticket", lambda s: read_asked(s, RUN, MASTER.run_key(RUN))),
    "schedule": (
        f"flows/{FLOW}/schedules/{SCHEDULE}/{SEAL}",
        lambda s: read_schedule(s, FLOW, SCHEDULE, SEAL, MASTER.flow_key(FLOW)),
    ),
    "preset": (
        f"flows/{FLOW}/presets/{PRESET}/{SEAL}",
        lambda s: read_preset(s, FLOW, PRESET, SEAL, MASTER.flow_key(FLOW)),
    ),
    "journal": (PLACE.segment(1), lambda s: read_journal(s, PLACE, MASTER.run_key(RUN).secret).records),
    "blob": (
        f"{PLACE.folder}/blobs/parse-1-1-0",
        lambda s: payload_bytes(s, Blob(f"{PLACE.folder}/blobs/parse-1-1-0", "00" * 32, 9), where="task parse"),
    ),
}


@pytest.mark.parametrize("kind", READERS)
def test_an_unsigned_pickle_in_the_place_of_anything_that_is_read_leaves_no_mark(tmp_path: Path, kind: str) -> None:
    mark = tmp_path / "mark"
    bomb = pickle.dumps(Bomb(mark))
    path, read = READERS[kind]
    for planted in (bomb, b"PLHD" + bomb, b"PHJB" + bomb, bomb * 100):
        storage = Planted()
        storage.plant(path, planted)
        if kind == "journal":  # what is no whole batch counts as cut off: nothing of it is read
            assert read(storage) == ()
        else:
            with pytest.raises(TrustError):
                read(storage)
    assert not mark.exists()
    load(bomb)
    assert mark.exists(), "it would have left one"


def test_what_a_stranger_signed_with_a_key_of_their_own_is_refused_and_named() -> None:
    storage = MemoryStorage()
    write_asked(storage, AskedTicket(run=RUN, flow=FLOW, seal=SEAL, parameters=dump({})), STRANGER.run_key(RUN))
    with pytest.raises(TrustError, match=STRANGER.id):
        read_asked(storage, RUN, MASTER.run_key(RUN))


def a_seal(**changes: Any) -> Seal:
    config: dict[str, Any] = {"kind": "docker", "image": "etl:1", "command": ["run"], "mounts": []}
    return Seal(
        flow=FLOW, code=ModuleCode(module="m", qualname="etl"), executor={"kind": "thread"}, run_config=config | changes
    )


@pytest.mark.parametrize("changes", [{"image": "evil:1"}, {"command": ["sh"]}, {"mounts": ["/"]}, {"env": {"A": "b"}}])
@pytest.mark.parametrize("encrypt", [False, True])
def test_an_image_a_command_or_a_mount_cannot_be_changed(changes: dict[str, Any], encrypt: bool) -> None:
    storage, key = Planted(), MASTER.flow_key(FLOW)
    seal_id = write_seal(storage, a_seal(), key, encrypt=encrypt)
    other_id = write_seal(storage, a_seal(**changes), key, encrypt=encrypt)
    assert other_id != seal_id
    rightly_signed = storage.read(f"flows/{FLOW}/{other_id}")
    storage.plant(f"flows/{FLOW}/{seal_id}", rightly_signed)
    with pytest.raises(TrustError, match="belongs elsewhere"):
        read_seal(storage, FLOW, seal_id, key)


def test_another_runs_parameters_are_refused() -> None:
    storage = Planted()
    for run in (RUN, OTHER):
        write_asked(
            storage, AskedTicket(run=run, flow=FLOW, seal=SEAL, parameters=dump({"run": run})), MASTER.run_key(run)
        )
    storage.plant(f"runs/{RUN}/ticket", storage.read(f"runs/{OTHER}/ticket"))
    with pytest.raises(TrustError, match=OTHER):
        read_asked(storage, RUN, MASTER.run_key(RUN))


# --- blobs ------------------------------------------------------------------------------------------------------------------


def cut(data: bytes, _: bytes) -> bytes:
    return data[:-1]


def flip(data: bytes, _: bytes) -> bytes:
    return data[:100] + bytes([data[100] ^ 1]) + data[101:]


def swap(_: bytes, other: bytes) -> bytes:
    return other


def grow(data: bytes, _: bytes) -> bytes:
    return data + b"\0"


@pytest.mark.parametrize("attack", [cut, flip, swap, grow])
@pytest.mark.parametrize("encrypt", [False, True])
def test_a_large_result_that_was_changed_or_is_anothers_is_refused(
    attack: Callable[[bytes, bytes], bytes], encrypt: bool
) -> None:
    storage = Planted()
    payloads = Payloads(PLACE, MASTER.run_key(RUN), storage, encrypt=encrypt)
    mine, theirs = b"m" * (INLINE_BYTES + 1), b"t" * (INLINE_BYTES + 1)
    kept, other = (payloads.keep(TaskKey(key), 1, data)[0] for key, data in (("mine", mine), ("theirs", theirs)))
    assert isinstance(kept, Blob)
    assert isinstance(other, Blob)
    assert payload_bytes(storage, kept, where="task mine") == mine
    assert (mine[:64] in storage.read(kept.path)) is not encrypt
    storage.plant(kept.path, attack(storage.read(kept.path), storage.read(other.path)))
    with pytest.raises(TrustError, match="task mine"):
        payload_bytes(storage, kept, where="task mine")


# --- encrypted journals -------------------------------------------------------------------------------------------------------


def written(storage: MemoryStorage, *, encrypt: bool) -> None:
    secret = MASTER.run_key(RUN).secret
    writer = JournalWriter(
        storage, PLACE, secret, cipher=Cipher(secret, "journal") if encrypt else None,
        on_durable=lambda _, __: None, on_end=lambda _: None,
    )  # fmt: skip
    for number in range(3):
        writer.commit_and_wait(Record("task.succeeded", 1, {"key": f"t.{number}"}, {"d": "a note"}, b"a result"))
    writer.close()


def test_an_encrypted_journal_reads_as_a_plain_one_and_shows_nothing() -> None:
    plain, hidden = MemoryStorage(), MemoryStorage()
    written(plain, encrypt=False)
    written(hidden, encrypt=True)
    key = MASTER.run_key(RUN).secret
    assert read_journal(hidden, PLACE, key).records == read_journal(plain, PLACE, key).records
    for word in (b"a result", b"a note", b"task.succeeded", b"t.1"):
        assert word in plain.read(PLACE.segment(1))
        assert word not in hidden.read(PLACE.segment(1))


def test_each_flipped_byte_of_an_encrypted_journal_is_a_cut_or_damage_and_never_another_record() -> None:
    whole = MemoryStorage()
    written(whole, encrypt=True)
    data, key = whole.read(PLACE.segment(1)), MASTER.run_key(RUN).secret
    records = read_journal(whole, PLACE, key).records
    for place in range(0, len(data), 7):
        storage = Planted()
        storage.plant(PLACE.segment(1), data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            found = read_journal(storage, PLACE, key).records
        except (JournalCorrupt, TrustError):
            continue
        assert found == records[: len(found)]
        assert len(found) < len(records)


# --- what a server says ---------------------------------------------------------------------------------------------------------

DUE = 1_700_000_100_000_000
HONEST: dict[str, dict[str, Any]] = {
    "asked": {"run": RUN, "origin": Origin.ASKED},
    "schedule": {"origin": Origin.SCHEDULE, "schedule": SCHEDULE},
    "preset": {"origin": Origin.PRESET, "preset": PRESET, "nonce": "ab" * 8},
}
LIES: list[dict[str, Any]] = [
    {"run": OTHER}, {"flow": "other"}, {"seal": "0bad" * 8}, {"labels": ("gpu",)}, {"due_micros": DUE + 1}, {"nonce": "cd" * 8},
    {"schedule": "0bad" * 4}, {"preset": "0bad" * 8}, {"origin": Origin.EMBEDDED}, {"origin": Origin.ASKED},
    {"origin": Origin.SCHEDULE}, {"origin": Origin.PRESET},
]  # fmt: skip


@pytest.mark.parametrize("kind", HONEST)
def test_each_thing_that_a_server_says_otherwise_is_refused(kind: str) -> None:
    storage, flow_key = MemoryStorage(), MASTER.flow_key(FLOW)
    times = Schedule(id=SCHEDULE, every_seconds=100)
    scheduled = ScheduleTicket(schedule=SCHEDULE, flow=FLOW, seal=SEAL, parameters=b"", times=times)
    preset = PresetTicket(preset=PRESET, name="nightly", flow=FLOW, seal=SEAL, parameters=b"")
    write_asked(storage, AskedTicket(run=RUN, flow=FLOW, seal=SEAL, parameters=b""), MASTER.run_key(RUN))
    write_schedule(storage, scheduled, flow_key)
    write_preset(storage, preset, flow_key)
    runs = {"asked": RUN, "schedule": scheduled.run_at(DUE), "preset": preset.run_for("ab" * 8)}
    honest = {"run": runs[kind], "flow": FLOW, "seal": SEAL, "labels": (), "due_micros": DUE, **HONEST[kind]}

    def read(said: dict[str, Any]) -> object:
        run, flow = said["run"], said["flow"]
        return read_ticket(storage, **said, run_key=MASTER.run_key(run), flow_key=MASTER.flow_key(flow))

    assert read(honest)
    for lie in LIES:
        if {**honest, **lie} == honest or (kind != "schedule" and "due_micros" in lie):
            continue  # a time that is not signed is only a delay
        with pytest.raises((TrustError, NoSuchObject)):
            read({**honest, **lie})


def test_a_due_time_that_is_none_of_the_schedules_is_refused_though_its_id_fits() -> None:
    storage, flow_key = MemoryStorage(), MASTER.flow_key(FLOW)
    times = Schedule(id=SCHEDULE, cron="0 6 * * *", tz="Europe/Paris")
    ticket = ScheduleTicket(schedule=SCHEDULE, flow=FLOW, seal=SEAL, parameters=b"", times=times)
    write_schedule(storage, ticket, flow_key)
    invented = ticket.run_at(DUE)
    with pytest.raises(TrustError, match="none of the schedule's"):
        read_ticket(
            storage, run=invented, flow=FLOW, seal=SEAL, labels=(), origin=Origin.SCHEDULE, schedule=SCHEDULE, due_micros=DUE,
            run_key=MASTER.run_key(invented), flow_key=flow_key,
        )  # fmt: skip
