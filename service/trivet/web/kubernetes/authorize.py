"""`POST /kubernetes/{cluster}/authorize`: the authorization webhook of API servers, for revoked client certificates.

An API server asks here before each request that came with a client certificate (docs/kube-apiserver.md). So this is
plain ASGI with nothing around it, as OCSP is: no context, no line in the log, no histogram; answers are counted
(`trivet_access_reviews_total`).
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from starlette.requests import Request

from trivet.authority.memory import Remembered
from trivet.authority.metrics import measures
from trivet.authority.review import NO_OPINION, admit_reviewer, review
from trivet.pki.errors import AuthenticationError, RateLimitedError, Refusal, UnavailableError
from trivet.web.kubernetes.access_reviews import presented_in, rendered
from trivet.web.kubernetes.identity import identify, refuse_impersonation
from trivet.web.kubernetes.status import StatusError, answer, bad_request, method_not_allowed, of_refusal
from trivet.web.kubernetes.target import Target
from trivet.web.kubernetes.views import RevokedViews
from trivet.web.tls import PEER_CERTIFICATE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from trivet.store.clusters import Cluster
    from trivet.web.authentication import Services

_PATH: Final = re.compile(r"/kubernetes/([a-z0-9.-]{1,63})/authorize")
_END: Final = "/authorize"
_MOST_BYTES: Final = 1024 * 1024
_BODY_SECONDS: Final = 10.0
_TRUST_SECONDS: Final = 60.0
"""How long whoever was admitted is not looked up again."""

_Key = tuple[str, bytes | str]
"""The name of a cluster, and what tells one who asks about it from another."""


class _Admission(NamedTuple):
    """In which cluster somebody may ask, and since when that is known."""

    cluster: Cluster
    since: float


class AuthorizeRoute:
    """Answers SubjectAccessReviews; to be closed."""

    def __init__(self, app: ASGIApp, services: Services, other: ASGIApp) -> None:
        """Take the application whose services it uses, and who answers all other requests."""
        self._app = app
        self._services = services
        self._views = RevokedViews(services.authority)
        self._admitted: Remembered[_Key, _Admission] = Remembered()
        self._asking: dict[_Key, asyncio.Task[Cluster]] = {}
        self.other = other

    async def close(self) -> None:
        """Stop reading."""
        for asking in self._asking.values():
            asking.cancel()
        await self._views.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_meant = scope["type"] == "http" and scope["path"].endswith(_END)
        match = _PATH.fullmatch(scope["path"]) if is_meant else None
        if match is None:
            await self.other(scope, receive, send)
            return
        target = Target(scope["path"], "post")
        try:
            await _send(send, await self._answer(scope, receive, match[1]))
        except Refusal as refusal:
            await answer(of_refusal(refusal, target, ""), target)(scope, receive, send)
        except StatusError as error:
            await answer(error, target)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, name: str) -> bytes:
        """The answer to a review.

        Raises:
            StatusError: it is none, or nobody asks who is known.
            Refusal: whoever asks may not; or nothing is known yet.
        """
        if scope["method"] != "POST":
            raise method_not_allowed()
        refuse_impersonation(scope)  # also who was admitted before
        cluster = await self._admit(scope, receive, name)
        presented = presented_in(await _body(receive))
        verdict = NO_OPINION
        if presented:
            view, age = await self._views.of(cluster)
            verdict = review(view, presented, age, self._services.authority.policy.reviews)
        measures.access_reviewed(verdict.outcome.value)
        return rendered(verdict)

    async def _admit(self, scope: Scope, receive: Receive, name: str) -> Cluster:
        """The cluster, for who may ask about it. Known ones are looked up once a minute, if that is possible.

        However many requests come at once, one look-up is made, and counts; who is known does not wait for it.
        """
        key = (name, self._credential(scope))
        known, asking = self._admitted.get(key), self._asking.get(key)
        if known and (asking or time.monotonic() - known.since < _TRUST_SECONDS):
            return known.cluster
        if asking is None:
            asking = asyncio.create_task(self._look_up(key, Request({**scope, "app": self._app}, receive)))
            self._asking[key] = asking
            asking.add_done_callback(lambda _: self._asking.pop(key))
        return await asyncio.shield(asking)  # others wait for it, too

    async def _look_up(self, key: _Key, request: Request) -> Cluster:
        """Look whoever asks up again; what is known of them stands where that is not possible."""
        known, now = self._admitted.get(key), time.monotonic()
        try:
            cluster = await self._looked_up(request, key[0])
        except (Refusal, StatusError) as error:
            if known and _tells_nothing(error):
                return known.cluster
            self._admitted.forget(key)
            raise
        self._admitted.put(key, _Admission(cluster, now))
        return cluster

    def _credential(self, scope: Scope) -> bytes | str:
        """What tells one who asks from another; of a token nothing that it could be used by."""
        for header, value in scope["headers"]:
            if header == b"authorization":
                return self._services.authority.key_encryption_key.token_hash(value.decode("latin-1"))
        return scope.get(PEER_CERTIFICATE) or b""

    async def _looked_up(self, request: Request, name: str) -> Cluster:
        user = await identify(request)
        if user.caller is None:
            message = f'forbidden: User "{user.name}" cannot post path "{request.scope["path"]}"'
            raise StatusError(403, "Forbidden", message)
        caller = user.caller
        return await caller.offload(admit_reviewer, caller.authority, caller.requester, name)


def _tells_nothing(error: Refusal | StatusError) -> bool:
    """Whether it does not say that somebody may not ask. Too many guesses do: they are made by who is not known."""
    return isinstance(error, UnavailableError) or (
        isinstance(error, RateLimitedError) and not isinstance(error.__context__, AuthenticationError)
    )


async def _body(receive: Receive) -> bytes:
    """The body.

    Raises:
        StatusError: it is too large, or does not come whole.
    """
    body, more = bytearray(), True
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise bad_request("the connection ended within the body")
                body += message.get("body", b"")
                if len(body) > _MOST_BYTES:
                    too_large = f"a review has at most {_MOST_BYTES} bytes"
                    raise StatusError(413, "RequestEntityTooLarge", too_large)
                more = message.get("more_body", False)
    except TimeoutError as error:
        late = f"the body did not arrive within {_BODY_SECONDS:g} seconds"
        raise StatusError(408, "Timeout", late) from error
    return bytes(body)


async def _send(send: Send, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
