"""Whoever has a bootstrap token: how they are known, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trivet.authority.access import Requester, Role
from trivet.authority.metrics import measures
from trivet.pki.bootstrap import DEFAULT_GROUP, BootstrapUsage
from trivet.pki.errors import AuthenticationError
from trivet.store import bootstrap_tokens

if TYPE_CHECKING:
    from datetime import datetime

    from trivet.authority.context import Authority
    from trivet.pki.bootstrap import BootstrapToken
    from trivet.store.bootstrap_tokens import StoredBootstrapToken

USER_PREFIX: Final = "system:bootstrap:"
"""Before the token's id: the name of its user in Kubernetes (bootstrapapi.BootstrapUserPrefix)."""

ANOTHER: Final = "an administrator makes another: trivet bootstrap-token create"
_NAME_PREFIX: Final = "bootstrap:"


def by_bootstrap_token(authority: Authority, token: BootstrapToken, request_id: str | None) -> Requester:
    """The requester who has the token. Whether it still holds is asked again in the transaction that issues.

    Raises:
        AuthenticationError: it is unknown, deleted, expired, or not for authentication.
    """
    secret_hash = authority.key_encryption_key.token_hash(f"{token.id}.{token.secret}")
    with authority.database.read() as connection:
        stored = bootstrap_tokens.find_by_hash(connection, secret_hash)
    try:
        stored = check_token(stored, authority.clock())
    except AuthenticationError:
        measures.authentication_failed("unknown" if stored is None else "expired")
        raise
    return Requester(
        name_of(stored.id),
        Role.BOOTSTRAP,
        stored.cluster_id,
        request_id=request_id,
        expires_at=stored.expires_at,
        bootstrap_token=stored,
    )


def check_token(token: StoredBootstrapToken | None, now: datetime) -> StoredBootstrapToken:
    """The token, if it lets anybody in now.

    Raises:
        AuthenticationError: it was deleted, has expired, or is not for authentication.
    """
    if token is None:
        message = f"the bootstrap token is unknown or was deleted; {ANOTHER}"
        raise AuthenticationError(message)
    if token.expires_at <= now:
        message = (
            f"the bootstrap token {token.id} expired at {token.expires_at:%Y-%m-%dT%H:%M:%SZ}; {ANOTHER}"
        )
        raise AuthenticationError(message)
    if BootstrapUsage.AUTHENTICATION not in token.usages:
        message = (
            f"the bootstrap token {token.id} is not for authentication (its usages: {', '.join(token.usages)});"
            f" {ANOTHER}"
        )
        raise AuthenticationError(message)
    return token


def name_of(token_id: str) -> str:
    """The name of a token's bearer in records."""
    return _NAME_PREFIX + token_id


def groups_of(token: StoredBootstrapToken) -> tuple[str, ...]:
    """The groups of a token's bearer in Kubernetes."""
    return tuple(dict.fromkeys((DEFAULT_GROUP, *token.groups)))
