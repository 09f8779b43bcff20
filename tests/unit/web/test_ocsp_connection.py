"""OCSP requests that uvicorn's connection answers by itself: as by ASGI, and nothing is lost on the way."""

from __future__ import annotations

import base64
import gc
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import pytest
import uvicorn
from cryptography.x509 import ocsp
from tests.support.ocsp_requests import nonce, request_about
from tests.support.ocsp_world import OcspWorld
from tests.support.revocation_objects import entry
from tests.unit.web.service import Service

from trivet.authority.status.replies import MALFORMED, TRY_LATER
from trivet.pki.ocsp import MAX_REQUEST_BYTES
from trivet.pki.revocation import EntryKind
from trivet.web.app import create_plain_app
from trivet.web.offload import Offload
from trivet.web.pki import answering as module
from trivet.web.pki import ocsp as ocsp_route
from trivet.web.pki.answering import Answering
from trivet.web.pki.connection import OcspProtocol
from trivet.web.pki.ocsp import asked_at

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from starlette.types import Receive, Scope, Send

    from trivet.authority.status.replies import Question, Reply

Headers = dict[str, str]
BY_ASGI = {"Expect": "100-continue"}  # which is not of the plainest kind


class Port:
    """A port for plain HTTP, and what of its requests went through ASGI."""

    def __init__(self, service: Service) -> None:
        authority = service.world.authority
        self.blue = OcspWorld(service.world)
        self.world = service.world
        self.serials = [service.world.issue(key=number).stored.serial for number in (4, 5)]
        place = self.blue.place
        self.path = f"/pki/{place.cluster}/{place.authority}/{place.key_identifier}/ocsp"
        self.by_asgi = 0
        self.answering, self._offload = Answering(authority), Offload()
        self._app = create_plain_app(authority, self._offload, self.answering)
        self.number = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.by_asgi += 1
        await self._app(scope, receive, send)

    @contextmanager
    def served(self) -> Iterator[None]:
        protocol = partial(OcspProtocol, self.answering)
        server = uvicorn.Server(
            uvicorn.Config(
                self,
                http=cast("type[asyncio.Protocol]", protocol),
                loop="uvloop",
                ws="none",
                lifespan="off",
                log_config=None,
                timeout_graceful_shutdown=1,
                limit_concurrency=20,
            )
        )
        self._state = server.server_state
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            self.number = listener.getsockname()[1]
            thread = threading.Thread(target=server.run, args=([listener],))
            thread.start()
            while thread.is_alive() and not server.started:
                time.sleep(0.005)
            try:
                yield
            finally:
                server.should_exit = True
                thread.join()
                self.answering.close()
                self._offload.close()

    @property
    def answered(self) -> int:
        return self._state.total_requests

    def body(self, *extensions: bytes, serial: str | None = None) -> bytes:
        return request_about(self.blue.issuer, [int(serial or self.serials[0], 16)], *extensions)

    def escaped(self, body: bytes) -> str:
        return f"{self.path}/{quote(base64.b64encode(body).decode(), safe='')}"

    def ask(self, method: str, path: str, body: bytes = b"", headers: Headers | None = None) -> HTTPResponse:
        connection = HTTPConnection("127.0.0.1", self.number, timeout=10)
        connection.request(method, path, body or None, headers or {})
        answer = connection.getresponse()
        answer.content = answer.read()  # type: ignore[attr-defined]
        connection.close()
        return answer

    @contextmanager
    def wire(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.number), timeout=10) as wire:
            yield wire

    def posted(self, body: bytes, *lines: str, version: str = "1.1") -> bytes:
        head = [f"POST {self.path} HTTP/{version}", "Host: a", f"Content-Length: {len(body)}", *lines, "", ""]
        return "\r\n".join(head).encode() + body


@pytest.fixture
def port(service: Service) -> Iterator[Port]:
    made = Port(service)
    with made.served():
        yield made


def seen(answer: HTTPResponse) -> tuple[Any, ...]:
    """All that an answer says; of the signature, and so of the length, there may be several."""
    headers = {name.lower(): value for name, value in answer.getheaders()}
    assert headers.pop("date")
    assert headers.pop("content-length", "0") == str(len(content(answer)))
    response = ocsp.load_der_ocsp_response(content(answer)) if content(answer) else None
    if response and response.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL:
        return answer.status, headers, response.tbs_response_bytes
    return answer.status, headers, content(answer)


def content(answer: HTTPResponse) -> bytes:
    return cast("bytes", answer.content)  # type: ignore[attr-defined]


def said(octets: bytes) -> str:
    return ocsp.load_der_ocsp_response(octets).certificate_status.name


def answers(wire: socket.socket, count: int) -> list[HTTPResponse]:
    """Read so many answers from one connection."""
    file = wire.makefile("rb")
    found = []
    for _ in range(count):
        answer = HTTPResponse(cast("socket.socket", _Opened(file)))
        answer.begin()
        answer.content = answer.read()  # type: ignore[attr-defined]
        found.append(answer)
    return found


class _Opened:
    def __init__(self, file: Any) -> None:  # noqa: ANN401
        self._file = file

    def makefile(self, _: str) -> Any:  # noqa: ANN401
        return _Unclosed(self._file)


class _Unclosed:
    def __init__(self, file: Any) -> None:  # noqa: ANN401
        self._file = file

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._file, name)

    def close(self) -> None:
        """Leave the file open for the next answer."""


def test_both_ways_give_the_same_answer(port: Port) -> None:
    plain, unknown = port.body(), port.body(serial="777")
    tag = port.ask("GET", port.escaped(plain)).headers["etag"]
    port.by_asgi = 0
    asked: tuple[tuple[str, str, bytes, Headers], ...] = (
        ("POST", port.path, plain, {}),
        ("POST", port.path, unknown, {}),
        ("POST", port.path, b"nonsense", {}),
        ("POST", port.path.replace("/cluster/", "/etcd/"), plain, {}),
        ("GET", port.escaped(plain), b"", {}),
        ("GET", port.escaped(plain), b"", {"If-None-Match": tag}),
        ("GET", port.escaped(unknown), b"", {"If-None-Match": tag}),
        ("GET", f"{port.path}/nonsense!", b"", {}),
        ("GET", port.escaped(plain), b"", {"Connection": "close"}),
    )
    by_itself = [seen(port.ask(*one)) for one in asked]
    assert port.by_asgi == 0
    assert by_itself == [
        seen(port.ask(method, path, body, headers | BY_ASGI)) for method, path, body, headers in asked
    ]
    assert port.by_asgi == len(asked)


def test_a_revocation_is_in_the_next_answer(port: Port) -> None:
    assert said(content(port.ask("POST", port.path, port.body()))) == "GOOD"
    port.world.revoke(entry(EntryKind.SERIAL_NUMBER, port.serials[0]))
    assert said(content(port.ask("POST", port.path, port.body()))) == "REVOKED"
    assert port.by_asgi == 0


def test_a_request_may_come_octet_by_octet(port: Port) -> None:
    with port.wire() as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in port.posted(port.body()):
            wire.send(bytes((octet,)))
        (answer,) = answers(wire, 1)
    assert (said(content(answer)), port.by_asgi) == ("GOOD", 0)


def test_what_comes_at_once_is_answered_in_its_order(port: Port) -> None:
    port.world.revoke(entry(EntryKind.SERIAL_NUMBER, port.serials[1]))
    sent = [port.posted(port.body(nonce(bytes((n,)) * 32), serial=port.serials[n % 2])) for n in range(12)]
    sent[3] = f"GET {port.path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    with port.wire() as wire:
        wire.sendall(b"".join(sent)[:-20])
        time.sleep(0.05)  # the end of the last one comes while others are answered
        wire.sendall(sent[-1][-20:])
        found = answers(wire, 12)
    assert found.pop(3).status == 405
    assert [said(content(answer)) for answer in found] == [
        ("GOOD", "REVOKED")[n % 2] for n in range(12) if n != 3
    ]
    assert port.by_asgi == 1


@pytest.mark.parametrize(("version", "lines"), [("1.0", []), ("1.1", ["Connection: close"])])
def test_a_connection_that_is_for_one_request_is_closed(port: Port, version: str, lines: list[str]) -> None:
    with port.wire() as wire:
        wire.sendall(port.posted(port.body(), *lines, version=version))
        (answer,) = answers(wire, 1)
        assert wire.recv(1) == b""
    assert (answer.headers["connection"], said(content(answer)), port.by_asgi) == ("close", "GOOD", 0)


def test_what_is_not_of_the_plainest_kind_goes_by_asgi(port: Port) -> None:
    body = port.body()
    with port.wire() as wire:
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        wire.sendall(f"POST {port.path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        wire.sendall(chunk)
        (answer,) = answers(wire, 1)
        assert (said(content(answer)), port.by_asgi) == ("GOOD", 1)
    large = port.ask("POST", port.path, b"\x30" * (MAX_REQUEST_BYTES + 1))
    assert ocsp.load_der_ocsp_response(content(large)).response_status.name == "MALFORMED_REQUEST"
    assert port.ask("DELETE", port.path).status == 405
    assert port.ask("GET", port.path.removesuffix("/ocsp") + ".crt").status == 200
    assert port.by_asgi == 4


def test_zeros_before_a_length_disturb_nobody(port: Port) -> None:
    body = port.body()
    zeros = port.posted(body).replace(b"Content-Length: ", b"Content-Length: " + b"0" * 4400)
    with port.wire() as wire:
        wire.sendall(port.posted(body) + zeros + port.posted(body))
        assert [said(content(answer)) for answer in answers(wire, 3)] == ["GOOD"] * 3
    assert port.by_asgi == 1


def test_many_that_are_malformed_are_answered_each(port: Port) -> None:
    with port.wire() as wire:
        wire.sendall(f"GET {port.path}/! HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 120)
        assert {content(answer) for answer in answers(wire, 120)} == {MALFORMED.body}


def test_what_clients_make_up_is_not_kept() -> None:
    for number in range(100):
        asked_at(f"/pki/c/node/00/ocsp/{number}" + "x" * 1000)
    before = ocsp_route._known.cache_info().currsize
    asked_at("/pki/c/node/00/ocsp/" + "y" * 1000)
    assert ocsp_route._known.cache_info().currsize == before
    assert asked_at("/pki/c/node/00/ocsp") is asked_at("/pki/c/node/00/ocsp")


def test_a_connection_that_ended_leaves_nothing_to_be_looked_for(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[OcspProtocol]] = []
    connected = OcspProtocol.connection_made

    def note(protocol: OcspProtocol, transport: asyncio.Transport) -> None:
        made.append(weakref.ref(protocol))
        connected(protocol, transport)

    monkeypatch.setattr(OcspProtocol, "connection_made", note)
    gc.disable()
    try:
        assert said(content(port.ask("POST", port.path, port.body()))) == "GOOD"
        with port.wire() as wire:
            wire.sendall(port.posted(port.body()) * 3 + port.posted(port.body())[:-5])
            answers(wire, 3)
        port.ask("GET", port.path.removesuffix("/ocsp") + ".crt")  # whose loop has had a turn since
        until = time.monotonic() + 5
        while [one for one in made[:2] if one() is not None] and time.monotonic() < until:
            time.sleep(0.01)
        assert [one() for one in made[:2]] == [None, None]
    finally:
        gc.enable()


def test_whoever_went_away_disturbs_nobody(port: Port) -> None:
    for _ in range(20):
        with port.wire() as gone, port.wire() as other:
            gone.sendall(port.posted(port.body(nonce(b"n" * 32))) * 3)
            gone.close()
            other.sendall(port.posted(port.body()))
            (answer,) = answers(other, 1)
            assert said(content(answer)) == "GOOD"


def test_whoever_does_not_read_is_not_written_to_without_end(port: Port) -> None:
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.connect(("127.0.0.1", port.number))
        for sent in range(1, 2000):
            wire.sendall(port.posted(port.body()))
            while port.answered < sent and not port.by_asgi:
                time.sleep(0.0005)
            if port.by_asgi:
                break
    assert port.by_asgi == 1  # which waits until the client reads


def test_an_answer_in_hand_is_given_though_the_service_ends(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, began, may_go_on = Port(service), threading.Event(), threading.Event()
    answer_to = port.answering._desk.answer

    def slowly(questions: Sequence[Question]) -> list[Reply]:
        began.set()
        may_go_on.wait()
        return answer_to(questions)

    monkeypatch.setattr(port.answering._desk, "answer", slowly)
    with port.served():
        wire = socket.create_connection(("127.0.0.1", port.number), timeout=10)
        wire.sendall(port.posted(port.body()))
        began.wait()
        threading.Timer(0.3, may_go_on.set).start()
    (answer,) = answers(wire, 1)
    wire.close()
    assert (said(content(answer)), answer.headers["connection"], port.by_asgi) == ("GOOD", "close", 0)


def test_beyond_the_longest_queue_it_says_try_later(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_QUEUE", 0)
    answer = port.ask("POST", port.path, port.body())
    assert (content(answer), answer.headers["retry-after"]) == (TRY_LATER.body, "5")


def test_beyond_the_most_connections_it_is_uvicorns_answer(port: Port) -> None:
    others = [socket.create_connection(("127.0.0.1", port.number)) for _ in range(20)]
    with port.wire() as last:
        last.sendall(port.posted(port.body()))
        (answer,) = answers(last, 1)
    for other in others:
        other.close()
    assert (answer.status, port.by_asgi) == (503, 0)
