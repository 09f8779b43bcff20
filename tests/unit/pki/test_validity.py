from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.pki.samples import NOW, root

from trivet.pki.errors import ExpiredError, InvalidError
from trivet.pki.profiles import FOUR_DAYS
from trivet.pki.renewal import suggested_window
from trivet.pki.validity import BACKDATE, SHORTEST, Validity, plan_validity, validity_of

SECOND = timedelta(seconds=1)
ISSUER = Validity(NOW - timedelta(days=1), NOW + timedelta(days=3649))


def test_a_leaf_lives_four_days_by_default_of_which_five_minutes_are_past() -> None:
    validity = plan_validity(NOW, None, FOUR_DAYS, ISSUER)
    assert validity.not_before == NOW - timedelta(minutes=5)
    assert validity.lifetime == timedelta(days=4)


def test_a_request_may_ask_for_less_but_never_for_more_than_the_profile_allows() -> None:
    assert plan_validity(NOW, timedelta(days=1), FOUR_DAYS, ISSUER).lifetime == timedelta(days=1)
    assert plan_validity(NOW, timedelta(days=400), FOUR_DAYS, ISSUER).lifetime == FOUR_DAYS


def test_backdating_is_taken_out_of_a_long_lifetime_and_added_to_a_short_one() -> None:
    long = plan_validity(NOW, timedelta(hours=8), FOUR_DAYS, ISSUER)
    assert long.not_after == NOW + timedelta(hours=8) - BACKDATE
    short = plan_validity(NOW, timedelta(hours=8) - SECOND, FOUR_DAYS, ISSUER)
    assert short.not_after == NOW + timedelta(hours=8) - SECOND
    assert short.not_before == NOW - BACKDATE


def test_the_floor_is_600_seconds() -> None:
    assert plan_validity(NOW, SHORTEST, FOUR_DAYS, ISSUER).not_after == NOW + timedelta(seconds=600)
    for requested in (SHORTEST - SECOND, timedelta(0), timedelta(days=-1)):
        with pytest.raises(InvalidError, match="at least 600 seconds"):
            plan_validity(NOW, requested, FOUR_DAYS, ISSUER)


def test_a_leaf_never_outlives_its_issuer_nor_is_older() -> None:
    issuer = Validity(NOW - timedelta(minutes=1), NOW + timedelta(days=1))
    assert plan_validity(NOW, None, FOUR_DAYS, issuer) == issuer


def test_an_issuer_that_ends_within_the_floor_issues_nothing() -> None:
    issuer = Validity(ISSUER.not_before, NOW + SHORTEST)
    assert plan_validity(NOW, None, FOUR_DAYS, issuer).not_after == issuer.not_after
    with pytest.raises(ExpiredError, match="rotate the authority"):
        plan_validity(NOW + SECOND, None, FOUR_DAYS, issuer)


def test_an_issuer_outside_its_validity_issues_nothing() -> None:
    for issuer in (
        Validity(NOW - timedelta(days=2), NOW - SECOND),
        Validity(NOW + SECOND, NOW + timedelta(days=2)),
    ):
        with pytest.raises(ExpiredError, match="set the clock right"):
            plan_validity(NOW, None, FOUR_DAYS, issuer)


def test_the_backdating_can_be_configured() -> None:
    for backdate in (timedelta(0), timedelta(hours=1)):
        assert plan_validity(NOW, None, FOUR_DAYS, ISSUER, backdate).not_before == NOW - backdate


def test_times_have_whole_seconds_whatever_is_asked() -> None:
    odd = timedelta(seconds=7200, microseconds=7)
    validity = plan_validity(NOW + timedelta(microseconds=999_999), odd, FOUR_DAYS, ISSUER, odd)
    assert validity == Validity(NOW - timedelta(seconds=7201), NOW + timedelta(seconds=7200))


def test_both_ends_belong_to_a_validity() -> None:
    validity = Validity(NOW, NOW + SECOND)
    assert validity.contains(NOW)
    assert validity.contains(NOW + SECOND * 1.999)
    assert not validity.contains(NOW - timedelta(microseconds=1))
    assert not validity.contains(NOW + 2 * SECOND)


def test_the_validity_of_a_certificate_is_what_it_states() -> None:
    certificate, _ = root()
    assert validity_of(certificate).not_before == NOW - BACKDATE
    assert validity_of(certificate).lifetime == timedelta(days=3650)


def test_renewal_is_suggested_around_two_thirds_of_the_lifetime() -> None:
    validity = plan_validity(NOW, None, FOUR_DAYS, ISSUER)
    first, middle, last = (suggested_window(validity, position=place) for place in (0.0, 0.5, 1.0))
    assert first.not_before == validity.not_before + timedelta(days=4) * 0.62
    assert middle.contains(validity.not_before + timedelta(days=4) * 2 / 3)
    assert last.not_after == validity.not_before + timedelta(days=4) * 0.72
    assert {window.lifetime for window in (first, middle, last)} == {timedelta(days=4) * 0.02}


def test_renewal_of_what_was_replaced_is_suggested_for_the_past() -> None:
    replaced_at = NOW + timedelta(hours=1, microseconds=5)
    window = suggested_window(plan_validity(NOW, None, FOUR_DAYS, ISSUER), replaced_at)
    assert window.not_before < window.not_after <= replaced_at
    assert window.not_after == NOW + timedelta(hours=1)
