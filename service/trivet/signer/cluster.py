"""The few verbs that the signer needs of a cluster's API server: list, watch, get, and write a status."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx

from trivet.signer.answers import Page, event_of, refusal_of
from trivet.signer.errors import SilentError
from trivet.signer.kubeconfig import Access, read_access

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trivet.signer.answers import Event
    from trivet.signer.resources import Object, Resource

PAGE: Final = 500
_TIMEOUT: Final = httpx.Timeout(15.0)
# A peer that vanished without a word is noticed within a minute, also in the middle of a watch.
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class Cluster:
    """Talks to one API server; safe to share between threads.

    Each thread has connections of its own, which are made anew when a file of the kubeconfig changes.
    """

    def __init__(
        self, kubeconfig: Path, transport: Callable[[Access], httpx.BaseTransport] | None = None
    ) -> None:
        """Prepare; nothing is read or sent yet."""
        self._kubeconfig = kubeconfig
        self._transport = transport or _https
        self._own = threading.local()

    @property
    def server(self) -> str:
        """The URL of the API server.

        Raises:
            AccessError: the kubeconfig is wrong.
        """
        return self._ready()[0].server

    def list(self, resource: Resource, following: str | None = None, limit: int = PAGE) -> Page:
        """One part of all objects of a kind.

        Raises:
            StatusError: 410 where the token is too old.
            SilentError, AccessError: there was no answer.
        """
        query: dict[str, str] = {"limit": str(limit)} | ({"continue": following} if following else {})
        document = self._call("GET", resource.path(), params=query)
        metadata, items = document.get("metadata"), document.get("items") or []
        if not isinstance(metadata, dict) or not isinstance(items, list):
            raise self._stranger()
        return Page(items, str(metadata.get("resourceVersion", "")), metadata.get("continue") or None)

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """One object as it is now.

        Raises:
            StatusError: 404 where there is none.
            SilentError, AccessError: there was no answer.
        """
        return self._call("GET", resource.path(namespace, name))

    def write_status(self, resource: Resource, changed: Object) -> Object:
        """Put an object's status, if it is still at the resourceVersion (and of the UID) that it was read at.

        Raises:
            StatusError: 409 where somebody else was faster, 404 where it is gone.
            SilentError, AccessError: there was no answer; it may have been written.
        """
        metadata = changed["metadata"]
        # In a list of a built-in kind the items do not say what they are.
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **changed}
        path = resource.path(metadata.get("namespace", ""), metadata["name"], "status")
        return self._call("PUT", path, params={"fieldManager": "trivet-signer"}, json=whole)

    def watch(self, resource: Resource, version: str, seconds: int) -> Iterator[Event]:
        """What changes from a resourceVersion on, for so long at most.

        Raises:
            StatusError: 410 where the version is too old.
            SilentError, AccessError: there was no answer, or it broke off.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        timeout = httpx.Timeout(_TIMEOUT.connect, read=seconds + 15.0)
        access, client = self._ready()
        with _in_words(access):
            request = self._request(access, client, "GET", resource.path(), params=query, timeout=timeout)
            response = client.send(request, stream=True)
            try:
                if not response.is_success:
                    response.read()
                    raise refusal_of(response)
                for line in response.iter_lines():
                    if line:
                        yield event_of(line)
            finally:
                response.close()

    def close(self) -> None:
        """Close the connections of the thread that calls."""
        held: tuple[Access, httpx.Client] | None = getattr(self._own, "held", None)
        if held is not None:
            self._own.held = None
            held[1].close()

    def _call(self, method: str, path: str, **sent: Any) -> Object:  # noqa: ANN401  httpx's own parameters
        access, client = self._ready()
        with _in_words(access):
            response = client.send(self._request(access, client, method, path, **sent))
            if not response.is_success:
                raise refusal_of(response)
            document = response.json()
        if not isinstance(document, dict):
            raise self._stranger()
        return document

    def _ready(self) -> tuple[Access, httpx.Client]:
        held: tuple[Access, httpx.Client] | None = getattr(self._own, "held", None)
        if held is not None and held[0].is_current:
            return held
        self.close()
        access = read_access(self._kubeconfig)
        client = httpx.Client(
            base_url=access.server + "/", transport=self._transport(access), timeout=_TIMEOUT, trust_env=False
        )
        self._own.held = (access, client)
        return access, client

    def _request(
        self,
        access: Access,
        client: httpx.Client,
        method: str,
        path: str,
        **sent: Any,  # noqa: ANN401
    ) -> httpx.Request:
        extensions = {"sni_hostname": access.server_name} if access.server_name else {}
        headers = {"Accept": "application/json", **access.headers()}
        return client.build_request(method, path, headers=headers, extensions=extensions, **sent)

    def _stranger(self) -> SilentError:
        return SilentError("what answers is no API server; is the server in the kubeconfig right?")


def _https(access: Access) -> httpx.HTTPTransport:
    return httpx.HTTPTransport(verify=access.trust, socket_options=list(_KEEPALIVE), trust_env=False)


@contextmanager
def _in_words(access: Access) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        message = f"{access.server} does not answer in time"
        raise SilentError(message) from error
    except httpx.TransportError as error:
        raise SilentError(_why(access, error)) from error
    except ValueError as error:
        message = f"{access.server} does not answer as an API server does"
        raise SilentError(message) from error


def _why(access: Access, error: httpx.TransportError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of {access.server} is not trusted: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    return f"{access.server} cannot be reached: {error}"
