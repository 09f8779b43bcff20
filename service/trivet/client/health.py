"""Whether the service answers, and with which certificate."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from cryptography import x509

if TYPE_CHECKING:
    from datetime import datetime

    import httpx

    from trivet.client.connection import Connection


@dataclass(frozen=True, slots=True)
class Health:
    """What a probe found.

    Attributes:
        certificate: the service's own; None over plain HTTP.
        date: the service's clock, to the second.
    """

    certificate: x509.Certificate | None
    date: datetime | None


@dataclass(frozen=True, slots=True)
class Probes:
    """The operations that need no authentication and lie outside of `/api/v1`."""

    connection: Connection
    url: str

    def ready(self) -> Health:
        """Ask whether the service can do its work.

        Raises:
            ProblemError: it answers, but its database does not.
        """
        answer = self.connection.send("GET", f"{self.url.rstrip('/')}/readyz")
        date = answer.headers.get("Date")
        return Health(_certificate(answer), parsedate_to_datetime(date) if date else None)


def _certificate(answer: httpx.Response) -> x509.Certificate | None:
    stream = answer.extensions.get("network_stream")
    over_tls = stream.get_extra_info("ssl_object") if stream else None
    # An ssl.SSLSocket's getpeercert takes no keyword.
    der = over_tls.getpeercert(True) if over_tls else None  # noqa: FBT003
    return x509.load_der_x509_certificate(der) if der else None
