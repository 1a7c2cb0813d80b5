"""The text of a token: whole or known not to be, and found by whoever scans for lost secrets; never shown by chance."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.core.tokens import BODY_LETTERS, MAX_TOKEN_LETTERS, SECRET_BYTES, Mistyped, Token, claimed_name, digest_of

SCANNED = re.compile(
    r"playhead_(?:token_[A-Za-z0-9_.-]{1,64}|runner_[0-9a-f]{32})_[a-z2-7]{56}"
)  # as decision 100 has it

NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)
SECRETS = st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES)
TOKENS = st.builds(Token, NAMES, SECRETS) | st.builds(
    Token, st.from_regex(r"[0-9a-f]{32}", fullmatch=True), SECRETS, of_runner=st.just(True)
)


@given(TOKENS)
def test_a_token_is_read_back_from_its_text(token: Token) -> None:
    text = token.text
    assert Token.parse(text) == token
    assert claimed_name(text) == (token.name, token.of_runner)
    assert SCANNED.fullmatch(text)
    assert len(text) <= MAX_TOKEN_LETTERS
    assert token.digest == digest_of(text)
    assert text[-BODY_LETTERS:] not in repr(token)
    assert token.secret.hex() not in token.digest


@given(TOKENS, st.data())
def test_one_letter_that_is_missing_or_another_is_noticed(token: Token, data: st.DataObject) -> None:
    text = token.text
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("abcxyz27A_-."))
    for changed in (text[:at] + letter + text[at + 1 :], text[:at] + text[at + 1 :], text[:at], text + letter):
        if changed != text:
            with pytest.raises(ValueError):
                Token.parse(changed)


@pytest.mark.parametrize("text", ["", "secret", "Bearer x", "playhead-key-abc", "playhead_tokenx"])
def test_what_is_no_token_is_not_taken_for_a_mistyped_one(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        Token.parse(text)
    assert not isinstance(raised.value, Mistyped)


@pytest.mark.parametrize(
    "text", ["playhead_token_", "playhead_token_ci", "playhead_runner_" + "g" * 32 + "_" + "a" * 56]
)
def test_a_piece_of_a_token_is_a_mistyped_one(text: str) -> None:
    with pytest.raises(Mistyped):
        Token.parse(text)


def test_a_capital_letter_is_no_other_way_to_write_a_token() -> None:
    text = Token("ci", bytes(range(SECRET_BYTES))).text
    with pytest.raises(Mistyped):
        Token.parse(text[:-BODY_LETTERS] + text[-BODY_LETTERS:].upper())
