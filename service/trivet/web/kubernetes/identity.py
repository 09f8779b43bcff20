"""Who asks, as Kubernetes names users: from an access token or a client certificate; else nobody in particular."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from trivet.authority.approval.person import submitted_by
from trivet.pki.errors import AuthenticationError
from trivet.web.authentication import authenticated, limit_address
from trivet.web.kubernetes.status import StatusError
from trivet.web.tls import PEER_CERTIFICATE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request
    from starlette.types import Scope

    from trivet.web.authentication import Caller

CREDENTIAL_ID: Final = "authentication.kubernetes.io/credential-id"
_IMPERSONATE: Final = b"impersonate-"
X509_CREDENTIAL: Final = "X509SHA256="
"""How kube-apiserver (authentication/request/x509) tells of a certificate; its SHA-256 in hexadecimal follows."""


@dataclass(frozen=True, slots=True)
class User:
    """A user as Kubernetes has them; `caller` is None for anonymous ones."""

    name: str
    groups: Sequence[str]
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)
    caller: Caller | None = None

    def shown(self) -> dict[str, Any]:
        """As v1.UserInfo."""
        told: dict[str, Any] = {"username": self.name, "groups": list(self.groups)}
        told |= {"uid": self.uid} if self.uid else {}
        return told | (
            {"extra": {key: list(values) for key, values in self.extra.items()}} if self.extra else {}
        )


_ANONYMOUS: Final = User("system:anonymous", ("system:unauthenticated",))


async def identify(request: Request) -> User:
    """Whoever asks.

    Raises:
        StatusError: what they present is not known (401), as a real server has it; or they ask as somebody else (403).
        RateLimitedError: too often.
    """
    refuse_impersonation(request.scope)
    presents = "authorization" in request.headers or request.scope.get(PEER_CERTIFICATE) is not None
    if not presents:
        limit_address(request)
        return _ANONYMOUS
    try:
        caller = await authenticated(request)
    except AuthenticationError as error:
        raise StatusError(401, "Unauthorized", f"Unauthorized: {error.detail}") from error
    return user_of(caller)


def refuse_impersonation(scope: Scope) -> None:
    """Refuse who asks to be taken for somebody else (`kubectl --as`): as themselves they may do more than they meant.

    Raises:
        StatusError: 403.
    """
    for header, _ in scope["headers"]:
        if header.lower().startswith(_IMPERSONATE):
            name = header[:80].decode("latin-1")
            message = f"impersonation is not offered here: ask as yourself, without the header {name!r}"
            raise StatusError(403, "Forbidden", message)


def user_of(caller: Caller) -> User:
    """The user that a requester is, as certificate requests name them too; with what tells the credential."""
    requester = caller.requester
    submitted = submitted_by(requester)
    uid = str(requester.token_id) if requester.token_id is not None else ""
    extra: dict[str, Sequence[str]] = {}
    if requester.certificate is not None:
        extra[CREDENTIAL_ID] = (X509_CREDENTIAL + hashlib.sha256(requester.certificate.der).hexdigest(),)
    return User(submitted.username, submitted.groups, uid, extra, caller)
