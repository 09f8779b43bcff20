"""The rule by which a request is judged, and all that it looks at in a form that can be kept and read again.

Issuing applies it (`authority.issuance.judge`); whoever verifies the proof of a decision applies it again.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trivet.pki.names import DnsName, Names
from trivet.pki.revocation import Identity, entry_keys, identity_keys, matches, own_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trivet.pki.revocation import Entry, Key


@dataclass(frozen=True, slots=True)
class Voucher:
    """A certificate that vouches for a request: what it is compared by, and its true time of issue."""

    identity: Identity
    issued_at: datetime


def compared_keys(identity: Identity, voucher: Voucher | None) -> frozenset[Key]:
    """Under which keys the entries are found that could name a request."""
    keys = identity_keys(identity)
    if voucher is None:
        return keys
    # A renewal keeps its names, and so do the keys that come of them.
    if voucher.identity.names == identity.names:
        return keys | own_keys(voucher.identity)
    return keys | identity_keys(voucher.identity)


def comes_into_question(entry: Entry, keys: frozenset[Key]) -> bool:
    """Whether an entry is considered: it is found under one of the keys."""
    return not keys.isdisjoint(entry_keys(entry))


def bars(entry: Entry, identity: Identity, voucher: Voucher | None, now: datetime) -> bool:
    """Whether a standing entry bars a request that is decided now.

    The new certificate counts as issued now; the one that vouches for it as issued when it was.
    """
    if matches(entry, identity) and entry.covers(now):
        return True
    return voucher is not None and matches(entry, voucher.identity) and entry.covers(voucher.issued_at)


def described_identity(identity: Identity) -> dict[str, Any]:
    """The identity of a request as its decision record keeps it."""
    return {**_described_names(identity), "ancestors": sorted(identity.ancestors)}


def described_voucher(voucher: Voucher) -> dict[str, Any]:
    """The certificate that vouches for a request as the decision record keeps it."""
    issued_at = voucher.issued_at.astimezone(UTC).isoformat()
    return {
        **_described_names(voucher.identity),
        "serialNumbers": sorted(voucher.identity.serials),
        "issuedAt": issued_at,
    }


def _described_names(identity: Identity) -> dict[str, Any]:
    return {
        "commonName": identity.names.common_name,
        "organizations": list(identity.names.organizations),
        "dnsNames": list(identity.names.dns_names),
        "ipAddresses": [str(address) for address in identity.names.ip_addresses],
        "publicKeySha256": identity.spki_sha256,
    }


def read_identity(described: Mapping[str, Any]) -> Identity:
    """The identity that `described_identity` described.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    return Identity(
        _read_names(described), described["publicKeySha256"], ancestors=frozenset(described["ancestors"])
    )


def read_voucher(described: Mapping[str, Any]) -> Voucher:
    """The certificate that `described_voucher` described.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    serials = frozenset(described["serialNumbers"])
    identity = Identity(_read_names(described), described["publicKeySha256"], serials=serials)
    return Voucher(identity, datetime.fromisoformat(described["issuedAt"]))


def _read_names(described: Mapping[str, Any]) -> Names:
    return Names(
        described["commonName"],
        tuple(described["organizations"]),
        tuple(DnsName(name) for name in described["dnsNames"]),
        tuple(ipaddress.ip_address(text) for text in described["ipAddresses"]),
    )
