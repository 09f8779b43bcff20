from __future__ import annotations

import http.client
import pickle
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
import uvicorn

from trivet.bootstrap.clock import now
from trivet.bootstrap.errors import StartError
from trivet.bootstrap.initialise import Installation, initialise
from trivet.bootstrap.layout import Choices
from trivet.bootstrap.service import QuietServer, Worker, serve, uvicorn_config
from trivet.settings import ServerSettings
from trivet.store import idempotency
from trivet.store.idempotency import Claim


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return initialise(Choices(tmp_path / ".trivet", f"https://127.0.0.1:{port}", {"port": port}, None))


@pytest.fixture
def worker(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setattr("trivet.bootstrap.chores._GLANCE_SECONDS", 0.02)
    worker = Worker(installation.settings)
    server = QuietServer(config_of(worker))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield worker
    server.should_exit = True
    thread.join()
    worker.close()


def config_of(worker: Worker) -> uvicorn.Config:
    with patch("trivet.bootstrap.service.logging_config", return_value=None):
        return uvicorn_config(worker._settings, worker)


def connection(installation: Installation) -> http.client.HTTPSConnection:
    trust = ssl.create_default_context(cafile=installation.layout.service_ca)
    return http.client.HTTPSConnection("127.0.0.1", installation.settings.port, context=trust, timeout=10)


def answer(opened: http.client.HTTPSConnection) -> tuple[int, bytes]:
    """The status of a request, and the service's certificate."""
    opened.request("GET", "/readyz")
    response = opened.getresponse()
    response.read()
    over_tls = opened.sock
    assert isinstance(over_tls, ssl.SSLSocket)
    return response.status, over_tls.getpeercert(True) or b""  # noqa: FBT003


def test_the_https_certificate_is_renewed_while_open_connections_go_on(
    installation: Installation, worker: Worker
) -> None:
    open_before = connection(installation)
    status, first = answer(open_before)
    assert status == 200
    housekeeper = worker._housekeeper
    assert housekeeper is not None
    renewal = next(chore for chore in housekeeper._chores if "HTTPS" in chore.name)
    renewal.due = now()
    deadline = time.monotonic() + 10
    second = first
    while second == first:
        assert time.monotonic() < deadline
        fresh = connection(installation)
        _, second = answer(fresh)
        fresh.close()
    assert answer(open_before) == (200, first)
    open_before.close()
    assert renewal.due > now() + timedelta(days=2)


def test_every_worker_has_a_certificate_of_its_own(installation: Installation) -> None:
    workers = [Worker(installation.settings) for _ in range(2)]
    shown = set()
    for worker in workers:
        worker.tls(config_of(worker), ssl.create_default_context)
        assert worker._https is not None
        shown.add(worker._https.renewal_due)
        worker.close()
    assert len(shown) == 2


def test_a_worker_without_its_database_ends_so_that_it_is_started_again(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(installation.settings)
    database = installation.layout.database
    for stale in database.parent.iterdir():
        stale.unlink()
    database.mkdir()
    with pytest.raises(SystemExit) as ended:
        worker.tls(config_of(worker), ssl.create_default_context)
    worker.close()
    assert ended.value.code == 1
    assert "no HTTPS certificate" in caplog.text


def test_a_worker_travels_to_its_process_with_settings_alone(installation: Installation) -> None:
    worker = Worker(installation.settings)
    config = config_of(worker)
    copied = pickle.loads(pickle.dumps(config))  # noqa: S301
    assert copied.app._settings == installation.settings
    assert copied.ssl_context_factory.__self__ is copied.app


def test_idempotency_keys_are_forgotten_after_a_day(installation: Installation) -> None:
    worker = Worker(installation.settings)
    claims = {hours: Claim("somebody", f"key-{hours}", "fingerprint", "reference") for hours in (1, 25)}
    with worker.authority.database.write() as transaction:
        for hours, claim in claims.items():
            idempotency.claim(transaction, claim, now() - timedelta(hours=hours))
    due = worker._forget_keys()
    assert abs(due - now() - timedelta(hours=1)) < timedelta(minutes=1)
    again = {hours: Claim("somebody", f"key-{hours}", "other", "reference") for hours in (1, 25)}
    with worker.authority.database.write() as transaction:
        held = {
            hours: idempotency.claim(transaction, claim, now()).fingerprint for hours, claim in again.items()
        }
    worker.close()
    assert held == {1: "fingerprint", 25: "other"}


def test_an_occupied_port_is_told_before_anything_is_done(installation: Installation) -> None:
    settings = installation.settings
    with (
        socket.create_server(("127.0.0.1", settings.port)),
        pytest.raises(StartError, match="Address already in use"),
    ):
        serve_quietly(settings)


def test_a_host_that_is_none_is_told(installation: Installation) -> None:
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with (
        patch("trivet.bootstrap.service.socket.getaddrinfo", side_effect=unknown),
        pytest.raises(StartError, match=r"cannot listen on 127\.0\.0\.1 port .*: Name or service not known"),
    ):
        serve_quietly(installation.settings)


def serve_quietly(settings: ServerSettings) -> None:
    with patch("trivet.bootstrap.service.logging.config.dictConfig"):
        serve(settings)
