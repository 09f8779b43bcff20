"""The judgement alone, where no mark in the database stands before it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from tests.support import rows
from tests.support.clock import START
from tests.support.revocation_objects import entry
from tests.support.signing_requests import key_hash
from tests.support.world import World

from trivet.authority.issuance.case import Draft
from trivet.authority.issuance.judge import banned, identity_of, judge, voucher_of
from trivet.pki.judgement import compared_keys
from trivet.pki.revocation import Entry, EntryKind
from trivet.store.certificates import StoredCertificate
from trivet.store.clusters import ALL_CLUSTERS
from trivet.store.revocations import StandingEntry

NOW = START + timedelta(days=1)
NAMES = rows.names("system:node:node-1", ("system:nodes",))


@pytest.fixture
def current(world: World) -> StoredCertificate:
    """Give a certificate that was issued a day ago, with key 0."""
    return world.issue().stored


def _standing(current: StoredCertificate, *entries: Entry, scope: UUID | None = None) -> list[StandingEntry]:
    assert current.cluster_id is not None
    return list(rows.stored_revocation(scope or current.cluster_id, *entries).entries)


def _draft(current: StoredCertificate | None) -> Draft:
    identity = identity_of(NAMES, key_hash(1), current)
    voucher = voucher_of(current) if current else None
    return Draft(NAMES, "node-1", identity, compared_keys(identity, voucher), voucher)


def _ban(current: StoredCertificate, *standing: StandingEntry, is_renewal: bool = True) -> Entry | None:
    assert current.cluster_id is not None
    renewed = current if is_renewal else None
    _, ban = judge(_draft(renewed), current.cluster_id, standing, NOW)
    return ban.entry if ban else None


@pytest.mark.parametrize(
    ("not_before", "bans_renewal", "bans_issuance"),
    [
        (None, True, True),
        (START - timedelta(seconds=1), False, False),
        (START, False, False),
        (START + timedelta(seconds=1), True, False),
        (NOW, True, False),
        (NOW + timedelta(microseconds=1), True, True),
    ],
    ids=str,
)
def test_a_renewal_is_judged_as_an_existing_certificate_and_as_an_issuance(
    current: StoredCertificate, not_before: datetime | None, *, bans_renewal: bool, bans_issuance: bool
) -> None:
    wanted = entry(EntryKind.GROUP, "system:nodes", not_before)
    (standing,) = _standing(current, wanted)
    assert (_ban(current, standing) == wanted) is bans_renewal
    assert (_ban(current, standing, is_renewal=False) == wanted) is bans_issuance


def test_the_old_key_and_serial_ban_the_renewal_though_the_new_ones_differ(
    current: StoredCertificate,
) -> None:
    for wanted in (
        entry(EntryKind.PUBLIC_KEY, key_hash(0)),
        entry(EntryKind.SERIAL_NUMBER, current.serial),
        entry(EntryKind.SERIAL_NUMBER, current.serial, include_renewed=False),
    ):
        (standing,) = _standing(current, wanted)
        assert _ban(current, standing) == wanted
        assert _ban(current, standing, is_renewal=False) is None


def test_a_cut_off_before_the_current_ones_issue_does_not_reach_the_new_one(
    current: StoredCertificate,
) -> None:
    (standing,) = _standing(current, entry(EntryKind.SERIAL_NUMBER, current.serial, START))
    assert _ban(current, standing) is None


def test_only_the_cluster_itself_and_all_clusters_count(current: StoredCertificate) -> None:
    wanted = entry(EntryKind.GROUP, "system:nodes")
    (everywhere,) = _standing(current, wanted, scope=ALL_CLUSTERS)
    (elsewhere,) = _standing(current, wanted, scope=rows.new_id())
    assert _ban(current, everywhere) == wanted
    assert _ban(current, elsewhere) is None


def test_the_first_ban_in_order_of_objects_and_places_is_the_reason(current: StoredCertificate) -> None:
    entries = [entry(EntryKind.GROUP, "system:nodes"), entry(EntryKind.COMMON_NAME, "system:node:node-1")]
    first, second = _standing(current, *entries)
    assert _ban(current, second, first) == first.entry
    assert _ban(current, replace(first, object_name="z"), second) == second.entry


def test_all_that_shares_a_key_is_considered_in_order_and_nothing_else(current: StoredCertificate) -> None:
    assert current.cluster_id is not None
    standing = _standing(
        current,
        entry(EntryKind.GROUP, "system:nodes", START),
        entry(EntryKind.GROUP, "others"),
        entry(EntryKind.COMMON_NAME, "system:node:node-1"),
    )
    considered, ban = judge(_draft(None), current.cluster_id, standing[::-1], NOW)
    assert [(one["value"], one["matched"], one["notBefore"]) for one in considered] == [
        ("system:nodes", False, "2026-11-24T12:00:00.250000+00:00"),
        ("system:node:node-1", True, None),
    ]
    assert ban == standing[2]


@pytest.mark.parametrize(
    ("not_before", "is_renewal", "way_out"),
    [
        (None, False, "set one or delete it"),
        (NOW, True, "ask for a new certificate"),
        (NOW, False, "is issued before 2026-11-25T12:00:00Z"),
    ],
)
def test_the_refusal_names_the_entry_and_the_way_out(
    current: StoredCertificate, not_before: datetime | None, way_out: str, *, is_renewal: bool
) -> None:
    (standing,) = _standing(current, entry(EntryKind.GROUP, "system:nodes", not_before))
    detail = banned(standing, is_renewal=is_renewal).detail
    assert "Group 'system:nodes'" in detail
    assert "kube-system/object" in detail
    assert way_out in detail
