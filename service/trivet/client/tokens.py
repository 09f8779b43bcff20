"""Access tokens and audit records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from trivet.client.pages import each

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trivet.client.connection import Connection
    from trivet.client.schemas import CreatedToken, Token


@dataclass(frozen=True, slots=True)
class Tokens:
    """The operations on access tokens."""

    connection: Connection

    def create(
        self,
        role: str,
        *,
        description: str | None = None,
        cluster: str | None = None,
        expires_in_seconds: int | None = None,
        signer_names: Sequence[str] | None = None,
    ) -> CreatedToken:
        """Make a token; its secret is in this answer and nowhere else."""
        wanted = {
            "role": role,
            "description": description,
            "cluster": cluster,
            "expiresInSeconds": expires_in_seconds,
            "signerNames": signer_names or None,
        }
        given = {key: value for key, value in wanted.items() if value is not None}
        return cast("CreatedToken", self.connection.call("POST", "tokens", json=given))

    def list(self, limit: int | None = None) -> Iterator[Token]:
        """Tokens, oldest first."""
        return each(self.connection, "tokens", limit=limit)

    def get(self, token: str) -> Token:
        """One token by its id."""
        return cast("Token", self.connection.call("GET", f"tokens/{quote(token, safe='')}"))

    def delete(self, token: str) -> None:
        """Make a token worthless."""
        self.connection.send("DELETE", f"tokens/{quote(token, safe='')}")
