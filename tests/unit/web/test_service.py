"""What surrounds every request: limits, errors, ids, health, logs, and documents."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from typing import Any
from unittest.mock import patch

import pytest
from cryptography import x509
from sqlalchemy import exc
from tests.support.signing_requests import csr
from tests.unit.pki.samples import private_key, sign
from tests.unit.web.service import PKCS10, Service, check_problem, pointers, service_over, slug

from trivet.authority import search
from trivet.pki.errors import RateLimitedError, UnavailableError
from trivet.pki.pem import from_der, to_der
from trivet.web import logs
from trivet.web.app import WebOptions, create_app
from trivet.web.limits import RateLimit
from trivet.web.middleware import RequestContext
from trivet.web.offload import MAX_WAITING, Offload


@pytest.mark.parametrize(
    "path", ["/", "/api/v1", "/api/v2/clusters", "/api/v1/clusters/", "/api/v1/nothing", "/%00"]
)
def test_where_nothing_is_is_404(service: Service, path: str) -> None:
    assert slug(service.ask("GET", path, 404)) == "notFound"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/v1/clusters", {"GET", "POST"}),
        ("PATCH", "/api/v1/tokens/x", {"GET", "DELETE"}),
        ("POST", "/api/v1/renew-revocations/a/b", {"GET", "PUT", "DELETE"}),
        ("POST", "/livez", {"GET"}),
        ("BREW", "/api/v1/audit-records", {"GET"}),
    ],
)
def test_another_method_is_405_and_told_which_are_possible(
    service: Service, method: str, path: str, allowed: set[str]
) -> None:
    refused = service.ask(method, path, 405)
    assert slug(refused) == "methodNotAllowed"
    assert set(refused.headers["allow"].split(", ")) - {"HEAD"} == allowed


def test_a_request_keeps_its_id_or_gets_one(service: Service) -> None:
    given = service.ask("GET", "clusters", 200, headers={"X-Request-Id": "abc-1.2_3"})
    assert given.headers["x-request-id"] == "abc-1.2_3"
    made = {service.ask("GET", "clusters", 200, headers={"X-Request-Id": bad}).headers["x-request-id"]
            for bad in ("", "a b", "x" * 65, "a/b", '"')}  # fmt: skip
    assert len(made) == 5
    assert all(len(one) == 16 for one in made)


def test_a_large_body_is_413(service: Service) -> None:
    for body in (b"x" * (1024 * 1024 + 1), iter([b"x" * 600_000] * 2)):
        refused = service.ask("POST", "clusters", 413, content=body)
        assert slug(refused) == "tooLarge"
    # The largest that is read is read.
    service.ask(
        "POST", "clusters", 400, content=b"x" * (1024 * 1024), headers={"Content-Type": "application/json"}
    )


def test_a_requester_that_asks_too_often_is_429(service: Service) -> None:
    with service_over(service.world, WebOptions(rate_per_second=0.5, burst=3)) as strict:
        token, other = strict.token(), strict.token()
        for _ in range(3):
            strict.ask("GET", "clusters", 200, as_role=None, headers=token)
        refused = strict.ask("GET", "clusters", 429, as_role=None, headers=token)
        assert slug(refused) == "rateLimited"
        assert 1 <= int(refused.headers["retry-after"]) <= 2
        strict.ask("GET", "clusters", 200, as_role=None, headers=other)
        guesses = [
            strict.client.get("/api/v1/clusters", headers={"Authorization": "Basic x"}) for _ in range(4)
        ]
        assert [guess.status_code for guess in guesses] == [401, 401, 401, 429]
        # A signed message has no name before it is read, so it counts by where it comes from, too.
        message = {"Content-Type": "application/jwt"}
        strict.ask(
            "POST", "clusters/blue/certificates/renew", 429, as_role=None, headers=message, content=b"x"
        )
        assert strict.client.get("/readyz").status_code == 200


RENEW = "clusters/blue/certificates/renew"


def test_a_holder_that_renews_too_often_is_429_and_nobody_uses_up_the_share_of_another(
    service: Service,
) -> None:
    held = service.world.issue().stored
    with service_over(service.world, WebOptions(rate_per_second=0.5, burst=3)) as strict:
        # Anybody can make a certificate with the serial and the names of this one, and show it.
        genuine = from_der(held.der)
        for number in range(3):
            key = private_key("P-256", number)
            copy = x509.CertificateBuilder(
                genuine.issuer, genuine.subject, key.public_key(), genuine.serial_number,
                genuine.not_valid_before_utc, genuine.not_valid_after_utc,
            )  # fmt: skip
            forged = to_der(sign(copy, key))
            strict.ask("POST", RENEW, 401, held=forged, content=csr(key=1), headers=PKCS10)
        # Guesses count by where they come from.
        refused = strict.ask("POST", RENEW, 429, held=b"not DER", content=csr(key=1), headers=PKCS10)
        assert slug(refused) == "rateLimited"
        for _ in range(3):
            strict.ask("POST", RENEW, 201, held=held, content=csr(key=1), headers=PKCS10)
        for method, path in (("POST", RENEW), ("GET", "clusters/blue")):
            refused = strict.ask(method, path, 429, held=held, content=csr(key=1), headers=PKCS10)
            assert slug(refused) == "rateLimited"


def test_a_bucket_fills_again() -> None:
    now = [0.0]
    limit = RateLimit(2, 3, lambda: now[0])
    for _ in range(3):
        limit.check("a")
    with pytest.raises(RateLimitedError) as refused:
        limit.check("a")
    assert refused.value.retry_after.total_seconds() == 1
    now[0] = 0.5
    limit.check("a")
    with pytest.raises(RateLimitedError):
        limit.check("a")
    now[0] = 1000
    for _ in range(3):
        limit.check("a")
    with pytest.raises(RateLimitedError):
        limit.check("a")


def test_a_database_that_is_away_is_503(service: Service) -> None:
    token = service.token()
    away = exc.OperationalError("SELECT 1", {}, OSError("gone: secret-host"))
    with patch.object(service.world.authority.database.engine, "connect", side_effect=away):
        for path in ("/api/v1/clusters", "/readyz", "/healthz"):
            answer = service.ask("GET", path, 503, as_role=None, headers=token)
            assert slug(answer) == "unavailable"
            assert "secret-host" not in answer.text
        assert service.client.get("/livez").json() == {"status": "ok"}
    assert service.client.get("/readyz").json() == {"status": "ok"}
    assert service.client.get("/healthz").status_code == 200


def test_a_defect_is_500_in_the_log_and_not_in_the_answer(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with patch.object(search, "list_clusters", side_effect=RuntimeError("inner words")):
        answer = service.ask("GET", "clusters", 500, headers={"X-Request-Id": "the-defect"})
    assert slug(answer) == "internal"
    assert "inner words" not in answer.text
    assert answer.json()["requestId"] == "the-defect"
    assert answer.headers["cache-control"] == "no-store"
    assert any(record.exc_info and "inner words" in caplog.text for record in caplog.records)
    service.ask("GET", "clusters", 200)


def test_a_request_leaves_one_line_in_the_log_without_its_query(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    token = service.token()
    with caplog.at_level(logging.INFO, "trivet.access"):
        service.ask("GET", "clusters/blue/certificates?cn=jane", 200, as_role=None, headers=token)
    (record,) = [record for record in caplog.records if record.name == "trivet.access"]
    line = json.loads(logs.JsonFormatter().format(record))
    assert line["path"] == "/api/v1/clusters/blue/certificates"
    assert (line["method"], line["status"], line["message"]) == ("GET", 200, "request")
    assert line["milliseconds"] >= 0
    assert "jane" not in str(vars(record))
    assert token["Authorization"].partition(" ")[2] not in str(vars(record))


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("abcdef.0123456789abcdef", "abcdef.…"),
        ("trivet-repair_Zm9v_b-Fy", "trivet-repair_…"),
        ("trivet_Zm9v_b-Fy", "trivet_…"),
        ("x-trivet-repair_Zm9v;X_abcdef.0123456789abcdef", "x-trivet-repair_…;X_abcdef.…"),
        ("abcdef", "abcdef"),
    ],
)
def test_a_token_in_a_path_is_withheld_from_the_log(
    service: Service, caplog: pytest.LogCaptureFixture, token: str, shown: str
) -> None:
    with caplog.at_level(logging.INFO, "trivet.access"):
        service.ask("DELETE", f"clusters/blue/bootstrap-tokens/{token}", 404)
    (record,) = [record for record in caplog.records if record.name == "trivet.access"]
    line = json.loads(logs.JsonFormatter().format(record))
    assert line["path"] == f"/api/v1/clusters/blue/bootstrap-tokens/{shown}"


def test_a_body_that_breaks_off_is_not_taken_for_a_whole_one() -> None:
    asked: list[str] = []
    sent: list[Any] = []
    messages = iter(
        [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]
    )

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        del receive, send
        asked.append(scope["path"])

    async def receive() -> Any:  # noqa: ANN401
        return next(messages)

    async def send(message: Any) -> None:  # noqa: ANN401
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    asyncio.run(RequestContext(app, 100)(scope, receive, send))
    assert (asked, sent) == ([], [])


def test_more_requests_than_can_wait_are_refused_at_once() -> None:
    async def crowd() -> list[Any]:
        offload, gate = Offload(), threading.Event()
        waiting = [asyncio.ensure_future(offload(gate.wait)) for _ in range(MAX_WAITING)]
        await asyncio.sleep(0)
        try:
            with pytest.raises(UnavailableError):
                await offload(gate.wait)
            # One that nobody waits for any more still counts, because its thread still works.
            waiting[0].cancel()
            await asyncio.sleep(0)
            with pytest.raises(UnavailableError):
                await offload(gate.wait)
        finally:
            gate.set()
        outcome = await asyncio.gather(*waiting, return_exceptions=True)
        assert await offload(lambda: "again") == "again"
        offload.close()
        return outcome

    outcome = asyncio.run(crowd())
    assert outcome[1:] == [True] * (MAX_WAITING - 1)


def test_documents_come_from_this_service_alone(service: Service) -> None:
    page = service.client.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "https://" not in page.text
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert asset in page.text
        assert service.client.get(f"/static-offline-docs/{asset}").status_code == 200
    document = service.client.get("/api/v1/openapi.json").json()
    assert document == create_app(service.world.authority).openapi()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("kind", ["service", "postgres_service"])
def test_noise_never_is_a_defect(request: pytest.FixtureRequest, kind: str, method: str) -> None:
    service: Service = request.getfixturevalue(kind)
    token = service.token()
    document = service.client.get("/api/v1/openapi.json").json()
    noise = ["%00", "%ff%fe", "..%2f..", "'; DROP TABLE clusters; --", "\N{PILE OF POO}", "0" * 3000]
    bodies = [
        b"",
        b"\x00" * 50,
        b"null",
        b"0",
        b'"x"',
        b"[1]",
        b"{",
        b'{"a":{"b":[]}}',
        b"\xef\xbb\xbf{}",
        b"- a: b",
    ]
    media_types = ["application/json", "application/yaml", "application/pkcs10", "application/jwt", ""]
    for path, item in document["paths"].items():
        if method.lower() not in item:
            continue
        for word in noise:
            url = path.replace("{cluster}", "blue")
            url = "/".join(word if part.startswith("{") else part for part in url.split("/"))
            check(service.client.request(method, url, headers=token, params={"cursor": word, "limit": "2"}))
        for media_type in media_types if "requestBody" in item[method.lower()] else []:
            for body in bodies:
                url = re.sub(r"\{\w+\}", "none", path.replace("{cluster}", "blue"))
                headers = token | ({"Content-Type": media_type} if media_type else {})
                check(service.client.request(method, url, headers=headers, content=body))


def check(answer: Any) -> None:  # noqa: ANN401
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        check_problem(answer)
        assert all(isinstance(place, str) for place in pointers(answer))


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_beyond_what_can_be_told_is_422(service: Service, moment: str) -> None:
    refused = service.ask("GET", "clusters/blue/certificates", 422, params={"issuedAfter": moment})
    assert slug(refused) == "invalid"
