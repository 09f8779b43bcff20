from __future__ import annotations

import asyncio
import base64
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from cryptography.x509 import ocsp
from tests.support.ocsp_requests import nonce, request_about
from tests.support.ocsp_world import OcspWorld
from tests.support.revocation_objects import entry
from tests.unit.web.service import Service

from trivet.authority.access import Role
from trivet.authority.status.ocsp import LIFETIME
from trivet.authority.status.replies import Question
from trivet.pki.ocsp import MAX_REQUEST_BYTES
from trivet.pki.revocation import EntryKind
from trivet.store.engine import Database
from trivet.web.pki import answering
from trivet.web.pki import ocsp as route
from trivet.web.pki.answering import Answering

if TYPE_CHECKING:
    from httpx2 import Response

REQUEST = {"Content-Type": "application/ocsp-request"}
MALFORMED, TRY_LATER, UNAUTHORIZED = "MALFORMED_REQUEST", "TRY_LATER", "UNAUTHORIZED"


class Asker:
    """Asks the responder of the cluster's authority over HTTP."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.blue = OcspWorld(service.world)
        self.serial = service.world.issue(key=4).stored.serial
        place = self.blue.place
        self.url = f"/pki/{place.cluster}/{place.authority}/{place.key_identifier}/ocsp"

    def body(self, *extensions: bytes, serial: str | None = None) -> bytes:
        return request_about(self.blue.issuer, [int(serial or self.serial, 16)], *extensions)

    def post(self, body: bytes, url: str | None = None) -> Response:
        return self.service.client.post(url or self.url, content=body, headers=REQUEST)

    def get(self, body: bytes, **headers: str) -> Response:
        escaped = quote(base64.b64encode(body).decode(), safe="")
        return self.service.client.get(f"{self.url}/{escaped}", headers=headers)


@pytest.fixture
def asker(service: Service) -> Asker:
    return Asker(service)


def status_of(answer: Response) -> str:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/ocsp-response"
    return ocsp.load_der_ocsp_response(answer.content).response_status.name


def said(answer: Response) -> str:
    assert status_of(answer) == "SUCCESSFUL"
    return ocsp.load_der_ocsp_response(answer.content).certificate_status.name


def test_both_methods_give_the_same_answer(asker: Asker) -> None:
    posted, got = asker.post(asker.body()), asker.get(asker.body())
    assert said(posted) == said(got) == "GOOD"
    assert posted.content == got.content


def test_a_revocation_is_in_the_next_answer_by_either_method(asker: Asker) -> None:
    asker.get(asker.body())
    asker.service.world.revoke(entry(EntryKind.SERIAL_NUMBER, asker.serial))
    assert said(asker.get(asker.body())) == said(asker.post(asker.body())) == "REVOKED"


def test_what_everybody_may_get_may_be_kept_by_caches(asker: Asker) -> None:
    headers = asker.get(asker.body()).headers
    assert headers["cache-control"] == "max-age=300, public, no-transform, must-revalidate"
    modified, expires = (parsedate_to_datetime(headers[name]) for name in ("last-modified", "expires"))
    assert modified == asker.service.world.clock().replace(microsecond=0)
    assert expires == modified + LIFETIME
    assert timedelta(seconds=route.MAX_AGE_SECONDS) < LIFETIME / 2


def test_a_cache_that_has_the_answer_is_told_so(asker: Asker) -> None:
    tag = asker.get(asker.body()).headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        again = asker.get(asker.body(), **{"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert asker.get(asker.body(), **{"If-None-Match": '"other"'}).status_code == 200
    asker.service.world.revoke(entry(EntryKind.SERIAL_NUMBER, asker.serial))
    assert said(asker.get(asker.body(), **{"If-None-Match": tag})) == "REVOKED"


def test_what_concerns_one_client_is_kept_by_nobody(asker: Asker) -> None:
    for answer in (
        asker.post(asker.body()),
        asker.get(asker.body(nonce(b"n" * 32))),
        asker.get(asker.body(serial="777")),
        asker.get(b"nonsense"),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert "etag" not in answer.headers


def test_a_path_may_be_escaped_or_not(asker: Asker) -> None:
    body = next(
        body
        for number in range(10_000)
        if {"/", "+"} <= set(base64.b64encode(body := asker.body(serial=f"{number:x}")).decode())
    )
    plain = base64.b64encode(body).decode()
    for path in (quote(plain, safe=""), quote(plain, safe="/"), plain):
        assert said(asker.service.client.get(f"{asker.url}/{path}")) == "UNKNOWN"


@pytest.mark.parametrize("path", ["", "%%%", "A", "AAAA===", "=AAA", "ü", "AA AA", "%00", "AAAA\n"])
def test_a_path_that_is_no_base64_of_a_request_is_malformed(asker: Asker, path: str) -> None:
    answer = asker.service.client.get(f"{asker.url}/{quote(path, safe='')}")
    assert status_of(answer) == MALFORMED


@pytest.mark.parametrize("body", [b"", b"nonsense", b"\x30" * (MAX_REQUEST_BYTES + 1), b"\x30" * 3_000_000])
def test_a_body_that_is_no_request_is_malformed(asker: Asker, body: bytes) -> None:
    assert status_of(asker.post(body)) == MALFORMED


def test_another_place_is_unauthorized(asker: Asker) -> None:
    for url in (
        "/pki/red/cluster/00ff/ocsp",
        asker.url.replace("/cluster/", "/etcd/"),
        "/pki/no.such/x/00/ocsp",
    ):
        assert status_of(asker.post(asker.body(), url)) == UNAUTHORIZED


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_other_methods_are_told_which_there_is(asker: Asker, method: str) -> None:
    answer = asker.service.client.request(method, asker.url)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert asker.service.client.post(f"{asker.url}/AAAA").headers["allow"] == "GET"


def test_without_its_database_it_says_try_later(asker: Asker) -> None:
    assert said(asker.get(asker.body())) == "GOOD"
    asker.service.world.authority.database.dispose()
    away = Database("postgresql://nobody@127.0.0.1:1/none")
    object.__setattr__(asker.service.world.authority, "database", away)
    for answer in (asker.get(asker.body()), asker.post(asker.body())):
        assert status_of(answer) == TRY_LATER
        assert answer.headers["cache-control"] == "no-store"
        assert int(answer.headers["retry-after"]) > 0


def test_a_defect_is_an_internal_error_and_no_500(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("trivet.authority.status.ocsp.check_response", fail)
    assert status_of(asker.post(asker.body())) == "INTERNAL_ERROR"
    monkeypatch.undo()
    assert said(asker.post(asker.body())) == "GOOD"


def test_beyond_the_longest_queue_it_says_try_later_at_once(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "LONGEST_QUEUE", 0)
    assert status_of(asker.post(asker.body())) == TRY_LATER


def test_an_answer_that_does_not_come_in_time_is_try_later(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "PATIENCE_SECONDS", 0.0)
    assert status_of(asker.post(asker.body())) == TRY_LATER


def test_what_is_asked_together_is_answered_each_by_its_own(asker: Asker) -> None:
    world = asker.service.world
    serials = [world.issue(key=number).stored.serial for number in range(6)]
    for serial in serials[::2]:
        world.revoke(entry(EntryKind.SERIAL_NUMBER, serial))

    async def ask_all() -> list[Any]:
        desk = Answering(world.authority)
        questions = [Question(asker.blue.place, asker.body(serial=one)) for one in serials * 3]
        replies = await asyncio.gather(*map(desk, questions))
        await asyncio.to_thread(desk.close)
        return list(replies)

    assert [one.result for one in asyncio.run(ask_all())] == ["revoked", "good"] * 9


def test_it_is_counted_by_what_was_said(asker: Asker) -> None:
    def counted(what: str) -> float:
        text = asker.service.client.get("/metrics", headers=asker.service.token(Role.AUDITOR)).text
        found = [line.split()[1] for line in text.splitlines() if line.startswith(what)]
        return float(found[0]) if found else 0.0

    names = ('trivet_ocsp_requests_total{result="good"}', "trivet_ocsp_recalled_total")
    before = [counted(name) for name in names]
    asker.get(asker.body())
    asker.get(asker.body())
    assert [counted(name) for name in names] == [before[0] + 2, before[1] + 1]
