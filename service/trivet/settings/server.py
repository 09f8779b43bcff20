"""Settings of the service: the table [server]."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from trivet.pki.locations import MOST_SHARDS
from trivet.pki.subjects import parse_host
from trivet.settings.layers import LayeredSettings

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8443
DEFAULT_HTTP_PORT: Final = 8480
_LONGEST_URL: Final = 200
_EIGHT_HOURS: Final = 8 * 60 * 60


_MOST_WORKERS: Final = 8  # SQLite has one writer; who has more cores for it says so


def usable_cores() -> int:
    """How many cores this process may use, up to eight."""
    return min(len(os.sched_getaffinity(0)), _MOST_WORKERS)


class ServerSettings(LayeredSettings):
    """What `trivet serve` and the commands next to it (`db`, `doctor`) work with.

    Attributes:
        database_url: `sqlite:////path/to/trivet.db` or `postgresql://…`.
        key_encryption_key: Base64 of 32 bytes; from the environment only.
        key_encryption_key_file: a file that holds it.
        host: the address to listen on.
        port: the port to listen on.
        workers: how many processes answer; by default one for each core that this service may use.
        engine: what verifies and makes signatures: `cryptography` (OpenSSL), or `aws-lc` (`trivet[fast]`).
        tls: HTTPS; plain HTTP is for a proxy on the same machine that ends TLS.
        names: host names and addresses in the service's own certificate; empty for `host_names`' default.
        backdate_seconds: how far notBefore lies before the time of issue.
        lockout_guard: warn of a revocation that locks out a control plane, or refuse it.
        retention_days: how long a certificate is kept after it expired; its serial and decision stay for good.
        repair_expired_days: how long ago a certificate may have expired that renews in a repair window.
        hold_revoked_nodes: a node whose certificate was revoked by serial number or key needs an approver to come back.
        pin_inventory: a node's first serving request says what names and addresses it owns.
        prune: what becomes of a month's partition then (PostgreSQL): dropped, or detached to be archived.
        http_port: a second port, for `/pki` over plain HTTP (RFC 5280 section 8 wants no HTTPS there); none if unset.
        pki_base_url: what stands before `/pki/…` in certificates; unset, they say nothing of CRLs and OCSP.
        crl_hours: how long a CRL is good for; the next one is made after a quarter of that, or at a revocation.
        crl_shards: in how many parts the CRL of each authority is split for the certificates issued from now on.
        ocsp: whether certificates name an OCSP responder.
        authorize_fresh_seconds: how old what API servers are told of revoked certificates may be.
        authorize_stale_seconds: how old it may be while the database cannot be read.
        authorize_when_stale: what they are told of client certificates beyond that: deny, or no-opinion.
        metrics_public: `/metrics` without an access token.
        metrics_per_cluster: series carry the name of their cluster; installations of thousands leave it out.
        rate_per_second: requests a second that one requester may send in the long run.
        burst: requests that one requester may send at once.
        log_level: the least level that is logged.
        checkpoint_seconds: how often what was decided is sealed by a signed checkpoint.
        trace_endpoint: where traces of issuing, renewing and revoking go, by OTLP over HTTP; None for nowhere.
        trace_share: of how many requests a trace is kept.
        shutdown_seconds: how long requests in flight may take when the service ends.
    """

    TABLE: ClassVar[str] = "server"
    SECRET: ClassVar[frozenset[str]] = frozenset({"key_encryption_key"})
    PATHS: ClassVar[frozenset[str]] = frozenset({"key_encryption_key_file"})
    EITHER: ClassVar[tuple[frozenset[str], ...]] = (SECRET | PATHS,)

    database_url: SecretStr
    key_encryption_key: SecretStr | None = None
    key_encryption_key_file: Path | None = None
    host: str = Field(default=DEFAULT_HOST, min_length=1)
    port: int = Field(default=DEFAULT_PORT, ge=1, le=65535)
    workers: int = Field(default_factory=usable_cores, ge=1, le=256)
    engine: Literal["cryptography", "aws-lc"] = "cryptography"
    tls: bool = True
    names: Annotated[tuple[str, ...], NoDecode] = ()
    backdate_seconds: int = Field(default=300, ge=0, lt=_EIGHT_HOURS)
    lockout_guard: Literal["warn", "refuse"] = "warn"
    retention_days: int = Field(default=90, ge=1, le=36_500)
    repair_expired_days: int = Field(default=400, ge=1, le=3_650)
    hold_revoked_nodes: bool = True
    pin_inventory: bool = False
    prune: Literal["drop", "detach"] = "drop"
    http_port: int | None = Field(default=None, ge=1, le=65535)
    pki_base_url: str | None = None
    crl_hours: int = Field(default=72, ge=1, le=24 * 366)
    crl_shards: int = Field(default=1, ge=1, le=MOST_SHARDS)
    ocsp: bool = True
    authorize_fresh_seconds: float = Field(default=1.0, ge=0.2, le=60)
    authorize_stale_seconds: int = Field(default=300, ge=0, le=86_400)
    authorize_when_stale: Literal["deny", "no-opinion"] = "deny"
    metrics_public: bool = False
    metrics_per_cluster: bool = True
    rate_per_second: float = Field(default=50, gt=0)
    burst: int = Field(default=200, ge=1)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    checkpoint_seconds: int = Field(default=60, ge=1, le=86_400)
    trace_endpoint: str | None = Field(default=None, pattern="^https?://")
    trace_share: float = Field(default=0.1, ge=0, le=1)
    shutdown_seconds: int = Field(default=30, ge=1)

    @field_validator("names", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(name.strip() for name in value.split(",") if name.strip())

    @field_validator("names")
    @classmethod
    def _are_hosts(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(parse_host(name)) for name in names)

    @field_validator("pki_base_url")
    @classmethod
    def _is_base_url(cls, text: str | None) -> str | None:
        return None if text is None else base_url(text)

    def host_names(self) -> tuple[str, ...]:
        """The names of the service's own certificate: those set, or this machine's usual ones."""
        return self.names or usual_names(self.host)

    def url(self) -> str:
        """Where a client on this machine finds the service."""
        return service_url(self.host, self.port, tls=self.tls)


def base_url(text: str) -> str:
    """A URL that paths can be put behind, without the slash at its end.

    Raises:
        ValueError: it is none; certificates would carry it for as long as they live.
    """
    plain = text.strip().rstrip("/")
    found = urlsplit(plain)
    if (
        found.scheme not in {"http", "https"}
        or not found.hostname
        or found.query
        or found.fragment
        or "@" in plain
    ):
        raise ValueError("must be a URL like http://pki.example.org, without a query")
    if not plain.isascii() or not plain.isprintable() or " " in plain or len(plain) > _LONGEST_URL:
        raise ValueError(f"must be at most {_LONGEST_URL} printable ASCII characters without blanks")
    parse_host(found.hostname)
    _ = found.port  # raises where it is no number
    return plain


def usual_publication(host: str, port: int, http_port: int | None = None) -> dict[str, object]:
    """Settings by which a service that is tried out publishes CRLs.

    Whoever can reach a loopback address finds them there. A service for others needs a name that outlives its host,
    which nobody but the operator knows.
    """
    if http_port is None and port == DEFAULT_PORT:
        http_port = DEFAULT_HTTP_PORT
    if not http_port or not is_loopback(host):
        return {}
    return {"http_port": http_port, "pki_base_url": service_url(host, http_port, tls=False)}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def usual_names(host: str) -> tuple[str, ...]:
    """The names of a service on this machine that listens on `host`."""
    names = ("localhost", "127.0.0.1", "::1", socket.gethostname(), host)
    return tuple(dict.fromkeys(filter(_is_host, names)))


def service_url(host: str, port: int, *, tls: bool) -> str:
    """Where a client on this machine finds a service that listens there."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not bound
    bracketed = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{bracketed}:{port}"


def _is_host(name: str) -> bool:
    try:
        return not ipaddress.ip_address(name).is_unspecified
    except ValueError:
        pass
    try:
        parse_host(name)
    except ValueError:
        return False
    return True
