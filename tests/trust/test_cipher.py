"""Encryption: what was encrypted is read with the same key, place and purpose only, and never twice under one nonce."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.errors import TrustError, UsageError
from playhead.trust.cipher import ADDED_BYTES, NONCE_BYTES, Cipher, Purpose, decrypt_once, encrypt_once
from playhead.trust.envelope import Identity, seal, unseal
from playhead.trust.keys import MasterKey

SECRET = b"k" * 32
KEY = MasterKey(SECRET).run_key("ab" * 16)
WHAT = Identity.of("ticket", run="ab" * 16)


@given(data=st.binary(max_size=300), associated=st.binary(max_size=50))
def test_what_was_encrypted_reads_back(data: bytes, associated: bytes) -> None:
    encrypted = Cipher(SECRET, "journal").encrypt(data, associated)
    assert len(encrypted) == len(data) + ADDED_BYTES
    assert Cipher(SECRET, "journal").decrypt(encrypted, associated, "it") == data


def test_another_key_purpose_or_place_and_every_flipped_bit_are_refused() -> None:
    encrypted = Cipher(SECRET, "journal").encrypt(b"a result", b"here")
    wrong = [
        (Cipher(b"x" * 32, "journal"), encrypted, b"here"),
        (Cipher(SECRET, "lines"), encrypted, b"here"),
        (Cipher(SECRET, "journal"), encrypted, b"there"),
        (Cipher(SECRET, "journal"), encrypted[:-1], b"here"),
        (Cipher(SECRET, "journal"), b"", b"here"),
    ]
    for place in range(len(encrypted) * 8):
        flipped = bytearray(encrypted)
        flipped[place // 8] ^= 1 << place % 8
        wrong.append((Cipher(SECRET, "journal"), bytes(flipped), b"here"))
    for cipher, data, associated in wrong:
        with pytest.raises(TrustError, match="batch 7 cannot be decrypted"):
            cipher.decrypt(data, associated, "batch 7")


def test_no_nonce_comes_twice_and_purposes_have_keys_of_their_own() -> None:
    purposes: list[Purpose] = ["envelope", "journal", "lines"]
    nonces = {Cipher(SECRET, purpose).encrypt(b"", b"")[:NONCE_BYTES] for purpose in purposes for _ in range(500)}
    assert len(nonces) == 1_500
    once = {encrypt_once(b"the same") for _ in range(100)}
    assert len({key for _, key in once}) == len({data for data, _ in once}) == 100
    for data, key in once:
        assert decrypt_once(data, key, "it") == b"the same"
    (data, _), (_, other) = list(once)[:2]
    with pytest.raises(TrustError):
        decrypt_once(data, other, "it")


def test_an_encrypted_envelope_hides_its_payload_and_is_verified_first() -> None:
    payload = b"a parameter that nobody may read"
    sealed = seal(payload, WHAT, KEY, encrypt=True)
    assert payload not in sealed
    assert unseal(sealed, WHAT, KEY) == payload
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(TrustError) as caught:
            unseal(bytes(changed), WHAT, KEY)
        assert "decrypted" not in caught.value.message, "the signature comes before the decryption"
    with pytest.raises(TrustError, match="another thing"):
        unseal(sealed, Identity.of("seal", flow="etl"), KEY)


def test_a_plain_envelope_cannot_be_passed_off_as_an_encrypted_one() -> None:
    for encrypt in (True, False):
        changed = bytearray(seal(b"payload", WHAT, KEY, encrypt=encrypt))
        changed[5] ^= 1  # the codec
        with pytest.raises(TrustError, match="signature"):
            unseal(bytes(changed), WHAT, KEY)


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(UsageError) as caught:
        Cipher(SECRET, "journal").encrypt(b"", b"")
    assert caught.value.hint == "pip install 'playhead[encryption]'"
