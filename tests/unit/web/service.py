"""The whole application over a database of a test's own, asked without sockets; and short ways to ask it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import _lru_cache_wrapper
from typing import TYPE_CHECKING, Any

import fastapi.dependencies.models
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.testclient import TestClient
from tests.support.signing_requests import csr
from tests.support.world import World

from trivet.authority.access import Role
from trivet.authority.install import OPERATOR
from trivet.authority.tokens import create_token
from trivet.web.app import WebOptions, create_app
from trivet.web.tls import PEER_CERTIFICATE

if TYPE_CHECKING:
    import httpx
    from httpx2 import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from trivet.store.certificates import StoredCertificate

PROBLEM = "application/problem+json"
PKCS10 = {"Content-Type": "application/pkcs10"}
JSON = {"Content-Type": "application/json"}
YAML = {"Content-Type": "application/yaml"}


def pem(der: bytes) -> str:
    return x509.load_der_x509_csr(der).public_bytes(Encoding.PEM).decode()


class Presenting:
    """Stands where TLS ends: shows the application the certificate that the client would present."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.der: bytes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[PEER_CERTIFICATE] = self.der
        await self.app(scope, receive, send)


@dataclass
class Service:
    """A world with an HTTP client for it."""

    world: World
    client: TestClient
    edge: Presenting

    def token(self, role: Role = Role.ADMIN, cluster: str | None = None, **lifetime: Any) -> dict[str, str]:  # noqa: ANN401
        """Make a token and give the header that shows it."""
        _, secret = create_token(self.world.authority, OPERATOR, role=role, cluster=cluster, **lifetime)
        return {"Authorization": f"Bearer {secret}"}

    def ask(
        self,
        method: str,
        path: str,
        status: int,
        *,
        headers: dict[str, str] | None = None,
        as_role: Role | None = Role.ADMIN,
        held: StoredCertificate | bytes | None = None,
        **body: Any,  # noqa: ANN401
    ) -> Response:
        """Ask as a role, or (with `held`) as the holder of a certificate, and look at what every answer must be."""
        shown = {} if as_role is None or held is not None else self.token(as_role)
        url = path if path.startswith("/") else f"/api/v1/{path}"
        with self.presenting(held):
            answer = self.client.request(method, url, headers=shown | (headers or {}), **body)
        assert answer.status_code == status, answer.text
        assert answer.headers["x-request-id"]
        if status >= 400:
            check_problem(answer)
        return answer

    @contextmanager
    def presenting(self, held: StoredCertificate | bytes | None) -> Iterator[None]:
        self.edge.der = held if isinstance(held, bytes) or held is None else held.der
        try:
            yield
        finally:
            self.edge.der = None

    def issue(self, status: int = 201, *, cluster: str = "blue", **members: Any) -> Response:  # noqa: ANN401
        """Ask for a certificate with JSON."""
        asked = {"profile": "kubelet-client", "node": "node-1", "csr": pem(csr())} | members
        return self.ask("POST", f"clusters/{cluster}/certificates", status, json=asked)


def check_problem(answer: Response) -> None:
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert problem["type"].startswith("urn:trivet:problem:")
    assert problem["status"] == answer.status_code
    assert problem["title"]
    assert problem["detail"]
    assert problem["requestId"] == answer.headers["x-request-id"]
    assert all(set(error) == {"pointer", "detail"} for error in problem.get("errors", []))
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    if answer.status_code in {429, 503}:
        assert int(answer.headers["retry-after"]) >= 1


def slug(answer: Response | httpx.Response) -> str:
    kind: str = answer.json()["type"].removeprefix("urn:trivet:problem:")
    return kind


def pointers(answer: Response) -> list[str]:
    return [error["pointer"] for error in answer.json().get("errors", [])]


@contextmanager
def service_over(world: World, options: WebOptions | None = None) -> Iterator[Service]:
    edge = Presenting(create_app(world.authority, options=options or WebOptions(burst=10_000)))
    with TestClient(edge, base_url="https://trivet.test") as client:
        yield Service(world, client, edge)
    # FastAPI remembers some thousand endpoints, with all that they stand on: a hundred applications by the end.
    for remembered in vars(fastapi.dependencies.models).values():
        if isinstance(remembered, _lru_cache_wrapper):
            remembered.cache_clear()
