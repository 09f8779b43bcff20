"""Where the status of certificates is published: URLs that are stable for each key of an authority.

`/pki/{cluster}/{authority}/{ski}` stands before all of them; `ski` is the CA certificate's subjectKeyIdentifier in
lower-case hex. A certificate carries them for as long as it lives, so neither they nor `shard_of` may ever change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from trivet.pki.profiles import AuthorityName

PREFIX: Final = "/pki"
MOST_SHARDS: Final = 256


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of a partition of an authority's certificates; the only part where there is no partition.

    Attributes:
        number: of the part, from 1 to `of`.
        of: how many parts there are.
    """

    number: int = 1
    of: int = 1

    @property
    def is_complete(self) -> bool:
        """Whether it is all there is."""
        return self.of == 1


COMPLETE: Final = Shard()


@dataclass(frozen=True, slots=True)
class StatusLocations:
    """The URLs that a certificate carries.

    Attributes:
        issuer: of the CA certificate that signed it, for its authorityInfoAccess (caIssuers).
        crl: of the CRL, or the shard of it, that would name it, for its cRLDistributionPoints.
        ocsp: of the responder, for its authorityInfoAccess (ocsp); None where there is none.
    """

    issuer: str
    crl: str
    ocsp: str | None = None


def shard_of(serial: int, shards: int) -> Shard:
    """The part that a certificate belongs to. Serial numbers are random, so all parts grow alike."""
    return Shard(serial % shards + 1, shards)


def issuer_path(cluster: str, authority: AuthorityName, key_identifier: bytes) -> str:
    """Where everything about one key of an authority is found, without the ending."""
    return f"{PREFIX}/{cluster}/{authority.value}/{key_identifier.hex()}"


def crl_path(issuer: str, shard: Shard) -> str:
    """Where the CRL of an issuer's path is found, or a shard of it."""
    return f"{issuer}.crl" if shard.is_complete else f"{issuer}/{shard.number}-of-{shard.of}.crl"


def status_locations(base_url: str, issuer: str, shard: Shard, *, has_ocsp: bool) -> StatusLocations:
    """What a certificate carries whose issuer has that path."""
    return StatusLocations(
        f"{base_url}{issuer}.crt",
        f"{base_url}{crl_path(issuer, shard)}",
        f"{base_url}{issuer}/ocsp" if has_ocsp else None,
    )
