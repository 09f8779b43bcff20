"""Access tokens: made once, shown once, stored as a keyed hash."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING

from trivet.authority import once, record
from trivet.authority.access import TOKEN_ROLES, Permission, Requester, Role, authorize, authorized_cluster
from trivet.authority.authenticate import TOKEN_PREFIX
from trivet.pki.documents import MAX_TEXT
from trivet.pki.errors import ConflictError, Fault, InvalidError, NotFoundError
from trivet.pki.kubernetes import PROFILES_BY_SIGNER
from trivet.pki.names import is_plain
from trivet.store import tokens
from trivet.store.tokens import Token

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority

_SECRET_BITS = 256


def create_token(
    authority: Authority,
    requester: Requester,
    *,
    role: Role,
    description: str = "",
    cluster: str | None = None,
    lifetime: timedelta | None = None,
    signer_names: Sequence[str] = (),
    idempotency_key: str | None = None,
) -> tuple[Token, str]:
    """Make a token; the second value is its secret, which cannot be had again.

    Raises:
        AccessDeniedError: an administrator of one cluster may make tokens for that cluster only.
        ConflictError: a token was made under this Idempotency-Key before; its secret cannot be shown again.
        InvalidError: the role is not for tokens or not for all clusters, the lifetime is none, the description cannot
            be stored, or there is no such signer.
    """
    _check(role, description, cluster, lifetime)
    signers = _checked_signers(role, signer_names)
    secret = TOKEN_PREFIX + _base64url(authority.random_bits(_SECRET_BITS))
    with authority.database.write() as connection:
        now = authority.clock()
        scope = _scope(connection, requester, cluster, now)
        expires_at = _earliest(now + lifetime if lifetime is not None else None, requester.expires_at)
        token = Token(
            authority.new_id(now), description, role.value, scope, now, requester.name, expires_at, signers
        )
        asked = once.fingerprint("token.create", role, description, cluster, lifetime, *signers)
        earlier = once.take(connection, requester, idempotency_key, asked, str(token.id), now)
        if earlier is not None:
            message = f"the token {earlier} was made under this Idempotency-Key; delete it and make another"
            raise ConflictError(message)
        tokens.add(connection, token, authority.key_encryption_key.token_hash(secret))
        record.change(
            authority,
            connection,
            requester,
            "token.create",
            str(token.id),
            scope,
            {"role": role.value} | ({"signerNames": list(signers)} if signers else {}),
        )
    return token, secret


def _check(role: Role, description: str, cluster: str | None, lifetime: timedelta | None) -> None:
    if role not in TOKEN_ROLES:
        message = f"a token has one of the roles {', '.join(TOKEN_ROLES)}"
        raise InvalidError(message, Fault("/role", message))
    if role is Role.SIGNER and cluster is None:
        # It lies in a Secret of one cluster, and must be worth nothing for others.
        message = f"a token of the role {role} is for one cluster; name it"
        raise InvalidError(message, Fault("/cluster", message))
    if lifetime is not None and lifetime <= timedelta(0):
        message = "a token's lifetime is more than nothing"
        raise InvalidError(message, Fault("/expiresInSeconds", message))
    if len(description) > MAX_TEXT or not is_plain(description):
        message = f"a description is one line of at most {MAX_TEXT} characters"
        raise InvalidError(message, Fault("/description", message))


def _checked_signers(role: Role, names: Sequence[str]) -> tuple[str, ...]:
    """The signers whose requests an approver decides; an administrator decides all and could make another token."""
    wrong = [name for name in names if name not in PROFILES_BY_SIGNER]
    if wrong:
        message = f"there is no signer {wrong[0][:80]!r}; choose of {', '.join(PROFILES_BY_SIGNER)}"
        raise InvalidError(message, Fault("/signerNames", message))
    if names and role is not Role.APPROVER:
        message = f"signer names are for the role {Role.APPROVER} only"
        raise InvalidError(message, Fault("/signerNames", message))
    return tuple(dict.fromkeys(names))


def _scope(connection: Connection, requester: Requester, cluster: str | None, now: datetime) -> UUID | None:
    if cluster is None:
        authorize(requester, Permission.WRITE_TOKEN, None, now)
        return None
    return authorized_cluster(connection, requester, Permission.WRITE_TOKEN, cluster, now).id


def _earliest(wanted: datetime | None, own: datetime | None) -> datetime | None:
    # A token that was stolen for its last minutes must not make itself a successor.
    return min(filter(None, (wanted, own)), default=None)


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
