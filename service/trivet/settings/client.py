"""Settings of whoever talks to the service: the table [client]."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr

from trivet.settings.layers import LayeredSettings


class ClientSettings(LayeredSettings):
    """Where the service is, whom it is known by, and who asks.

    Attributes:
        url: of the service, as `https://trivet.example:8443`.
        ca_file: PEM certificates that the service's own is checked against; the system's where it is not set.
        token: an access token.
        token_file: a file that holds it.
        certificate_file: a client certificate, PEM.
        key_file: its private key.
        cluster: the cluster that is meant where none is named.
    """

    TABLE: ClassVar[str] = "client"
    PATHS: ClassVar[frozenset[str]] = frozenset({"ca_file", "token_file", "certificate_file", "key_file"})
    EITHER: ClassVar[tuple[frozenset[str], ...]] = (frozenset({"token", "token_file", "certificate_file"}),)

    url: str = Field(pattern=r"^https?://[^/]")
    ca_file: Path | None = None
    token: SecretStr | None = None
    token_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    cluster: str | None = None
