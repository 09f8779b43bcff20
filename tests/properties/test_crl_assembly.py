"""A CRL that is assembled is what cryptography's builder makes, octet for octet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.properties import strategies
from tests.properties.test_assembly import ISSUER_KINDS, edges, issuers, moments
from tests.unit.pki.samples import NOW, PrivateKey

from trivet.pki.crl import CrlPlan, assemble_crl, check_crl, crl_of, is_signed_by
from trivet.pki.crl_entries import (
    Entries,
    RevokedEntry,
    check_entries,
    encode_entry,
    revoked_entry,
)
from trivet.pki.keys import signature_algorithm
from trivet.pki.locations import StatusLocations
from trivet.pki.reasons import FLAGS, ReasonCode
from trivet.pki.revocation import Entry, EntryKind
from trivet.pki.serials import SERIAL_BITS

A_URL = "http://pki.example.org/pki/blue/cluster/0a/1-of-2.crl"
serials = st.integers(1, 2**SERIAL_BITS - 1) | st.integers(1, 2**17)
entries = st.builds(
    RevokedEntry,
    serials,
    moments | edges,
    st.none() | st.sampled_from(ReasonCode),
    st.none() | moments | edges,
)


def reference(plan: CrlPlan, listed: list[RevokedEntry], key: PrivateKey) -> x509.CertificateRevocationList:
    builder = x509.CertificateRevocationListBuilder(
        plan.issuer.subject, plan.this_update, plan.next_update
    ).add_extension(x509.AuthorityKeyIdentifier(plan.issuer.key_identifier, None, None), critical=False)
    builder = builder.add_extension(x509.CRLNumber(plan.number), critical=False)
    if plan.distribution_points:
        names = [x509.UniformResourceIdentifier(url) for url in plan.distribution_points]
        point = x509.IssuingDistributionPoint(
            names,
            relative_name=None,
            only_contains_user_certs=False,
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        )
        builder = builder.add_extension(point, critical=True)
    for entry in listed:
        builder = builder.add_revoked_certificate(revoked(entry))
    return builder.sign(key, signature_algorithm(key.public_key()).digest)


def revoked(entry: RevokedEntry) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder(entry.serial, entry.revoked_at)
    if entry.reason is not None:
        builder = builder.add_extension(x509.CRLReason(FLAGS[entry.reason]), critical=False)
    if entry.invalid_since is not None:
        moment = entry.invalid_since.replace(tzinfo=None)
        builder = builder.add_extension(x509.InvalidityDate(moment), critical=False)
    return builder.build()


def check_same(plan: CrlPlan, listed: list[RevokedEntry], key: PrivateKey) -> None:
    encoded = [encode_entry(entry) for entry in listed]
    check_entries(listed, encoded)
    octets = Entries()
    octets.add((NOW, one) for one in encoded)
    expected = reference(plan, listed, key)
    assembled = assemble_crl(plan, octets)
    assert assembled.tbs == expected.tbs_certlist_bytes
    signed = crl_of(assembled, plan.issuer.algorithm, expected.signature)
    assert signed.der == expected.public_bytes(Encoding.DER)
    check_crl(plan, signed, assembled, len(listed), key.public_key())
    assert is_signed_by(signed.der, key.public_key())
    assert signed.der[signed.entries_offset : signed.entries_offset + octets.size] == b"".join(encoded)


@pytest.mark.parametrize("number", range(len(ISSUER_KINDS) + 1))
@pytest.mark.parametrize("count", [0, 1, 3, 300])
def test_both_ways_give_the_same_octets_for_every_issuer_and_size(number: int, count: int) -> None:
    issuer, key = issuers()[number]
    listed = [RevokedEntry(serial, NOW) for serial in range(1, count + 1)]
    for points in ((), (A_URL,), (A_URL, A_URL.replace("example", "example2"))):
        check_same(CrlPlan(issuer, NOW, NOW + timedelta(days=3), 2**62, points), listed, key)


@given(
    number=st.sampled_from([0, 2, 3, 5]),
    begin=moments | edges,
    lifetime=st.timedeltas(timedelta(seconds=1), timedelta(days=3650)),
    crl_number=st.integers(1, 2**63 - 1),
    locations=st.none() | strategies.status_locations,
    listed=st.lists(entries, max_size=20),
)
@settings(max_examples=200)
def test_both_ways_give_the_same_octets_for_any_plan(
    number: int,
    begin: datetime,
    lifetime: timedelta,
    crl_number: int,
    locations: StatusLocations | None,
    listed: list[RevokedEntry],
) -> None:
    issuer, key = issuers()[number]
    begin = min(begin, datetime(9980, 1, 1, tzinfo=UTC))
    end = begin + timedelta(seconds=lifetime // timedelta(seconds=1))
    points = () if locations is None else (locations.crl,)
    check_same(CrlPlan(issuer, begin, end, crl_number, points), listed, key)


@given(entries, st.data())
def test_an_entry_that_says_something_else_is_found(entry: RevokedEntry, data: st.DataObject) -> None:
    other = data.draw(
        st.sampled_from(
            [
                replace(entry, serial=entry.serial + 1),
                replace(entry, revoked_at=entry.revoked_at - timedelta(seconds=1)),
                replace(entry, reason=None if entry.reason else ReasonCode.SUPERSEDED),
                replace(entry, invalid_since=None if entry.invalid_since else NOW),
            ]
        )
        if entry.revoked_at.year > 1950
        else st.just(replace(entry, serial=entry.serial + 1))
    )
    with pytest.raises(Exception, match="entries of a CRL"):
        check_entries([other], [encode_entry(entry)])


@given(strategies.entries(), serials, moments, st.timedeltas(timedelta(days=-9), timedelta(days=9)))
def test_reason_and_invalidity_date_follow_from_what_revoked(
    revoking: Entry, serial: int, moment: datetime, earlier: timedelta
) -> None:
    moment = min(max(moment, datetime(1970, 1, 20, tzinfo=UTC)), datetime(9980, 1, 1, tzinfo=UTC))
    not_before = None if revoking.not_before is None else moment + earlier
    entry = revoked_entry(serial, moment, revoking.kind, not_before)
    (read,) = x509.load_der_x509_crl(_crl_of(entry))
    stated = {extension.oid: extension.value for extension in read.extensions}
    if revoking.kind is EntryKind.PUBLIC_KEY:
        assert stated.pop(x509.CRLReason.oid) == x509.CRLReason(x509.ReasonFlags.key_compromise)
    if not_before is not None and not_before < moment:
        date = stated.pop(x509.InvalidityDate.oid)
        assert isinstance(date, x509.InvalidityDate)
        assert date.invalidity_date_utc == not_before.replace(microsecond=0)
    # Neither `unspecified` (RFC 5280 section 5.3.1) nor anything else.
    assert stated == {}


def _crl_of(entry: RevokedEntry) -> bytes:
    issuer, key = issuers()[0]
    octets = Entries()
    octets.add([(NOW, encode_entry(entry))])
    plan = CrlPlan(issuer, NOW, NOW + timedelta(days=1), 1)
    signature = reference(plan, [entry], key).signature
    return crl_of(assemble_crl(plan, octets), issuer.algorithm, signature).der


@given(
    st.lists(st.tuples(st.integers(0, 10 * 60), serials), max_size=40),
    st.integers(0, 10 * 60),
    st.integers(0, 10 * 60),
)
def test_entries_go_by_the_minute_and_come_back_from_their_octets(
    listed: list[tuple[int, int]], first: int, second: int
) -> None:
    octets = Entries()
    expected: dict[datetime, list[bytes]] = {}
    for offset, serial in listed:
        not_after = NOW + timedelta(seconds=offset)
        encoded = encode_entry(RevokedEntry(serial, NOW))
        octets.add([(not_after, encoded)])
        expected.setdefault(not_after.replace(second=0), []).append(encoded)
    for cutoff in (NOW + timedelta(seconds=first), NOW + timedelta(seconds=second)):
        octets = Entries.restore(memoryview(b"".join(octets.chunks()) + b"more"), octets.layout())
        octets.drop_expired(cutoff)
        for minute in [known for known in expected if known + timedelta(minutes=1) <= cutoff]:
            del expected[minute]
        kept = [one for minute in sorted(expected) for one in expected[minute]]
        assert b"".join(octets.chunks()) == b"".join(kept)
        assert (octets.count, octets.size) == (len(kept), sum(map(len, kept)))
