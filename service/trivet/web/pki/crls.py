"""CRLs where the cRLDistributionPoints of a certificate say that they are (RFC 5280 section 4.2.1.13)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from trivet.authority.status.published import crl_octets, newest_crl
from trivet.pki.errors import NotFoundError, UnavailableError
from trivet.pki.locations import COMPLETE, MOST_SHARDS, Shard
from trivet.pki.pem import crl_pem
from trivet.web.pki.answers import PEM, Representation, answer, has_it, wants_pem
from trivet.web.pki.routes import ISSUER, Published
from trivet.web.routes import PlainRoute

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import Response

    from trivet.store.crls import Crl

CRL: Final = "application/pkix-crl"  # RFC 2585 section 4.2
FRESH_SECONDS: Final = 60
"""How long a cache may give out a CRL: as long as a revocation may go unnoticed behind it."""

_KEPT_OCTETS: Final = 64 * 1024 * 1024
_TRIES: Final = 3


class Kept:
    """The octets of CRLs that were asked for last, up to so many in all; safe to share between threads."""

    def __init__(self, most: int = _KEPT_OCTETS) -> None:
        """Keep nothing yet."""
        self._most = most
        self._bodies: OrderedDict[tuple[str, bool], bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, sha256: str, *, as_pem: bool) -> bytes | None:
        """The octets of a CRL by the digest of its DER, if they are kept."""
        with self._lock:
            body = self._bodies.get((sha256, as_pem))
            if body is not None:
                self._bodies.move_to_end((sha256, as_pem))
            return body

    def put(self, sha256: str, body: bytes, *, as_pem: bool) -> None:
        """Keep the octets of a CRL, and forget those that nobody asked for the longest time."""
        with self._lock:
            if len(body) > self._most or (sha256, as_pem) in self._bodies:
                return
            self._bodies[sha256, as_pem] = body
            self._size += len(body)
            while self._size > self._most:
                _, oldest = self._bodies.popitem(last=False)
                self._size -= len(oldest)


@dataclass(frozen=True, slots=True)
class PublishedCrls:
    """The routes of CRLs; each gives an answer to a request."""

    published: Published
    kept: Kept = field(default_factory=Kept)

    async def crl(self, request: Request) -> Response:
        """The newest CRL: DER, or PEM for who asks for that."""
        return await self._answer(request, _shard(request), as_pem=wants_pem(request, CRL))

    async def crl_as_pem(self, request: Request) -> Response:
        """The newest CRL as PEM."""
        return await self._answer(request, _shard(request), as_pem=True)

    async def _answer(self, request: Request, shard: Shard, *, as_pem: bool) -> Response:
        authority, offload = self.published.authority, self.published.offload
        issuer = await self.published.issuer(request)
        for _ in range(_TRIES):
            crl = await offload(newest_crl, authority, issuer, shard)
            found = _representation(crl, authority.clock(), as_pem=as_pem)
            if has_it(request, found):
                return answer(request, found, b"")
            body = self.kept.get(crl.sha256, as_pem=as_pem) or await offload(self._read, crl, as_pem=as_pem)
            if body is not None:
                return answer(request, found, body)
        message = "the CRL changes faster than it can be read; try again in a moment"
        raise UnavailableError(message)

    def _read(self, crl: Crl, *, as_pem: bool) -> bytes | None:
        der = crl_octets(self.published.authority, crl)
        if der is None:
            return None
        body = crl_pem(der) if as_pem else der
        self.kept.put(crl.sha256, body, as_pem=as_pem)
        return body


def crl_routes(published: Published) -> list[PlainRoute]:
    """The routes of complete CRLs and of shards."""
    crls = PublishedCrls(published)
    shard = f"{ISSUER}/{{number:int}}-of-{{shards:int}}.crl"
    return [
        PlainRoute(f"{ISSUER}.crl", crls.crl, methods=["GET"]),
        PlainRoute(f"{ISSUER}.crl.pem", crls.crl_as_pem, methods=["GET"]),
        PlainRoute(shard, crls.crl, methods=["GET"]),
        PlainRoute(f"{shard}.pem", crls.crl_as_pem, methods=["GET"]),
    ]


def _shard(request: Request) -> Shard:
    wanted: dict[str, Any] = request.path_params
    if "shards" not in wanted:
        return COMPLETE
    number, shards = wanted["number"], wanted["shards"]
    if not 1 <= number <= shards <= MOST_SHARDS or shards == 1:
        message = f"there is no part {str(number)[:20]} of {str(shards)[:20]}"
        raise NotFoundError(message)
    return Shard(number, shards)


def _representation(crl: Crl, now: datetime, *, as_pem: bool) -> Representation:
    left = int((crl.next_update - now).total_seconds())
    return Representation(
        PEM if as_pem else CRL,
        f"{crl.sha256}{'-pem' if as_pem else ''}",
        crl.published_at,
        max(0, min(FRESH_SECONDS, left)),
    )
