"""Writes of one turn of the loop go out together, in their order, and none is held back or lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from trivet.web.writes import JoinedWrites

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE = bytes(20_000)


class Wire:
    """Notes what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_closed = False

    def write(self, octets: bytes) -> None:
        assert not self.is_closed
        self.sent.append(octets)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


def sent(*steps: Callable[[JoinedWrites], object]) -> Wire:
    """What goes out when each step has a turn of the loop to itself."""
    wire = Wire()

    async def run() -> None:
        joined = JoinedWrites(cast("asyncio.Transport", wire), asyncio.get_running_loop())
        for step in steps:
            step(joined)
            await asyncio.sleep(0)

    asyncio.run(run())
    return wire


def head_and_body(joined: JoinedWrites) -> None:
    joined.write(b"head ")
    joined.write(b"body")


def test_head_and_body_go_out_as_one() -> None:
    assert sent(head_and_body).sent == [b"head body"]


def test_what_is_written_later_goes_out_by_itself() -> None:
    assert sent(head_and_body, lambda joined: joined.write(b"more")).sent == [b"head body", b"more"]


def test_what_is_large_is_not_copied_and_keeps_its_place() -> None:
    def write(joined: JoinedWrites) -> None:
        joined.write(b"head")
        joined.write(LARGE)
        joined.write(b"end")

    wire = sent(write)
    assert wire.sent == [b"head", LARGE, b"end"]
    assert wire.sent[1] is LARGE


def test_what_is_written_at_length_does_not_gather() -> None:
    def write(joined: JoinedWrites) -> None:
        for _ in range(100):
            joined.write(bytes(1_000))
        # As soon as there is too much to be joined: a transport that is not told cannot ask to pause.
        assert len(cast("Wire", joined._transport).sent) > 80

    assert sum(map(len, sent(write).sent)) == 100_000


def test_what_was_written_before_the_end_is_sent_first() -> None:
    def write(joined: JoinedWrites) -> None:
        head_and_body(joined)
        joined.close()

    wire = sent(write)
    assert (wire.sent, wire.is_closed) == ([b"head body"], True)


def test_nothing_is_written_to_a_connection_that_was_lost_meanwhile() -> None:
    wires: list[Wire] = []

    def write(joined: JoinedWrites) -> None:
        joined.write(b"late")
        wire = cast("Wire", joined._transport)
        wire.is_closed = True
        wires.append(wire)

    sent(write)
    assert wires[0].sent == []
