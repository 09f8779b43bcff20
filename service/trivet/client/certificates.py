"""Certificates and the decisions behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from trivet.client.clusters import cluster_path
from trivet.client.pages import each

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trivet.client.connection import Connection
    from trivet.client.schemas import Certificate, Decision, RenewalInfo

_JSON = {"Accept": "application/json"}
_PKCS10, _JWT = "application/pkcs10", "application/jwt"


@dataclass(frozen=True, slots=True)
class Certificates:
    """The operations on certificates."""

    connection: Connection

    def issue(
        self,
        cluster: str,
        profile: str,
        csr: bytes,
        *,
        node: str | None = None,
        expiration_seconds: int | None = None,
        idempotency_key: str | None = None,
    ) -> Certificate:
        """Ask for a certificate for a CSR (PEM or DER)."""
        query = {"profile": profile, "node": node, "expirationSeconds": expiration_seconds}
        headers = _JSON | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
        path = cluster_path(cluster, "certificates")
        answer = self.connection.call("POST", path, query=query, body=(_PKCS10, csr), headers=headers)
        return cast("Certificate", answer)

    def renew(
        self,
        cluster: str,
        csr: bytes,
        *,
        expiration_seconds: int | None = None,
        idempotency_key: str | None = None,
    ) -> Certificate:
        """Renew the client certificate of this connection, for a CSR with the new key.

        Under the same `idempotency_key` the same request gives the same certificate, also where the first answer
        was lost.
        """
        query = {"expirationSeconds": expiration_seconds}
        path = cluster_path(cluster, "certificates", "renew")
        headers = _JSON if idempotency_key is None else _JSON | {"Idempotency-Key": idempotency_key}
        answer = self.connection.call("POST", path, query=query, body=(_PKCS10, csr), headers=headers)
        return cast("Certificate", answer)

    def renew_by_message(self, cluster: str, message: str) -> Certificate:
        """Renew by a message that the current key signed (`pki.possession.sign_renewal_message`)."""
        path = cluster_path(cluster, "certificates", "renew")
        answer = self.connection.call("POST", path, body=(_JWT, message.encode()), headers=_JSON)
        return cast("Certificate", answer)

    def list(self, cluster: str, *, limit: int | None = None, **filters: str | None) -> Iterator[Certificate]:
        """Find certificates, newest first.

        Args:
            cluster: its name.
            limit: how many at most.
            filters: `serial`, `cn`, `group`, `dns`, `dnsSuffix`, `ip`, `profile`, `authority`, `status`,
                `notAfterBefore`, `issuedAfter`; all must hold.
        """
        return each(self.connection, cluster_path(cluster, "certificates"), filters, limit)

    def get(self, cluster: str, serial: str) -> Certificate:
        """One certificate by its serial number."""
        path = cluster_path(cluster, "certificates", serial)
        return cast("Certificate", self.connection.call("GET", path, headers=_JSON))

    def decision(self, cluster: str, serial: str) -> Decision:
        """The decision behind a certificate."""
        path = cluster_path(cluster, "certificates", serial, "decision")
        return cast("Decision", self.connection.call("GET", path))

    def renewal_information(self, cluster: str, serial: str) -> RenewalInfo:
        """When a certificate should be renewed."""
        path = cluster_path(cluster, "certificates", serial, "renewal-info")
        return cast("RenewalInfo", self.connection.call("GET", path))


@dataclass(frozen=True, slots=True)
class Decisions:
    """The operations on decision records."""

    connection: Connection

    def get(self, decision: str) -> Decision:
        """One decision by its id, as a refusal names it."""
        return cast("Decision", self.connection.call("GET", f"decisions/{quote(decision, safe='')}"))
