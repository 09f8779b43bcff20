from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.pki.errors import ExpiredError, InvalidError
from trivet.pki.renewal import suggested_window
from trivet.pki.validity import SHORTEST, Validity, plan_validity

START = datetime(2026, 11, 24, tzinfo=UTC)
spans = st.timedeltas(timedelta(0), timedelta(days=20))
moments = spans.map(START.__add__)
seconds = st.integers(0, 20 * 86400).map(lambda count: START + timedelta(seconds=count))
issuers = st.tuples(seconds, seconds).map(lambda ends: Validity(min(ends), max(ends)))


@given(
    now=moments,
    requested=st.none() | spans,
    longest=st.timedeltas(SHORTEST, timedelta(days=10)),
    issuer=issuers,
    backdate=st.timedeltas(timedelta(0), timedelta(hours=7)),
)
@settings(max_examples=500)
def test_a_planned_validity_holds_now_and_keeps_every_bound(
    now: datetime, requested: timedelta | None, longest: timedelta, issuer: Validity, backdate: timedelta
) -> None:
    try:
        planned = plan_validity(now, requested, longest, issuer, backdate)
    except (InvalidError, ExpiredError):
        return
    granted = min(requested or longest, longest)
    assert issuer.not_before <= planned.not_before <= now <= planned.not_after <= issuer.not_after
    assert planned.not_after <= now + granted
    assert planned.lifetime <= granted + backdate + timedelta(seconds=1)
    assert planned.not_before.microsecond == planned.not_after.microsecond == 0


@given(issuers, st.none() | moments)
def test_a_renewal_window_lies_within_the_lifetime_or_in_the_past(
    validity: Validity, replaced_at: datetime | None
) -> None:
    window = suggested_window(validity, replaced_at)
    assert window.not_before <= window.not_after
    if replaced_at is None:
        assert validity.not_before <= window.not_before
        assert window.not_after <= validity.not_after
    else:
        assert window.not_after <= replaced_at
