"""The service's own HTTPS certificate: issued at start, renewed while serving."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from trivet.authority.install import issue_service_certificate
from trivet.authority.metrics import measures
from trivet.client.keys import build_request, new_key
from trivet.pki.keys import KeyAlgorithm
from trivet.pki.pem import from_der, to_pem
from trivet.pki.validity import validity_of
from trivet.web.tls import ServerTls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from trivet.authority.context import Authority
    from trivet.web.tls import ServerKey

_RENEWED_AFTER = 2 / 3  # of the lifetime, as agents do


class HttpsCertificate:
    """A certificate and key that live in this process's memory only: every worker has its own."""

    def __init__(self, authority: Authority, host_names: Sequence[str]) -> None:
        """Issue the first one.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        self._authority = authority
        self._host_names = host_names
        chain, key, self.renewal_due = self._issue()
        self.tls = ServerTls(chain, key)

    def renew(self) -> datetime:
        """Issue the next one and use it from the next handshake on; connections that are open go on.

        Returns:
            when to do so again.

        Raises:
            UnavailableError: the database cannot be reached; the former certificate stays in use.
        """
        chain, key, self.renewal_due = self._issue()
        self.tls.load(chain, key)
        return self.renewal_due

    def _issue(self) -> tuple[bytes, ServerKey, datetime]:
        key = new_key(KeyAlgorithm.P384)
        request = build_request(key, common_name="trivet", hosts=self._host_names)
        issued = issue_service_certificate(self._authority, request)
        certificate = from_der(issued.stored.der)
        validity = validity_of(certificate)
        lifetime = validity.not_after - self._authority.clock()
        due = validity.not_after - max(lifetime, timedelta()) * (1 - _RENEWED_AFTER)
        measures.https_certificate(validity.not_after, validity.not_after - validity.not_before)
        return to_pem([certificate]), key, due
