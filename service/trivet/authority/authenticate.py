"""Who is asking by an access token, or by one of the tokens that are used once or for a while."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trivet.authority.access import Requester, Role
from trivet.authority.approval.bootstrap_requester import by_bootstrap_token
from trivet.authority.metrics import measures
from trivet.pki.bootstrap import parse_bootstrap_token
from trivet.pki.errors import AuthenticationError
from trivet.store import repair_tokens, tokens

if TYPE_CHECKING:
    from datetime import datetime

    from trivet.authority.context import Authority
    from trivet.store.repair_tokens import RepairToken
    from trivet.store.tokens import Token

REPAIR_PREFIX = "trivet-repair_"
TOKEN_PREFIX = "trivet_"  # noqa: S105  lets secret scanners know one when they see it
_TOKEN = re.compile(rf"{TOKEN_PREFIX}[A-Za-z0-9_-]{{43}}")
_REPAIR_TOKEN = re.compile(rf"{REPAIR_PREFIX}[A-Za-z0-9_-]{{43}}")


def authenticate_token(authority: Authority, secret: str, request_id: str | None = None) -> Requester:
    """Find the requester who holds an access token, a one-time token of a repair, or a bootstrap token.

    Raises:
        AuthenticationError: malformed, unknown or expired.
    """
    if secret.startswith(REPAIR_PREFIX):
        return _by_repair_token(authority, secret, request_id)
    if (bootstrap := parse_bootstrap_token(secret)) is not None:
        return by_bootstrap_token(authority, bootstrap, request_id)
    secret_hash = _hash_of(authority, secret)
    with authority.database.read() as connection:
        token = tokens.find_by_hash(connection, secret_hash)
    if token is None:
        measures.authentication_failed("unknown")
        authority.memory.tokens.forget(secret_hash)
        message = "the access token is unknown or was deleted; ask an administrator for a new one"
        raise AuthenticationError(message)
    authority.memory.tokens.put(secret_hash, token)
    return _requester(authority, token, request_id)


def recognise_token(authority: Authority, secret: str, request_id: str | None = None) -> Requester | None:
    """Find the requester without a look into the database, if this process has seen the token before.

    For what is decided by `issue_all` only, which looks again whether the token still stands.

    Raises:
        AuthenticationError: malformed or expired.
    """
    if secret.startswith(REPAIR_PREFIX) or parse_bootstrap_token(secret) is not None:
        return None  # used once or so: there is nothing to remember
    token = authority.memory.tokens.get(_hash_of(authority, secret))
    return _requester(authority, token, request_id) if token is not None else None


def _by_repair_token(authority: Authority, secret: str, request_id: str | None) -> Requester:
    """Whoever has a one-time token. Whether it still holds is asked again in the transaction that issues."""
    if not _REPAIR_TOKEN.fullmatch(secret):
        measures.authentication_failed("malformed")
        message = f"the one-time token is malformed; it looks like {REPAIR_PREFIX}… and has 57 characters"
        raise AuthenticationError(message)
    with authority.database.read() as connection:
        token = repair_tokens.find(connection, authority.key_encryption_key.token_hash(secret))
    if token is None:
        measures.authentication_failed("unknown")
        message = "the one-time token is unknown; ask an administrator for another: trivet repair token CLUSTER NODE"
        raise AuthenticationError(message)
    try:
        check_token_window(token, authority.clock())
    except AuthenticationError:
        measures.authentication_failed("expired")
        raise
    return Requester(
        f"repair-token:{token.id}",
        Role.REPAIR,
        token.window.cluster_id,
        request_id=request_id,
        expires_at=token.window.ends_at,
        repair_token=token.id,
    )


def check_token_window(token: RepairToken, now: datetime) -> None:
    """Refuse a one-time token whose repair window is over.

    Raises:
        AuthenticationError: it is.
    """
    window = token.window
    if window.is_open(now):
        return
    ended = window.closed_at or window.ends_at
    message = (
        f"the repair window {window.id}, which this one-time token belongs to, was over at"
        f" {ended:%Y-%m-%dT%H:%M:%SZ}; an administrator opens another and makes another token"
    )
    raise AuthenticationError(message)


def _hash_of(authority: Authority, secret: str) -> str:
    if not _TOKEN.fullmatch(secret):
        measures.authentication_failed("malformed")
        message = (
            f"the bearer token is malformed; an access token looks like {TOKEN_PREFIX}… and has 50 characters"
        )
        raise AuthenticationError(message)
    return authority.key_encryption_key.token_hash(secret)


def _requester(authority: Authority, token: Token, request_id: str | None) -> Requester:
    if token.expires_at is not None and token.expires_at <= authority.clock():
        measures.authentication_failed("expired")
        message = f"the access token expired at {token.expires_at:%Y-%m-%dT%H:%M:%SZ}; ask for a new one"
        raise AuthenticationError(message)
    return Requester(
        f"token:{token.id}",
        Role(token.role),
        token.cluster_id,
        request_id=request_id,
        expires_at=token.expires_at,
        token_id=token.id,
        signer_names=token.signer_names,
    )
