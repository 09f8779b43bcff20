"""What `trivet doctor` finds about a service that could start: each fault by its own finding, with its remedy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update
from tests.support.clock import Clock
from tests.support.installations import new_world, place_of, settings_for
from tests.support.world import World

from trivet.authority.status.publish import Publisher
from trivet.bootstrap import composition
from trivet.bootstrap import condition as looked_at
from trivet.bootstrap.condition import condition
from trivet.bootstrap.findings import Finding, State
from trivet.settings import ServerSettings
from trivet.store import monitoring
from trivet.store.tables import generations


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(composition, "now", clock)
    return clock


@pytest.fixture
def world(sqlite_database: str, clock: Clock) -> Iterator[World]:
    world = new_world(sqlite_database, clock)
    place_of(sqlite_database).chmod(0o600)
    yield world
    world.authority.database.dispose()


@pytest.fixture
def settings(world: World, sqlite_database: str) -> ServerSettings:
    Publisher(world.authority).begin()
    Publisher(world.authority).publish_all()
    return settings_for(sqlite_database)


def findings(settings: ServerSettings) -> dict[str, Finding]:
    return {finding.subject: finding for finding in condition(settings)}


def fault(settings: ServerSettings) -> Finding:
    """Give the one thing that is bad; it has a remedy."""
    (found,) = [finding for finding in condition(settings) if finding.state is State.BAD]
    assert found.remedy
    return found


def test_a_service_that_is_well_has_no_fault(settings: ServerSettings) -> None:
    found = findings(settings)
    assert {subject for subject, finding in found.items() if finding.state is State.BAD} == set()
    assert found.keys() >= {
        "clock", "database latency", "CRLs", "keys of authorities", "service authority", "disk", "files"}  # fmt: skip


def test_crls_that_nobody_makes_anew_are_told_before_they_end_and_after(
    settings: ServerSettings, clock: Clock
) -> None:
    clock.advance(hours=40)
    assert fault(settings).detail.startswith("should have been made anew: blue/")
    clock.advance(hours=40)
    assert fault(settings).detail.startswith("no longer valid: blue/cluster, ")


def test_a_key_that_does_not_open_is_named(settings: ServerSettings, world: World) -> None:
    with world.authority.database.write() as connection:
        changed = update(generations).where(generations.c.spki_sha256 != "").values(private_key=b"damaged")
        connection.execute(changed)
    found = fault(settings)
    assert (found.subject, "blue/etcd" in found.detail) == ("keys of authorities", True)


def test_a_service_authority_that_ends_soon_is_told(
    settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looked_at, "_LAST_OF_AUTHORITY", timedelta(days=365 * 20))
    assert fault(settings).subject == "service authority"


def test_a_disk_that_is_nearly_full_is_told(
    settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    assert fault(settings).subject == "disk"


def test_a_clock_that_is_not_the_databases_is_told(
    settings: ServerSettings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "server_time", lambda _: clock() + timedelta(minutes=2))
    found = fault(settings)
    assert (found.subject, "120 s apart" in found.detail) == ("clock", True)


def test_a_slow_database_is_told(settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looked_at, "_SLOW", timedelta())
    assert fault(settings).subject == "database latency"


def test_a_database_that_anybody_can_read_is_told(settings: ServerSettings, sqlite_database: str) -> None:
    path = place_of(sqlite_database)
    path.chmod(0o644)
    path.parent.chmod(0o755)
    found = fault(settings)
    assert (found.subject, f"chmod 600 {path}" in (found.remedy or "")) == ("files", True)
    path.parent.chmod(0o700)
    assert findings(settings)["files"].state is State.GOOD


def test_a_key_beside_the_database_is_told(settings: ServerSettings, sqlite_database: str) -> None:
    key = place_of(sqlite_database).with_name("key-encryption.key")
    key.write_text(settings.key_encryption_key.get_secret_value())  # type: ignore[union-attr]
    values: dict[str, Any] = {"key_encryption_key_file": key, "database_url": sqlite_database}
    assert "beside the database" in fault(ServerSettings.load(None, **values)).detail


def test_on_postgresql_the_clocks_are_compared(postgres_database: str) -> None:
    clock = Clock()
    world = new_world(postgres_database, clock)
    try:
        found = findings(settings_for(postgres_database))
        assert found["clock"].state is State.GOOD
        assert found["disk"].state is State.SKIPPED
    finally:
        world.authority.database.dispose()
