"""The hash chain: what a link covers."""

from __future__ import annotations

from playhead.core.names import Epoch, Micros, Seq, StreamName
from playhead.log.appends import encode
from playhead.log.chain import FIRST, digest, link
from playhead.ports.store import Append, Expect, NewEvent


def an_append(**other: object) -> Append:
    fields: dict[str, object] = {
        "stream": StreamName("default/run/a"),
        "events": (NewEvent(type="task.started", schema=1, data={"key": "extract"}),),
        "expected": Expect.ANY,
        "append_id": "b",
        "actor": "server",
        "recorded_at": Micros(1),
    }
    return Append(**fields | other)  # type: ignore[arg-type]  # msgspec checks nothing here, and the names are ours


def said(append: Append) -> bytes:
    return digest(append, encode(append))


def test_a_link_covers_every_field_but_what_was_expected() -> None:
    one = an_append()
    others = [
        an_append(stream=StreamName("default/run/ab"), append_id=""),  # the letters are the same, and in the same order
        an_append(append_id="c"),
        an_append(actor="client"),
        an_append(recorded_at=Micros(2)),
        an_append(epoch=Epoch(0), first_seq=Seq(0)),
        an_append(events=(NewEvent(type="task.started", schema=2, data={"key": "extract"}),)),
        an_append(events=(NewEvent(type="task.started", schema=1, data={"key": "load"}),)),
    ]
    assert len({said(append) for append in [one, *others]}) == 1 + len(others)
    assert said(an_append(expected=Expect.NO_STREAM)) == said(one)


def test_a_link_covers_the_place_and_all_that_came_before() -> None:
    what = said(an_append())
    first = link(FIRST, what, last=1, version=1)
    others = [
        link(first, what, last=1, version=1),
        link(FIRST, what, last=2, version=1),
        link(FIRST, what, last=1, version=2),
    ]
    assert len({first, *others}) == 4
    assert first.hex() == "af1905bcb354f907c79affc055fe06b61a5cc26a6610859160e53e3587f34006", (
        "logs that are written hold links: how they are made never changes"
    )
