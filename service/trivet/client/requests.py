"""Certificate requests that a rule or an approver approves."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from trivet.client.clusters import cluster_path
from trivet.client.pages import each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trivet.client.connection import Connection
    from trivet.client.request_schemas import CertificateRequest
    from trivet.client.schemas import Certificate

DECIDED: Final = frozenset({"issued", "denied", "failed"})
"""The states in which a request stays."""

_PKCS10 = "application/pkcs10"
_JSON = {"Accept": "application/json"}
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0


@dataclass(frozen=True, slots=True)
class Requests:
    """The operations on certificate requests."""

    connection: Connection

    def submit(
        self,
        cluster: str,
        profile: str,
        csr: bytes,
        *,
        node: str | None = None,
        name: str | None = None,
        expiration_seconds: int | None = None,
    ) -> CertificateRequest:
        """Submit a CSR (PEM or DER); where a rule approves it the answer has its certificate already."""
        query = {"profile": profile, "node": node, "name": name, "expirationSeconds": expiration_seconds}
        answer = self.connection.call("POST", _path(cluster), query=query, body=(_PKCS10, csr))
        return cast("CertificateRequest", answer)

    def list(
        self, cluster: str, *, limit: int | None = None, **filters: str | None
    ) -> Iterator[CertificateRequest]:
        """Requests, newest first.

        Args:
            cluster: its name.
            limit: how many at most.
            filters: `state`, `profile`, `node`, `username`; all must hold.
        """
        return each(self.connection, _path(cluster), filters, limit)

    def get(self, cluster: str, name: str) -> CertificateRequest:
        """One request by its name."""
        return cast("CertificateRequest", self.connection.call("GET", _path(cluster, name)))

    def wait(
        self,
        cluster: str,
        name: str,
        seconds: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> CertificateRequest:
        """Ask until the request is issued, denied or failed, or the time is over; the request as it is then."""
        deadline, pause = monotonic() + seconds, _FIRST_PAUSE
        while True:
            found = self.get(cluster, name)
            left = deadline - monotonic()
            if found["state"] in DECIDED or left <= 0:
                return found
            sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def approve(self, cluster: str, name: str, reason: str | None = None) -> CertificateRequest:
        """Approve a request; it comes back issued, or failed where issuing was refused."""
        return self._decide(cluster, name, "approve", reason)

    def deny(self, cluster: str, name: str, reason: str | None = None) -> CertificateRequest:
        """Deny a request for good."""
        return self._decide(cluster, name, "deny", reason)

    def _decide(self, cluster: str, name: str, verb: str, reason: str | None) -> CertificateRequest:
        given = {"reason": reason} if reason is not None else {}
        answer = self.connection.call("POST", _path(cluster, name, verb), json=given)
        return cast("CertificateRequest", answer)

    def delete(self, cluster: str, name: str) -> None:
        """Remove a request."""
        self.connection.send("DELETE", _path(cluster, name))

    def certificate(self, cluster: str, name: str) -> Certificate:
        """The certificate that was issued for a request."""
        path = _path(cluster, name, "certificate")
        return cast("Certificate", self.connection.call("GET", path, headers=_JSON))


def _path(cluster: str, *below: str) -> str:
    return cluster_path(cluster, "certificate-requests", *below)
