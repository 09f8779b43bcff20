"""When a certificate should be renewed."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.clock import START

from trivet.pki.renewal import (
    EarlyRenewal,
    certificate_id,
    early_window,
    parse_certificate_id,
    poll_after,
    spread,
    suggested_window,
)
from trivet.pki.validity import Validity

SERIALS = st.integers(1, (1 << 159) - 1)
LIVES = st.timedeltas(timedelta(minutes=15), timedelta(days=400))
WISHES = st.timedeltas(timedelta(0), timedelta(days=4))
SECOND = timedelta(seconds=1)


def test_the_windows_of_a_fleet_that_was_made_at_once_are_spread_evenly() -> None:
    # Ten thousand certificates of one moment: of twenty equal parts of the spread none has 20 % more than its share.
    jitter = Random(1)  # noqa: S311
    validity = Validity(START, START + timedelta(days=4))
    starts = [
        suggested_window(validity, position=spread(jitter.getrandbits(159))).not_before - START
        for _ in range(10_000)
    ]
    first, last = min(starts), max(starts)
    counts = [0] * 20
    for start in starts:
        counts[min(19, int((start - first) / (last - first) * 20))] += 1
    assert last - first > timedelta(hours=7)
    assert max(counts) < 1.2 * 10_000 / 20
    assert min(counts) > 0.8 * 10_000 / 20


@given(SERIALS, LIVES)
def test_a_window_lies_within_its_share_of_any_life(serial: int, life: timedelta) -> None:
    validity = Validity(START, START + life)
    window = suggested_window(validity, position=spread(serial))
    assert START + life * 0.62 - SECOND <= window.not_before <= window.not_after
    assert window.not_after <= min(START + life * 0.72 + SECOND, validity.not_after)


@given(
    SERIALS,
    LIVES,
    st.timedeltas(timedelta(0), timedelta(days=4)),
    st.timedeltas(-timedelta(days=9), timedelta(days=9)),
)
def test_a_wish_makes_a_window_no_later_and_concerns_only_what_was_issued_before(
    serial: int, life: timedelta, over: timedelta, since: timedelta
) -> None:
    regular = suggested_window(Validity(START, START + life), position=spread(serial))
    wish = EarlyRenewal(START + since, START + since + over)
    window = early_window(regular, START, spread(serial), [wish])
    if since <= timedelta(0):
        assert window == regular
        return
    assert window.not_before <= regular.not_before
    if window != regular:
        assert wish.asked_at - SECOND <= window.not_before
        assert window.not_after <= max(wish.ends_at, wish.asked_at + timedelta(minutes=1)) + SECOND


@given(LIVES)
def test_what_was_replaced_is_to_be_renewed_at_once(life: timedelta) -> None:
    window = suggested_window(Validity(START, START + life), START + life / 2)
    assert window.not_before < window.not_after <= START + life / 2


@given(LIVES)
def test_whoever_asks_again_as_told_hears_of_a_revocation_within_the_hour(life: timedelta) -> None:
    assert timedelta(minutes=1) <= poll_after(Validity(START, START + life)) <= timedelta(hours=1)


@given(st.binary(min_size=1, max_size=32), SERIALS)
def test_a_certificate_is_found_again_by_the_name_that_it_is_given(
    key_identifier: bytes, serial: int
) -> None:
    found = parse_certificate_id(certificate_id(key_identifier, serial))
    assert (found.key_identifier, int(found.serial, 16)) == (key_identifier, serial)


@given(st.text(max_size=250).filter(lambda text: text.count(".") != 1))
def test_what_is_no_such_name_is_refused_in_plain_words(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 9773"):
        parse_certificate_id(text)


@given(st.text(max_size=250))
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    with suppress(ValueError):
        assert parse_certificate_id(text).key_identifier
