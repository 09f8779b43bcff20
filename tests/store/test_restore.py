"""What a restore does not take over as it was, and what it refuses to make, on both databases."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect
from tests.support.clock import Clock
from tests.support.fleet import Fleet
from tests.support.installations import new_world, world_over
from tests.support.proof import complaints, exported, verified
from tests.support.signing_requests import csr
from tests.support.world import World

from trivet.authority.access import Requester, Role
from trivet.authority.approval.bootstrap_tokens import WantedToken, create_bootstrap_token
from trivet.authority.approval.decide import Choice, approve_request
from trivet.authority.approval.fulfil import fulfil_left_over
from trivet.authority.approval.requests import get_request
from trivet.authority.approval.submission import Submission
from trivet.authority.approval.submit import submit_request
from trivet.authority.authenticate import authenticate_token
from trivet.authority.backup import backup
from trivet.authority.backups.errors import DamagedBackupError
from trivet.authority.backups.reading import BackupReader
from trivet.authority.follow import changes_after
from trivet.authority.install import OPERATOR
from trivet.authority.repair import list_repairs
from trivet.authority.restore import restore
from trivet.authority.tokens import create_token
from trivet.pki.errors import AuthenticationError
from trivet.store import partitions
from trivet.store.changes import CERTIFICATE_SIGNING_REQUESTS, Place
from trivet.store.engine import Database
from trivet.store.requests import RequestState, StoredRequest

APPROVER = Requester("token:approver", Role.APPROVER)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(database_url: str, clock: Clock) -> Iterator[World]:
    world = new_world(database_url, clock)
    yield world
    world.authority.database.dispose()


@pytest.fixture
def elsewhere(
    database_url: str, clock: Clock, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[World]:
    """Give a world over another database of the same kind, which is empty."""
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    if not database_url.startswith("sqlite"):
        url = request.getfixturevalue("other_postgres_database")
    world = world_over(url, clock)
    yield world
    world.authority.database.dispose()


def written(world: World) -> bytes:
    out = io.BytesIO()
    backup(world.authority, out.write)
    return out.getvalue()


def restored(world: World, octets: bytes) -> None:
    authority = world.authority
    restore(authority, BackupReader(io.BytesIO(octets), authority.key_encryption_key))


def submit(world: World, name: str) -> StoredRequest:
    return submit_request(world.authority, OPERATOR, "blue", Submission("scheduler", csr(), name=name))


def read(world: World, name: str) -> StoredRequest:
    return get_request(world.authority, OPERATOR, "blue", name)


def test_what_holds_once_only_is_given_up_and_the_rest_goes_on(world: World, elsewhere: World) -> None:
    fleet = Fleet(world)
    fleet.provision("worker-1", "kubelet-client")
    world.clock.advance(minutes=1)
    opened = fleet.open()
    one_time = fleet.token(opened, "worker-1")
    bootstrap, secret = create_bootstrap_token(world.authority, OPERATOR, "blue", WantedToken())
    _, access = create_token(world.authority, OPERATOR, role=Role.ISSUER)
    submit(world, "waits")
    approve_request(world.authority, APPROVER, Choice("blue", submit(world, "approved").name, "known"))
    seen = read(world, "approved")
    octets = written(world)
    # Since the backup it was issued for, the one-time token was used, and the window closed.
    world.clock.advance(minutes=5)
    assert fulfil_left_over(world.authority) == 1
    fleet.by_token(one_time, "worker-1", "kubelet-client")
    fleet.close(opened)

    restored(elsewhere, octets)
    authority = elsewhere.authority
    assert fulfil_left_over(authority) == 0
    failed = read(elsewhere, "approved")
    assert (failed.state, failed.seal) == (RequestState.FAILED, None)
    assert "restored" in failed.reason
    assert failed.version > seen.version + 1000
    assert [step["type"] for step in failed.conditions] == ["Approved", "Failed"]
    assert read(elsewhere, "waits").state is RequestState.PENDING
    place = Place(failed.cluster_id, CERTIFICATE_SIGNING_REQUESTS)
    assert changes_after(authority, place, seen.version).lost

    (window,) = list_repairs(authority, OPERATOR, "blue", None, 10)[1]
    assert (window.outcome, window.closed_by) == ("closed", OPERATOR.name)
    there = Fleet(elsewhere)
    with pytest.raises(AuthenticationError):
        there.by_token(one_time, "worker-1", "kubelet-client")
    with pytest.raises(AuthenticationError):
        authenticate_token(authority, secret)
    assert authenticate_token(authority, access).role is Role.ISSUER

    assert [one.object for one in there.audited("repair.close")] == [str(opened.window.id)]
    assert [one.object for one in there.audited("request.fail")] == ["approved"]
    assert [one.object for one in there.audited("bootstrap-token.delete")] == [bootstrap.id]
    (record,) = there.audited("installation.restore")
    counts = ("closedRepairs", "failedRequests", "removedBootstrapTokens")
    assert [record.details[name] for name in counts] == [1, 1, 1]
    for cluster in (None, "blue"):
        assert not complaints(verified(authority, exported(authority, cluster=cluster)))


def other_heading(octets: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    first, rest = octets.split(b"\n", 1)
    heading = json.loads(first)
    change(heading)
    return json.dumps(heading).encode() + b"\n" + rest


def add_table(name: str, *columns: list[str]) -> Callable[[dict[str, Any]], object]:
    return lambda heading: heading["tables"].append({"name": name, "columns": columns})


def with_columns(*columns: list[str]) -> Callable[[dict[str, Any]], object]:
    def change(heading: dict[str, Any]) -> None:
        (form,) = (one for one in heading["tables"] if one["name"] == "installations")
        form["columns"] = columns

    return change


def test_a_heading_that_names_what_the_schema_does_not_have_is_refused_before_it_is_used(
    world: World, elsewhere: World
) -> None:
    octets = written(world)
    for change, stranger in (
        (add_table("strange", ["id", "integer"]), "strange"),
        (add_table("alembic_version", ["version_num", "text"]), "alembic_version"),
        (add_table("decisions_default", ["id", "id"]), "decisions_default"),
        (add_table("clusters", ["id", "id"]), "clusters"),  # twice
        (with_columns(["id", "integer"], ["strange", "text"]), "installations.strange"),
        (with_columns(["id", "integer"], ["id", "integer"]), "installations.id"),  # twice
        (with_columns(["id", "strange"]), "installations.id"),
    ):
        with pytest.raises(DamagedBackupError, match=rf"the schema \d+ has no '{stranger}'"):
            restored(elsewhere, other_heading(octets, change))
        with elsewhere.authority.database.read() as connection:
            assert not inspect(connection).get_table_names()


@pytest.mark.parametrize("change", ["a row twice", "a value of another kind"])
def test_a_row_that_its_table_does_not_take_is_said_to_be_damage(
    world: World, elsewhere: World, change: str
) -> None:
    lines = written(world).splitlines(keepends=True)
    at = lines.index(b'{"type":"table","name":"clusters"}\n') + 1
    if change == "a row twice":
        lines.insert(at, lines[at])
    else:
        lines[at] = json.dumps([*json.loads(lines[at])[:-2], {}, None]).encode() + b"\n"
    with pytest.raises(DamagedBackupError, match="clusters does not take a row"):
        restored(elsewhere, b"".join(lines))


def test_of_a_span_of_centuries_ten_years_have_months(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[datetime] = []
    monkeypatch.setattr(partitions, "_attach_missing", lambda _, __, month: made.append(month))
    database, last = Database(postgres_database), datetime(2426, 11, 24, tzinfo=UTC)
    with database.write() as connection:
        partitions.make_months(connection, datetime(1970, 1, 1, tzinfo=UTC), last)
    database.dispose()
    assert (min(made), max(made)) == (datetime(2416, 11, 1, tzinfo=UTC), datetime(2426, 11, 1, tzinfo=UTC))
