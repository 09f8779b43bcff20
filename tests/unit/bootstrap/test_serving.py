from __future__ import annotations

import json
import logging
import logging.config
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from trivet.authority.context import Authority
from trivet.authority.install import install
from trivet.bootstrap.chores import Chore, Housekeeper
from trivet.bootstrap.https import HttpsCertificate
from trivet.pki.errors import UnavailableError
from trivet.signing.encryption import KeyEncryptionKey
from trivet.signing.file import Keyring
from trivet.store.engine import Database
from trivet.store.migrate import upgrade
from trivet.web.logs import JsonFormatter, logging_config, request_id

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
NAMES = ("localhost", "127.0.0.1", "::1", "ca.example.org")


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authority(tmp_path: Path, clock: Clock) -> Iterator[Authority]:
    database = Database(f"sqlite:///{tmp_path / 'trivet.db'}")
    upgrade(database)
    key = KeyEncryptionKey(secrets.token_bytes(32))
    made = Authority(database, Keyring(key), key, clock, secrets.randbits)
    install(made)
    yield made
    database.dispose()


def leaf(https: HttpsCertificate) -> x509.Certificate:
    """The certificate that the next handshake would show."""
    shown = https.tls._context.handshakes
    from OpenSSL import SSL, crypto  # noqa: PLC0415

    connection = SSL.Connection(shown)
    certificate = connection.get_certificate()
    assert certificate is not None
    return x509.load_der_x509_certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))


def test_the_services_own_certificate_has_its_names_and_serves_only(authority: Authority) -> None:
    certificate = leaf(HttpsCertificate(authority, NAMES))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "ca.example.org"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_it_is_renewed_at_two_thirds_of_its_lifetime_with_a_new_key(
    authority: Authority, clock: Clock
) -> None:
    https = HttpsCertificate(authority, NAMES)
    first = leaf(https)
    lifetime = first.not_valid_after_utc - START
    assert abs(https.renewal_due - (START + lifetime * 2 / 3)) < timedelta(minutes=1)
    clock.time = https.renewal_due
    chore = Chore("renewing", https.renew, https.renewal_due)
    chore.do_if_due(clock())
    second = leaf(https)
    assert second.public_key() != first.public_key()
    assert second.not_valid_after_utc > first.not_valid_after_utc
    assert chore.due == https.renewal_due > clock.time


def test_while_the_database_is_away_the_former_certificate_serves_on_until_it_is_back(
    authority: Authority, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    https = HttpsCertificate(authority, NAMES)
    first = leaf(https)
    authority.database.dispose()
    data = tmp_path / "trivet.db"
    data.rename(tmp_path / "away")
    data.mkdir()
    chore = Chore("renewing the HTTPS certificate", https.renew, https.renewal_due)
    clock.time = https.renewal_due
    chore.do_if_due(clock())
    assert leaf(https) == first
    assert "renewing the HTTPS certificate failed" in caplog.text
    assert chore.due == clock.time + timedelta(seconds=5)
    data.rmdir()
    (tmp_path / "away").rename(data)
    clock.time = chore.due
    chore.do_if_due(clock())
    assert leaf(https) != first
    assert chore.failures == 0


def test_a_chore_that_keeps_failing_is_tried_ever_more_rarely_but_never_given_up() -> None:
    def fail() -> datetime:
        raise UnavailableError("away")

    chore, now = Chore("x", fail, START), START
    waits = []
    for _ in range(20):
        now = chore.due
        chore.do_if_due(now)
        waits.append((chore.due - now).total_seconds())
    assert waits[:7] == [5, 10, 20, 40, 80, 160, 300]
    assert set(waits[7:]) == {300}


def test_a_chore_that_is_not_due_is_left() -> None:
    def fail() -> datetime:
        raise AssertionError

    Chore("x", fail, START + timedelta(seconds=1)).do_if_due(START)


def test_the_housekeeper_does_what_is_due_and_stops(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr("trivet.bootstrap.chores._GLANCE_SECONDS", 0.01)
    done: list[datetime] = []

    def act() -> datetime:
        done.append(clock())
        clock.time += timedelta(hours=2)
        return clock.time if len(done) < 3 else clock.time + timedelta(days=1)

    housekeeper = Housekeeper([Chore("x", act, START)], clock)
    housekeeper.start()
    while len(done) < 3:
        pass
    housekeeper.stop()
    assert done == [START, START + timedelta(hours=2), START + timedelta(hours=4)]


def formatted(log: Callable[[logging.Logger], None]) -> str:
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Collector()
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("trivet.test")  # noqa: LOG001  of this test alone
    logger.addHandler(handler)
    log(logger)
    (line,) = lines
    return line


def test_a_log_line_is_one_json_object_with_the_request_id() -> None:
    token = request_id.set("r-1")
    try:
        line = formatted(lambda logger: logger.warning("a %s\nb", "ü", extra={"fields": {"status": 200}}))
    finally:
        request_id.reset(token)
    assert "\n" not in line
    document = json.loads(line)
    assert datetime.fromisoformat(document.pop("time")).tzinfo is not None
    assert document == {
        "level": "warning",
        "logger": "trivet.test",
        "message": "a ü\nb",
        "requestId": "r-1",
        "status": 200,
    }


def test_an_exception_is_logged_in_the_same_line() -> None:
    def log(logger: logging.Logger) -> None:
        try:
            int("x")
        except ValueError:
            logger.exception("failed")

    document = json.loads(formatted(log))
    assert "ValueError: invalid literal" in document["exception"]
    assert "requestId" not in document


def test_uvicorns_logs_go_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        logging.config.dictConfig(logging_config("info"))
        logging.getLogger("uvicorn.error").info("Started")
        assert json.loads(capsys.readouterr().err)["logger"] == "uvicorn.error"
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
