"""The operations that are answered before FastAPI give the answers that FastAPI's own routes would give."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from httpx2 import Response
from sqlalchemy import select
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr, pooled_key
from tests.support.world import World, make_authority
from tests.unit.web.service import Presenting, Service, pem, slug

from trivet.authority.access import Role
from trivet.authority.authenticate import authenticate_token
from trivet.authority.tokens import delete_token
from trivet.pki.possession import sign_renewal_message
from trivet.pki.revocation import EntryKind
from trivet.store.certificates import StoredCertificate
from trivet.store.tables import decisions
from trivet.web.app import WebOptions, create_app
from trivet.web.kubernetes.authorize import AuthorizeRoute
from trivet.web.pki.ocsp import OcspRoute
from trivet.web.rest.direct import DirectRoutes, Fork

BLUE = "/api/v1/clusters/blue/certificates"
RENEW = f"{BLUE}/renew"
QUERY = "?profile=kubelet-client&node=node-1"
MAX_BODY = 4096
PKCS10 = {"Content-Type": "application/pkcs10"}
JSON = {"Content-Type": "application/json"}
JWT = {"Content-Type": "application/jwt"}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:]+Z")
OF_EACH = {"x-request-id", "location", "content-length", "etag"}


@dataclass
class Ask:
    """A request; by whom is a role, a header, or the certificate that is presented."""

    path: str = BLUE + QUERY
    content: bytes = field(default_factory=csr)
    headers: dict[str, str] = field(default_factory=lambda: dict(PKCS10))
    by: Role | str | None = Role.ISSUER
    held: StoredCertificate | bytes | None = None
    method: str = "POST"


def _json(**members: Any) -> bytes:  # noqa: ANN401
    asked = {"profile": "kubelet-client", "node": "node-1", "csr": pem(csr())} | members
    return json.dumps({name: value for name, value in asked.items() if value is not None}).encode()


def _with(**headers: str) -> dict[str, str]:
    return PKCS10 | {name.replace("_", "-"): value for name, value in headers.items()}


PLAIN: dict[str, Ask] = {
    "bare CSR": Ask(),
    "PEM": Ask(content=pem(csr()).encode()),
    "JSON": Ask(BLUE, _json(), JSON),
    "JSON with charset": Ask(BLUE, _json(), {"Content-Type": "Application/JSON; charset=utf-8"}),
    "JSON and query": Ask(f"{BLUE}?expirationSeconds=7200", _json(), JSON),
    "lifetime": Ask(BLUE + QUERY + "&expirationSeconds=3600"),
    "lifetime by its Python name": Ask(BLUE + QUERY + "&expiration_seconds=3600"),
    "lifetime of zero": Ask(BLUE + QUERY + "&expirationSeconds=0"),
    "lifetime below zero": Ask(BLUE + QUERY + "&expirationSeconds=-5"),
    "lifetime in words": Ask(BLUE + QUERY + "&expirationSeconds=long"),
    "lifetime of nothing": Ask(BLUE + QUERY + "&expirationSeconds="),
    "lifetime too long to count": Ask(BLUE + QUERY + "&expirationSeconds=" + "9" * 40),
    "lifetime with a point": Ask(BLUE + QUERY + "&expirationSeconds=3600.5"),
    "several faults": Ask(f"{BLUE}?profile={'p' * 81}&node={'n' * 254}&expirationSeconds=x"),
    "a parameter twice": Ask(BLUE + QUERY + "&node=node-2"),
    "an unknown parameter": Ask(BLUE + QUERY + "&colour=blue"),
    "dry run": Ask(BLUE + QUERY + "&dryRun=All"),
    "no profile": Ask(BLUE),
    "empty profile": Ask(f"{BLUE}?profile=&node=node-1"),
    "unknown profile": Ask(f"{BLUE}?profile=nothing"),
    "a profile of no text": Ask(f"{BLUE}?profile=%ff%00"),
    "no content type": Ask(headers={}),
    "wrong content type": Ask(headers={"Content-Type": "text/plain"}),
    "message instead of a CSR": Ask(headers=dict(JWT)),
    "answer in DER": Ask(headers=_with(Accept="application/pkix-cert")),
    "answer in PEM": Ask(headers=_with(Accept="application/x-pem-file")),
    "answer in JSON": Ask(headers=_with(Accept="application/json;q=0.5, text/html")),
    "answer in pictures": Ask(headers=_with(Accept="image/png")),
    "a broken Accept": Ask(headers=_with(Accept=";;q=,")),
    "nobody": Ask(by=None),
    "an unknown token": Ask(by="Bearer trivet_" + "x" * 43),
    "a token of another form": Ask(by="Bearer nothing"),
    "another scheme": Ask(by="Basic dXNlcjpwYXNz"),
    "an empty header": Ask(by=""),
    "lower case": Ask(by="bearer trivet_" + "x" * 43),
    "without permission": Ask(by=Role.AUDITOR),
    "without permission and wrong otherwise": Ask(f"{BLUE}?expirationSeconds=x", b"", {}, by=Role.APPROVER),
    "unreadable certificate": Ask(by=None, held=b"no certificate"),
    "body too large": Ask(content=b"x" * (MAX_BODY + 1)),
    "no body": Ask(content=b""),
    "not a CSR": Ask(content=b"\x30\x03\x02\x01\x00"),
    "no JSON": Ask(BLUE, b"{", JSON),
    "JSON of another kind": Ask(BLUE, b"[]", JSON),
    "JSON that is deep": Ask(BLUE, b"[" * 2000, JSON),
    "JSON without CSR": Ask(BLUE, _json(csr=None), JSON),
    "JSON with more": Ask(BLUE, _json(colour="blue", other=1), JSON),
    "JSON with wrong types": Ask(BLUE, _json(node=5, expirationSeconds="soon"), JSON),
    "JSON with half a character": Ask(BLUE, _json(node="\ud800"), JSON),
    "JSON with a zero": Ask(BLUE, _json(node="a\x00b"), JSON),
    "another's name": Ask(content=csr("system:node:other")),
    "banned name": Ask(f"{BLUE}?profile=kubelet-client&node=banned"),
    "key too long": Ask(headers=_with(Idempotency_Key="k" * 256)),
    "key of 255": Ask(headers=_with(Idempotency_Key="k" * 254)),
    "key with a blank": Ask(headers=_with(Idempotency_Key="a b")),
    "empty key": Ask(headers=_with(Idempotency_Key="")),
    "no such cluster": Ask("/api/v1/clusters/green/certificates" + QUERY),
    "another cluster": Ask("/api/v1/clusters/red/certificates" + QUERY),
    "encoded cluster": Ask("/api/v1/clusters/b%6Cue/certificates" + QUERY),
    "cluster with a slash": Ask("/api/v1/clusters/bl%2Fue/certificates" + QUERY),
    "cluster with a line": Ask("/api/v1/clusters/blue%0A/certificates" + QUERY),
    "cluster of no text": Ask("/api/v1/clusters/%ff%fe/certificates" + QUERY),
    "cluster with a zero": Ask("/api/v1/clusters/bl%00ue/certificates" + QUERY),
    "cluster with dots": Ask("/api/v1/clusters/../certificates" + QUERY),
    "cluster of very many letters": Ask(f"/api/v1/clusters/{'x' * 3000}/certificates{QUERY}"),
    "empty cluster": Ask("/api/v1/clusters//certificates" + QUERY),
    "a slash more": Ask(f"{BLUE}/{QUERY}"),
    "a line more": Ask(f"{BLUE}%0A{QUERY}"),
    "upper case": Ask(BLUE.upper() + QUERY),
    "HEAD": Ask(method="HEAD"),
    "GET": Ask(BLUE, b"", {}, by=Role.AUDITOR, method="GET"),
    "OPTIONS": Ask(method="OPTIONS"),
    "PUT": Ask(method="PUT"),
    "DELETE": Ask(method="DELETE"),
    "PATCH": Ask(method="PATCH"),
    "a method of no name": Ask(method="FETCH"),
    "renewal by GET": Ask(RENEW, b"", {}, by=Role.AUDITOR, method="GET"),
    "renewal by PUT": Ask(RENEW, method="PUT"),
    "renewal by nobody": Ask(RENEW, by=None),
    "renewal by token": Ask(RENEW, by=Role.ISSUER),
    "renewal by auditor": Ask(RENEW, by=Role.AUDITOR),
    "renewal without content type": Ask(RENEW, headers={}),
    "no message": Ask(RENEW, b"a.b.c", JWT, by=None),
    "empty message": Ask(RENEW, b"", JWT, by=None),
    "a message for any cluster": Ask("/api/v1/clusters/green/certificates/renew", b"a.b.c", JWT, by=None),
}


def _held(service: Service) -> StoredCertificate:
    return service.world.issue(node="node-1").stored


def _message(service: Service, *, key: int = 0, audience: str = "blue") -> bytes:
    certificate = x509.load_der_x509_certificate(_held(service).der)
    made = sign_renewal_message(pooled_key(key), certificate, csr(key=1), audience, service.world.clock())
    return made.encode()


def _known_token(service: Service, *, delete: bool = False, **fields: Any) -> str:  # noqa: ANN401
    """Make a token that the process knows already, and perhaps delete it, as another process would."""
    header = service.token(**fields)["Authorization"]
    requester = authenticate_token(service.world.authority, header.partition(" ")[2])
    if delete:
        assert requester.token_id is not None
        delete_token(service.world.authority, requester, requester.token_id)
    return header


def _expired(service: Service) -> str:
    header = _known_token(service, role=Role.ISSUER, lifetime=timedelta(seconds=1))
    service.world.clock.advance(seconds=1)
    return header


MADE: dict[str, Callable[[Service], Ask]] = {
    "holder": lambda service: Ask(RENEW, csr(key=1), by=None, held=_held(service)),
    "holder with JSON": lambda service: Ask(
        RENEW, json.dumps({"csr": pem(csr(key=1))}).encode(), JSON, by=None, held=_held(service)
    ),
    "holder elsewhere": lambda service: Ask(
        RENEW.replace("blue", "red"), csr(key=1), by=None, held=_held(service)
    ),
    "holder with other names": lambda service: Ask(RENEW, csr("jane"), by=None, held=_held(service)),
    "holder with a bad query": lambda service: Ask(
        f"{RENEW}?expirationSeconds=x", csr(key=1), by=None, held=_held(service)
    ),
    "holder with a lifetime": lambda service: Ask(
        f"{RENEW}?expirationSeconds=3600", csr(key=1), by=None, held=_held(service)
    ),
    "holder and a token": lambda service: Ask(RENEW, csr(key=1), by=Role.AUDITOR, held=_held(service)),
    "holder and a bad Accept": lambda service: Ask(
        RENEW, csr(key=1), _with(Accept="image/png"), by=None, held=_held(service)
    ),
    "holder who asks anew": lambda service: Ask(by=None, held=_held(service)),
    "message": lambda service: Ask(RENEW, _message(service), JWT, by=None),
    "message and a certificate": lambda service: Ask(
        RENEW, _message(service), JWT, by=None, held=_held(service)
    ),
    "message by another key": lambda service: Ask(RENEW, _message(service, key=5), JWT, by=None),
    "message for elsewhere": lambda service: Ask(RENEW, _message(service, audience="red"), JWT, by=None),
    "message with a lifetime": lambda service: Ask(
        f"{RENEW}?expirationSeconds=3600", _message(service), JWT, by=None
    ),
    "message and a key": lambda service: Ask(
        RENEW, _message(service), JWT | {"Idempotency-Key": "k"}, by=None
    ),
    "a known token": lambda service: Ask(by=_known_token(service, role=Role.ISSUER)),
    "a deleted token": lambda service: Ask(by=_known_token(service, role=Role.ADMIN, delete=True)),
    "an expired token": lambda service: Ask(by=_expired(service)),
    "a token of another cluster": lambda service: Ask(
        by=_known_token(service, role=Role.ISSUER, cluster="red")
    ),
}
EVERY: dict[str, Callable[[Service], Ask]] = {
    **{name: (lambda _, ask=ask: ask) for name, ask in PLAIN.items()},  # type: ignore[misc]  # the loop's value
    **MADE,
}


@dataclass
class Both:
    """One installation with both ways to answer."""

    direct: Service
    routed: Service


def _service(world: World, *, directly: bool) -> Service:
    app = create_app(world.authority, options=WebOptions(burst=10_000, max_body_bytes=MAX_BODY))
    assert isinstance(app.middleware_stack, AuthorizeRoute)
    assert isinstance(app.middleware_stack.other, OcspRoute)
    assert isinstance(app.middleware_stack.other.other, Fork)
    if not directly:
        app.middleware_stack = None  # FastAPI makes its own, which knows nothing of the fork
    edge = Presenting(app)
    return Service(world, TestClient(edge, base_url="https://trivet.test"), edge)


@pytest.fixture
def both(world: World) -> Iterator[Both]:
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:banned"))
    made = Both(_service(world, directly=True), _service(world, directly=False))
    with made.direct.client, made.routed.client:
        yield made


def _asked(service: Service, ask: Ask) -> Response:
    by = (
        service.token(ask.by)
        if isinstance(ask.by, Role)
        else {"Authorization": ask.by}
        if ask.by is not None
        else {}
    )
    with service.presenting(ask.held):
        return service.client.request(ask.method, ask.path, headers=by | ask.headers, content=ask.content)


def _described(answer: Response) -> dict[str, Any]:
    """All of an answer but what is of each request: ids, times, serials and what follows from them."""
    told: dict[str, Any] = {
        "status": answer.status_code,
        "headers": {
            name: value for name, value in sorted(answer.headers.multi_items()) if name not in OF_EACH
        },
        "headers of each": sorted(OF_EACH & set(answer.headers)),
    }
    if answer.status_code >= 400 and answer.content:
        told["problem"] = {
            name: _MOMENT.sub("then", value) if isinstance(value, str) else value
            for name, value in answer.json().items()
            if name not in {"requestId", "decision", "instance"}
        }
        told["instance"] = "instance" in answer.json()
    elif answer.headers.get("content-type") == "application/json" and answer.content:
        told["members"] = sorted(answer.json())
    elif answer.headers.get("content-type", "").startswith("application/pem"):
        told["certificates"] = len(x509.load_pem_x509_certificates(answer.content))
    return told


RECORDED = (
    "cluster_id", "action", "profile", "verdict", "reason", "detail", "considered", "identity",
)  # fmt: skip


def _records(world: World) -> dict[UUID, list[object]]:
    """What each decision record says, but for whose token it was."""
    with world.authority.database.read() as connection:
        found = connection.execute(select(decisions)).mappings().all()
    return {
        row["id"]: [re.sub("[0-9a-f-]{30,}", "", _MOMENT.sub("then", str(row[name]))) for name in RECORDED]
        for row in found
    }


@pytest.mark.parametrize("name", EVERY)
def test_both_ways_give_the_same_answer(both: Both, name: str) -> None:
    told, left = [], []
    for service in (both.direct, both.routed):
        ask = EVERY[name](service)
        before = _records(service.world)
        answer = _asked(service, ask)
        assert answer.status_code != 500, answer.text
        told.append(_described(answer))
        after = _records(service.world)
        left.append([after[one] for one in after.keys() - before.keys()])
    assert left[0] == left[1]
    assert told[0] == told[1]


def test_the_table_is_of_many_answers(both: Both) -> None:
    answers = [_asked(both.direct, make(both.direct)) for make in EVERY.values()]
    assert {answer.status_code for answer in answers} >= {
        200, 201, 400, 401, 403, 404, 405, 406, 413, 415, 422,
    }  # fmt: skip


def test_a_key_is_used_again_alike(both: Both) -> None:
    token = both.direct.token(Role.ISSUER)["Authorization"]
    first = Ask(headers=_with(Idempotency_Key="key"), by=token)
    other = Ask(f"{BLUE}?profile=kubelet-client&node=node-2", headers=_with(Idempotency_Key="key"), by=token)
    made = _asked(both.direct, first)
    assert made.status_code == 201
    again = _asked(both.routed, first)
    assert (again.status_code, again.content) == (201, made.content)
    assert _asked(both.direct, first).headers["location"] == made.headers["location"]
    refused = [_asked(service, other) for service in (both.direct, both.routed)]
    assert [slug(answer) for answer in refused] == ["idempotencyKeyReused"] * 2
    assert _described(refused[0]) == _described(refused[1])


def test_only_what_is_declared_so_is_answered_directly(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[str] = []
    answer = DirectRoutes.__call__

    async def noted(self: DirectRoutes, scope: Scope, receive: Receive, send: Send) -> None:
        came.append(f"{scope['method']} {scope['route'].path_format}")
        await answer(self, scope, receive, send)

    monkeypatch.setattr(DirectRoutes, "__call__", noted)
    for name in ("bare CSR", "GET", "PUT", "renewal by nobody", "renewal by GET", "a slash more"):
        _asked(both.direct, EVERY[name](both.direct))
        _asked(both.routed, EVERY[name](both.routed))
    path = "/api/v1/clusters/{cluster}/certificates"
    assert came == [f"POST {path}", f"POST {path}/renew"]


def test_every_direct_route_is_declared_with_the_same_permission(both: Both) -> None:
    fork = both.direct.edge.app.middleware_stack.other.other  # type: ignore[attr-defined]  # it is FastAPI's
    document = both.direct.client.get("/api/v1/openapi.json").json()
    routes = fork._direct._routes
    assert len(routes) == 2
    for route in routes:
        declared = document["paths"][route.path_format]["post"]
        assert declared["x-trivet-permission"] == route.permission.value


@pytest.mark.parametrize("path", [BLUE, RENEW])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_told_which_there_are(both: Both, path: str, method: str) -> None:
    answer = _asked(both.direct, Ask(path, method=method))
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"].split(", ")


def test_who_may_not_ask_leaves_a_record_of_what_was_asked(both: Both) -> None:
    answer = _asked(both.direct, Ask(by=Role.AUDITOR))
    assert answer.status_code == 403
    record = both.direct.world.decision(answer.json()["decision"])
    assert (record.action, record.verdict, record.reason) == ("issue", "refused", "unauthorized")
    assert record.request_sha256 == hashlib.sha256(csr()).hexdigest()


def test_a_token_that_was_deleted_by_another_process_is_refused(both: Both) -> None:
    header = _known_token(both.direct, role=Role.ADMIN)
    assert _asked(both.direct, Ask(by=header)).status_code == 201
    secret = header.partition(" ")[2]
    other = make_authority(str(both.direct.world.authority.database.engine.url), both.direct.world.clock)
    requester = authenticate_token(other, secret)
    assert requester.token_id is not None
    delete_token(other, requester, requester.token_id)
    other.database.dispose()
    answer = _asked(both.direct, Ask(by=header))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert both.direct.world.decision(answer.json()["decision"]).reason == "unauthenticated"
