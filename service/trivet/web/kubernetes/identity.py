"""Who asks, as Kubernetes names users: from an access token or a client certificate; else nobody in particular."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from trivet.authority.access import Role
from trivet.pki.errors import AuthenticationError
from trivet.pki.pem import from_der
from trivet.pki.subjects import names_of
from trivet.web.authentication import authenticated, limit_address
from trivet.web.kubernetes.status import StatusError
from trivet.web.tls import PEER_CERTIFICATE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from trivet.authority.access import Requester
    from trivet.web.authentication import Caller

_AUTHENTICATED: Final = "system:authenticated"
_CREDENTIAL: Final = "authentication.kubernetes.io/credential-id"


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
        StatusError: what they present is not known (401), as a real server has it.
        RateLimitedError: too often.
    """
    presents = "authorization" in request.headers or request.scope.get(PEER_CERTIFICATE) is not None
    if not presents:
        limit_address(request)
        return _ANONYMOUS
    try:
        caller = await authenticated(request)
    except AuthenticationError as error:
        raise StatusError(401, "Unauthorized", f"Unauthorized: {error.detail}") from error
    return user_of(caller)


def user_of(caller: Caller) -> User:
    """The user that a requester is: CN and O of a certificate; for a token its id, and its role as a group."""
    requester = caller.requester
    if requester.role is Role.HOLDER and requester.certificate is not None:
        return _holder(caller, requester.certificate.der)
    name = f"trivet:{requester.name}"
    return User(name, (f"trivet:{requester.role}", _AUTHENTICATED), _uid(requester), caller=caller)


def _holder(caller: Caller, der: bytes) -> User:
    names = names_of(from_der(der))
    # As kube-apiserver tells it (authentication/request/x509), by which a certificate is known to webhooks.
    credential = f"X509SHA256={hashlib.sha256(der).hexdigest()}"
    groups = (*names.organizations, _AUTHENTICATED)
    return User(names.common_name, groups, extra={_CREDENTIAL: (credential,)}, caller=caller)


def _uid(requester: Requester) -> str:
    return str(requester.token_id) if requester.token_id is not None else ""
