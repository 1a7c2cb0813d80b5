"""Attacks on the signed envelope: whatever was changed, swapped, cut or never signed is refused, and named, and not loaded."""

from __future__ import annotations

import base64
import hmac
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.errors import AlreadyExists, TrustError
from playhead.storage.folder import FolderStorage
from playhead.storage.memory import MemoryStorage
from playhead.trust.envelope import Identity, record_mac, seal, unseal
from playhead.trust.keys import DerivedKey, MasterKey
from playhead.trust.objects import read_signed, write_signed

RUN, OTHER_RUN = "a" * 32, "b" * 32
KEY = MasterKey(b"k" * 32).run_key(RUN)
RESULT = Identity.of("result", run=RUN, key="parse.17", attempt=1, epoch=2)

identities = st.builds(Identity, st.text(), st.lists(st.tuples(st.text(), st.text())).map(tuple))


@given(payload=st.binary(), identity=identities, secret=st.binary(min_size=32, max_size=32))
def test_what_was_sealed_is_unsealed(payload: bytes, identity: Identity, secret: bytes) -> None:
    key = MasterKey(secret).run_key(RUN)
    assert unseal(seal(payload, identity, key), identity, key) == payload


def test_every_flipped_bit_is_refused() -> None:
    data = seal(b"payload", RESULT, KEY)
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            with pytest.raises(TrustError, match="nothing of it was loaded"):
                unseal(bytes(flipped), RESULT, KEY)


def test_every_cut_and_every_addition_is_refused() -> None:
    data = seal(b"payload", RESULT, KEY)
    for length in range(len(data)):
        with pytest.raises(TrustError):
            unseal(data[:length], RESULT, KEY)
        with pytest.raises(TrustError):
            unseal(data[length:] if length else data + b"\0", RESULT, KEY)


@given(st.binary(max_size=300))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(TrustError):
        unseal(data, RESULT, KEY)


@given(tail=st.binary(max_size=200))
def test_a_right_beginning_does_not_help(tail: bytes) -> None:
    with pytest.raises(TrustError):
        unseal(seal(b"payload", RESULT, KEY)[:18] + tail, RESULT, KEY)


@given(one=identities, other=identities)
def test_no_two_identities_encode_alike(one: Identity, other: Identity) -> None:
    assert (one.encoded() == other.encoded()) == (one == other)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (
            Identity.of("result", run=OTHER_RUN, key="parse.17", attempt=1, epoch=2),
            f"run is '{OTHER_RUN}' and not '{RUN}'",
        ),
        (Identity.of("result", run=RUN, key="parse.18", attempt=1, epoch=2), "key is 'parse.18' and not 'parse.17'"),
        (Identity.of("result", run=RUN, key="parse.17", attempt=2, epoch=2), "attempt is '2' and not '1'"),
        (Identity.of("result", run=RUN, key="parse.17", attempt=1, epoch=1), "epoch is '1' and not '2'"),
        (Identity.of("failure", run=RUN, key="parse.17", attempt=1, epoch=2), "another thing: failure"),
        (Identity.of("result", run=RUN, key="parse.17", attempt=1), "another thing: result"),
        (Identity.of("result", run=RUN, attempt=1, key="parse.17", epoch=2), "another thing: result"),
    ],
)
def test_a_rightly_signed_object_in_another_s_place_is_named(other: Identity, told: str) -> None:
    with pytest.raises(TrustError, match=told):
        unseal(seal(b"payload", other, KEY), RESULT, KEY)


def test_a_wrong_key_names_both() -> None:
    other = MasterKey.random().run_key(RUN)
    with pytest.raises(TrustError, match=f"key {other.key_id}, not with {KEY.key_id}"):
        unseal(seal(b"payload", RESULT, other), RESULT, KEY)


def test_a_forged_key_id_does_not_help() -> None:
    other = DerivedKey(KEY.key_id, b"x" * 32)
    with pytest.raises(TrustError, match="changed after it was signed"):
        unseal(seal(b"payload", RESULT, other), RESULT, KEY)


def test_another_run_s_key_does_not_fit() -> None:
    other = MasterKey(b"k" * 32).run_key(OTHER_RUN)
    with pytest.raises(TrustError):
        unseal(seal(b"payload", RESULT, other), RESULT, KEY)


def test_the_order_is_format_key_identity_signature() -> None:
    """Each layer is wrong in what comes after it as well; the first is named."""
    data = bytearray(seal(b"payload", Identity.of("x"), MasterKey.random().run_key(RUN)))
    data[-1] ^= 1
    told: list[str] = []
    for place, value in ((4, 9), (5, 9)):
        wrong = bytearray(data)
        wrong[place] = value
        told.append(_refusal(bytes(wrong)))
    told.append(_refusal(bytes(data)))
    data[6:14] = bytes.fromhex(KEY.key_id)
    told.append(_refusal(bytes(data)))
    right = bytearray(seal(b"payload", RESULT, KEY))
    right[-1] ^= 1
    told.append(_refusal(bytes(right)))
    assert ["format 9" in told[0], "codec 9" in told[1], "signed with the key" in told[2]] == [True] * 3
    assert ["another thing" in told[3], "signature" in told[4]] == [True] * 2


class Armed:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_an_unsigned_pickle_does_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    storage = FolderStorage(tmp_path / "storage")
    storage.create_if_absent("runs/a/one", pickle.dumps(Armed(trap)))
    with pytest.raises(TrustError, match="no signed envelope"):
        read_signed(storage, "runs/a/one", RESULT, KEY)
    assert not trap.exists()


def test_swapped_objects_are_refused() -> None:
    storage = MemoryStorage()
    first, second = (Identity.of("result", run=RUN, key=key, attempt=1, epoch=1) for key in ("a", "b"))
    write_signed(storage, "one", b"1", first, KEY)
    storage.create_if_absent("two", storage.read("one"))
    assert read_signed(storage, "one", first, KEY) == b"1"
    with pytest.raises(TrustError, match="key is 'a' and not 'b'"):
        read_signed(storage, "two", second, KEY)


def test_writing_again_is_idempotent_and_never_overwrites() -> None:
    storage = MemoryStorage()
    write_signed(storage, "one", b"1", RESULT, KEY)
    write_signed(storage, "one", b"1", RESULT, KEY)
    with pytest.raises(AlreadyExists):
        write_signed(storage, "one", b"2", RESULT, KEY)
    storage.create_if_absent("planted", b"somebody else's")
    with pytest.raises(TrustError):
        write_signed(storage, "planted", b"1", RESULT, KEY)


@given(
    places=st.lists(
        st.tuples(st.text(max_size=5), st.text(max_size=5), st.integers(0, 99), st.integers(0, 99), st.binary(min_size=32, max_size=32)),
        min_size=2, max_size=2, unique=True,
    )
)  # fmt: skip
def test_a_record_s_mac_differs_with_each_part_of_its_place(
    places: list[tuple[str, str, int, int, bytes]],
) -> None:
    one, other = (record_mac(KEY, *place) for place in places)
    assert one != other
    assert len(one) == 22
    assert one == record_mac(KEY, *places[0])
    assert one != record_mac(MasterKey(b"x" * 32).run_key(RUN), *places[0])


def _refusal(data: bytes) -> str:
    with pytest.raises(TrustError) as caught:
        unseal(data, RESULT, KEY)
    return str(caught.value)


@given(key=st.text(max_size=20), digest=st.binary(min_size=32, max_size=32))
def test_a_record_s_mac_is_an_hmac_of_its_place_and_its_payload_s_digest(key: str, digest: bytes) -> None:
    signed = f"record {len(RUN)}:{RUN}{len(key)}:{key}1:2:".encode() + digest
    mac = hmac.digest(KEY.secret, signed, "sha256")[:16]
    assert record_mac(KEY, RUN, key, 1, 2, digest) == base64.urlsafe_b64encode(mac).decode().rstrip("=")
