"""Access tokens: made once, shown once, stored as a keyed hash."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from trivet.authority import record
from trivet.authority.access import TOKEN_ROLES, Permission, Requester, Role, authorize
from trivet.authority.authenticate import TOKEN_PREFIX
from trivet.pki.errors import Fault, InvalidError, NotFoundError
from trivet.store import clusters, tokens
from trivet.store.tokens import Token

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority

_SECRET_BITS = 256


def create_token(  # noqa: PLR0913  what a token has
    authority: Authority,
    requester: Requester,
    *,
    role: Role,
    description: str = "",
    cluster: str | None = None,
    lifetime: timedelta | None = None,
) -> tuple[Token, str]:
    """Make a token; the second value is its secret, which cannot be had again.

    Raises:
        AccessDeniedError: an administrator of one cluster may make tokens for that cluster only.
        InvalidError: the role is not for tokens.
    """
    if role not in TOKEN_ROLES:
        message = f"a token has one of the roles {', '.join(TOKEN_ROLES)}"
        raise InvalidError(message, Fault("/role", message))
    secret = TOKEN_PREFIX + _base64url(authority.random_bits(_SECRET_BITS))
    with authority.database.write() as connection:
        now = authority.clock()
        scope = clusters.get(connection, cluster).id if cluster is not None else None
        authorize(requester, Permission.WRITE_TOKEN, scope, now)
        expires_at = now + lifetime if lifetime is not None else None
        token = Token(authority.new_id(now), description, role.value, scope, now, requester.name, expires_at)
        tokens.add(connection, token, authority.key_encryption_key.token_hash(secret))
        record.change(authority, connection, requester, "token.create", str(token.id), scope, {"role": role.value})
    return token, secret


def _base64url(bits: int) -> str:
    return base64.urlsafe_b64encode(bits.to_bytes(_SECRET_BITS // 8)).rstrip(b"=").decode()


def list_tokens(authority: Authority, requester: Requester, after: UUID | None, limit: int) -> list[Token]:
    """Tokens, oldest first, without their secrets; those of one cluster for its own administrators."""
    with authority.database.read() as connection:
        authorize(requester, Permission.READ_TOKEN, requester.cluster_id, authority.clock())
        return tokens.page(connection, requester.cluster_id, after, limit)


def get_token(authority: Authority, requester: Requester, token_id: UUID) -> Token:
    """One token, without its secret.

    Raises:
        NotFoundError: there is none of that id.
    """
    with authority.database.read() as connection:
        return _found(connection, requester, Permission.READ_TOKEN, token_id, authority.clock())


def delete_token(authority: Authority, requester: Requester, token_id: UUID) -> None:
    """Make a token worthless from the next request on.

    Raises:
        NotFoundError: there is none of that id.
    """
    with authority.database.write() as connection:
        token = _found(connection, requester, Permission.WRITE_TOKEN, token_id, authority.clock())
        tokens.remove(connection, token.id)
        record.change(authority, connection, requester, "token.delete", str(token.id), token.cluster_id, {})


def _found(
    connection: Connection, requester: Requester, permission: Permission, token_id: UUID, now: datetime
) -> Token:
    authorize(requester, permission, requester.cluster_id, now)
    token = tokens.find(connection, token_id)
    if token is None or requester.cluster_id not in {None, token.cluster_id}:
        message = f"there is no token {token_id}"
        raise NotFoundError(message)
    return token
