"""The marked words, and finding them again in any disguise. Owns what counts as found; knows no place where one could be.

Every planted word begins with one mark, so that bytes are searched for the mark alone: plain, in base64, in hexadecimal, percent-encoded,
escaped as JSON does, in UTF-16 and UTF-32, and packed by zlib or gzip. A digest hides the mark: digests are searched for each whole word.
"""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
import re
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Final

from playhead.trust.payload import dump

MARK: Final = "zqxkanarie"  # no word of any language: found nowhere by chance
SOURCE: Final = Path(__file__).with_name("planted.py")

FOLDER: Final = f"{MARK}_folder"
MODULE: Final = f"{MARK}_module"
HOST: Final = f"{MARK}-host"
ENVIRONMENT: Final[Mapping[str, str]] = {
    f"{MARK.upper()}_VARIABLE": f"{MARK}_environment",
    "USER": f"{MARK}_user",
    "LOGNAME": f"{MARK}_user",
}
GIVEN: Final = f"{MARK}_parameter"  # for the parameter `given` of the flows
UNFIT: Final = f"{MARK}_unfit"  # for their parameter `number`, which is no number

HASHES: Final = ("sha256", "sha1", "md5")
DIGEST_BYTES: Final = 8  # of a digest: what is kept of one is rarely less, and chance does not make 8
KEY_BYTES: Final = array("Q").itemsize  # of a needle, by which digests are looked up
UNPACKED_BYTES: Final = 1 << 20  # of what zlib or gzip packed: enough to see a word

_PACKED: Final = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")


@dataclass(frozen=True, slots=True)
class Found:
    """A word, in a disguise, with what stands around it."""

    disguise: str
    around: bytes


def words() -> tuple[str, ...]:
    """All that are planted: those in the flows' source, and those around it."""
    given = (FOLDER, MODULE, HOST, *ENVIRONMENT.values(), GIVEN, UNFIT)
    return tuple(sorted({*re.findall(rf"(?i){MARK}\w*", SOURCE.read_text()), *given}))


def find(data: bytes) -> Iterator[Found]:
    """Every disguise in which the mark, or the digest of a word, is in the bytes; each once."""
    yield from find_mark(data)
    yield from _find_packed(data)
    yield from _find_digests(data)


def find_mark(data: bytes) -> Iterator[Found]:
    """As `find`, without digests and packed bytes: quick enough for a process's memory."""
    for disguise, needle in _needles():
        at = data.find(needle)
        if at >= 0:
            yield Found(disguise, data[max(0, at - 60) : at + 100])


def _find_packed(data: bytes) -> Iterator[Found]:
    for begin in _PACKED.finditer(data):
        try:
            unpacked = zlib.decompressobj(wbits=47).decompress(data[begin.start() :], UNPACKED_BYTES)
        except zlib.error:
            continue  # two bytes by chance
        for found in find_mark(unpacked):
            yield Found(f"packed, {found.disguise}", found.around)


def _find_digests(data: bytes) -> Iterator[Found]:
    table = _digests()
    for key in table.keys() & _windows(data):
        for disguise, needle in table[key]:
            at = data.find(needle)
            if at >= 0:
                yield Found(disguise, data[max(0, at - 60) : at + 100])


def _windows(data: bytes) -> set[int]:
    """Every eight bytes that follow one another, as numbers: many times quicker to make than slices."""
    found: set[int] = set()
    for begin in range(KEY_BYTES):
        end = begin + (len(data) - begin) // KEY_BYTES * KEY_BYTES
        found.update(array("Q", data[begin:end]))
    return found


@cache
def _needles() -> tuple[tuple[str, bytes], ...]:
    """Disguise and bytes of the mark, as it stands and in capitals."""
    marks = (MARK.encode(), MARK.upper().encode())
    return tuple(chain.from_iterable(mark_disguises(mark) for mark in marks))


def mark_disguises(mark: bytes) -> Iterator[tuple[str, bytes]]:
    text = mark.decode()
    yield "plain", mark
    for name, encode in _BASE64.items():
        for before in range(3):
            yield f"{name}, {before} bytes behind a third", _base64_inside(mark, before, encode)
    yield "hex", mark.hex().encode()
    yield "HEX", mark.hex().upper().encode()
    for digits, style in (("02x", "lower"), ("02X", "upper")):
        yield f"percent-encoded, {style}", "".join(f"%{byte:{digits}}" for byte in mark).encode()
        yield f"escaped, {style}", "".join(f"\\u{byte:0>4{digits[-1]}}" for byte in mark).encode()
    for form in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        yield form, text.encode(form)


def digest_disguises(word: str) -> Iterator[tuple[str, bytes]]:
    """The beginnings of the word's digests, as anyone might make and write them."""
    forms = {
        "": word.encode(), " with a line's end": f"{word}\n".encode(), " as JSON": json.dumps(word).encode(),
        " as Python writes it": repr(word).encode(), " pickled": pickle.dumps(word), " as a result is": dump(word),
    }  # fmt: skip
    for form, data in forms.items():
        for name in HASHES:
            digest = hashlib.new(name, data).digest()
            beginning = digest[:DIGEST_BYTES]
            what = f"{name} of {word}{form}"
            yield what, beginning
            yield f"{what}, hex", beginning.hex().encode()
            yield f"{what}, HEX", beginning.hex().upper().encode()
            for style, encode in _BASE64.items():
                yield f"{what}, {style}", encode(digest)[: DIGEST_BYTES * 8 // 6]


@cache
def _digests() -> Mapping[int, tuple[tuple[str, bytes], ...]]:
    """All needles that are digests, by their first bytes."""
    table: dict[int, list[tuple[str, bytes]]] = {}
    for disguise, needle in chain.from_iterable(map(digest_disguises, words())):
        table.setdefault(int.from_bytes(needle[:KEY_BYTES], sys.byteorder), []).append((disguise, needle))
    return {key: tuple(needles) for key, needles in table.items()}


def _base64_inside(mark: bytes, before: int, encode: Callable[[bytes], bytes]) -> bytes:
    """Those letters of the mark's base64 that do not depend on what stands around it, `before` bytes behind a third one."""
    first = -(-before * 8 // 6)
    last = (before + len(mark)) * 8 // 6
    return encode(b"\0" * before + mark + b"\0" * 3)[first:last]


_BASE64: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "base64": base64.b64encode,
    "base64 for URLs": base64.urlsafe_b64encode,
}


def told(found: Iterable[Found]) -> list[str]:
    return [f"{each.disguise}: {each.around!r}" for each in found]
