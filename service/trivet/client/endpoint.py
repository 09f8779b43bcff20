"""Where the service is, whom it is known by, and who asks."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

import httpx

from trivet.client.errors import LocalError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the service is, whom it is known by, and who asks. The repr shows no secret.

    Attributes:
        url: of the service, without `/api/v1`.
        ca_file: PEM certificates that the service's own is checked against; the system's where it is None.
        token: an access token.
        certificate_file: a client certificate (PEM, may hold its chain) for mTLS.
        key_file: its private key; None where `certificate_file` holds it.
        timeout: seconds to wait for an answer.
        patience: seconds in all to wait and try again where the service asks for that.
    """

    url: str
    ca_file: Path | None = None
    token: str | None = field(default=None, repr=False)
    certificate_file: Path | None = None
    key_file: Path | None = None
    timeout: float = 30.0
    patience: float = 30.0


def credentials(endpoint: Endpoint) -> dict[str, str]:
    """The header that says who asks.

    Raises:
        LocalError: the token is none, or would travel in clear.
    """
    if endpoint.token is None:
        return {}
    refuse_clear(endpoint.url)
    if not endpoint.token.isascii() or not endpoint.token.isprintable():
        message = "the access token holds characters that no token has"
        raise LocalError(message)
    return {"Authorization": f"Bearer {endpoint.token}"}


def refuse_clear(url: str) -> None:
    """Refuse to give a token to a server that it would travel to in clear.

    Raises:
        LocalError: it would.
    """
    if not url.startswith("https:") and not _is_loopback(httpx.URL(url).host):
        message = f"an access token is not sent in clear to {url}; use https"
        raise LocalError(message)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def trust(endpoint: Endpoint) -> ssl.SSLContext:
    """TLS as the endpoint wants it.

    Raises:
        LocalError: a file cannot be read, or does not hold what it should.
    """
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file)
    except (OSError, ssl.SSLError) as error:
        message = f"the service's CA {endpoint.ca_file} cannot be used: {_reason(error)}"
        raise LocalError(message) from error
    if endpoint.certificate_file is not None:
        try:
            context.load_cert_chain(endpoint.certificate_file, endpoint.key_file)
        except (OSError, ssl.SSLError) as error:
            files = " with ".join(
                str(file) for file in (endpoint.certificate_file, endpoint.key_file) if file
            )
            message = f"the client certificate {files} cannot be used: {_reason(error)}"
            raise LocalError(message) from error
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "it is not PEM, or the key belongs to another certificate"
    return error.strerror or str(error)


def why_unreachable(endpoint: Endpoint, error: httpx.TransportError) -> str:
    """What to tell people about a connection that failed."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            known = f"the CA in {endpoint.ca_file}" if endpoint.ca_file else "the system (no ca_file is set)"
            return f"the certificate of {endpoint.url} is not trusted by {known}: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    return f"{endpoint.url} cannot be reached: {error}; does `trivet serve` run there?"
