from __future__ import annotations

import os
import threading

import pytest

from trivet.bootstrap.randomness import RandomBits


@pytest.mark.parametrize("bits", [1, 7, 8, 9, 64, 74, 159, 256, 8 * 4096])
def test_every_bit_that_is_asked_for_is_given_and_no_other(bits: int) -> None:
    random_bits = RandomBits()
    ever, never = 0, (1 << bits) - 1
    for _ in range(200):
        drawn = random_bits(bits)
        assert 0 <= drawn < 1 << bits
        ever |= drawn
        never &= drawn
    # Each bit is 0 and is 1 in one of 200 draws, but for one in 10 to the 55.
    assert ever == (1 << bits) - 1
    assert never == 0


def test_no_bits_are_zero() -> None:
    assert RandomBits()(0) == 0


def test_about_half_of_all_bits_are_set() -> None:
    random_bits = RandomBits()
    ones = sum(random_bits(159).bit_count() for _ in range(2000))
    assert abs(ones / (2000 * 159) - 0.5) < 0.01


def test_the_systems_octets_are_given_out_in_turn_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[bytes] = []

    def urandom(size: int) -> bytes:
        fetched.append(bytes((len(fetched) * 31 + at) % 256 for at in range(size)))
        return fetched[-1]

    monkeypatch.setattr("trivet.bootstrap.randomness.os.urandom", urandom)
    random_bits = RandomBits()
    assert fetched == []
    drawn = [random_bits(160) for _ in range(250)]
    octets = b"".join(one.to_bytes(20, "big") for one in drawn)
    whole = len(fetched[0]) // 20 * 20
    assert b"".join(one[:whole] for one in fetched).startswith(octets)
    assert len(fetched) == -(-len(octets) // whole)


def test_no_value_is_given_to_two_threads() -> None:
    random_bits = RandomBits()
    together = threading.Barrier(8)
    drawn: list[list[int]] = []

    def draw() -> None:
        together.wait(20)
        drawn.append([random_bits(128) for _ in range(4000)])

    threads = [threading.Thread(target=draw) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [one for own in drawn for one in own]
    assert len(every) == 32_000
    assert len(set(every)) == len(every)


def test_two_generators_share_nothing() -> None:
    one, other = RandomBits(), RandomBits()
    assert {one(128) for _ in range(100)}.isdisjoint({other(128) for _ in range(100)})


def _drawn_in_child(random_bits: RandomBits, count: int) -> set[int]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, b"".join(random_bits(128).to_bytes(16, "big") for _ in range(count)))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        drawn = pipe.read()
    os.waitpid(child, 0)
    assert len(drawn) == 16 * count
    return {int.from_bytes(drawn[at : at + 16], "big") for at in range(0, len(drawn), 16)}


def test_a_forked_child_draws_other_bits() -> None:
    random_bits = RandomBits()
    random_bits(128)  # more was fetched than this
    children = [_drawn_in_child(random_bits, 100) for _ in range(2)]
    own = {random_bits(128) for _ in range(100)}
    assert len(own | children[0] | children[1]) == 300


def test_a_child_that_is_forked_while_a_thread_draws_draws_all_the_same() -> None:
    random_bits = RandomBits()
    with random_bits._lock:
        assert len(_drawn_in_child(random_bits, 10)) == 10
