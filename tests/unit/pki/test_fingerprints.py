from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from trivet.pki.fingerprints import DIGEST_BYTES, KEPT_AFTER_END, Fingerprints

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
# Of few different bytes, so that many share a bucket, and the end of one with the beginning of the next makes a third.
DIGESTS = st.lists(st.sampled_from([b"\0", b"\1"]), min_size=DIGEST_BYTES, max_size=DIGEST_BYTES).map(
    b"".join
)


@given(held=st.lists(DIGESTS, max_size=20), asked=st.lists(DIGESTS, max_size=5))
def test_it_holds_what_was_added_and_nothing_else(held: list[bytes], asked: list[bytes]) -> None:
    found = Fingerprints()
    for digest in held:
        found.add(digest, NOW)
    assert len(found) == len(set(held))
    for digest in [*held, *asked]:
        assert (digest in found) is (digest in held)


def test_the_end_of_one_and_the_beginning_of_the_next_are_no_third() -> None:
    first, second = b"ab" + b"x" * 28 + b"ab", b"ab" + b"y" * 30
    between = (first + second)[30:62]
    found = Fingerprints()
    found.add(first, NOW)
    found.add(second, NOW)
    assert between[:2] == b"ab"
    assert between not in found
    found.add(between, NOW)
    assert between in found
    assert len(found) == 3


def test_a_fingerprint_stays_for_a_day_after_its_certificate_ended() -> None:
    found = Fingerprints()
    digest = bytes(range(DIGEST_BYTES))
    found.add(digest, NOW)
    found.forget_ended(NOW + KEPT_AFTER_END)
    assert digest in found
    found.forget_ended(NOW + KEPT_AFTER_END + timedelta(days=1))
    assert digest not in found
    assert len(found) == 0


def test_what_a_clock_that_was_ahead_forgot_may_be_lacking() -> None:
    found = Fingerprints()
    assert not found.lack(NOW)
    found.forget_ended(NOW)
    found.forget_ended(NOW - timedelta(days=7))
    assert not found.lack(NOW)
    assert not found.lack(NOW - timedelta(minutes=1)), "clocks are set right by a little"
    assert found.lack(NOW - timedelta(minutes=1, seconds=1))


class Disturbed(int):
    """A day; while it is decided whether it stays, something happens."""

    happens: Callable[[], None]

    def __ge__(self, other: int) -> bool:
        self.happens()
        return super().__ge__(other)


def test_nothing_is_lost_that_is_added_while_something_else_is_forgotten() -> None:
    found, added = Fingerprints(), bytes(DIGEST_BYTES)
    adding = threading.Thread(target=found.add, args=(added, NOW))

    def add() -> None:
        adding.start()
        adding.join(0.2)  # or it waits until the other is over

    day = Disturbed(0)
    day.happens = add
    found._days = ((day, {}),)
    found.forget_ended(NOW)
    adding.join()
    assert added in found
    assert len(found) == 1


def test_a_hundred_thousand_take_less_than_a_hundred_bytes_each() -> None:
    random, count = Random(1), 100_000  # noqa: S311  not for secrets
    digests = [random.randbytes(DIGEST_BYTES) for _ in range(count)]
    tracemalloc.start()
    found = Fingerprints()
    for digest in digests:
        found.add(digest, NOW)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == count
    assert taken / count < 100, taken / count
