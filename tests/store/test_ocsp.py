"""What OCSP says of a certificate, on both databases: what the database says after the request came, in any process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from uuid import uuid4

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, delete, make_url, select, text, update
from sqlalchemy.exc import DataError, ProgrammingError
from tests.support.clock import Clock
from tests.support.ocsp_requests import cert_id, nonce, request, request_about
from tests.support.ocsp_world import OcspWorld, statuses
from tests.support.revocation_objects import entry
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.install import OPERATOR
from trivet.authority.issue import issue as real_issue
from trivet.authority.metrics.monitor import Monitor
from trivet.authority.renewals.identities import list_identities
from trivet.authority.status import responder
from trivet.authority.status.ocsp import LIFETIME
from trivet.authority.status.replies import MALFORMED, TRY_LATER, UNAUTHORIZED, Question
from trivet.authority.status.responder import make_responder, renew_responders
from trivet.pki.kubernetes import PROFILES, RESPONDER_PROFILES
from trivet.pki.profiles import AuthorityName
from trivet.pki.revocation import EntryKind
from trivet.store import ocsp_responders, status
from trivet.store.engine import Database
from trivet.store.prepared import Prepared
from trivet.store.tables import certificates, generations
from trivet.store.tables import ocsp_responders as responder_rows

SERIAL = EntryKind.SERIAL_NUMBER
Copy = Callable[[str], str]
_numbers = count(1)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """Give what copies a database with the cluster `blue`."""
    folder = tmp_path_factory.mktemp("ocsp")
    if request.param == "sqlite":
        _prepare(f"sqlite:///{folder / 'prepared.db'}")
        yield lambda name: f"sqlite:///{shutil.copy(folder / 'prepared.db', folder / f'{name}.db')}"
        return
    owner: psycopg.Connection = request.getfixturevalue("_postgres_owner")
    server = make_url(request.getfixturevalue("postgres_url"))
    made = ["ocsp_prepared"]

    def url_of(name: str) -> str:
        return server.set(database=name).render_as_string(hide_password=False)

    def copy(name: str) -> str:
        made.append(name)
        owner.execute(f"CREATE DATABASE {name} TEMPLATE ocsp_prepared")
        return url_of(name)

    owner.execute("CREATE DATABASE ocsp_prepared")
    _prepare(url_of("ocsp_prepared"))
    yield copy
    for name in made:
        owner.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _prepare(url: str) -> None:
    clock = Clock()
    prepare_database(url, clock)
    world = World(make_authority(url, clock), clock)
    world.make_cluster("blue")
    world.authority.database.dispose()


@pytest.fixture
def blue(prepared: Copy) -> Iterator[OcspWorld]:
    clock = Clock()
    world = World(make_authority(prepared(f"ocsp_{next(_numbers)}"), clock), clock)
    yield OcspWorld(world)
    world.authority.database.dispose()


def signer_of(blue: OcspWorld, body: bytes) -> x509.Certificate:
    """The responder's certificate, once the chain from the CA to the answer was verified."""
    response = ocsp.load_der_ocsp_response(body)
    (certificate,) = response.certificates
    certificate.verify_directly_issued_by(blue.issuer)
    algorithm = response.signature_hash_algorithm
    assert algorithm is not None
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))
    return certificate


def test_what_is_said_is_what_stands(blue: OcspWorld) -> None:
    good, revoked = blue.world.issue(key=1).stored, blue.world.issue(key=2).stored
    blue.world.revoke(entry(SERIAL, revoked.serial))
    reply = blue.ask(good.serial, revoked.serial, 12345)
    assert (statuses(reply), reply.result) == (["good", "revoked", "unknown"], "several")
    told = list(ocsp.load_der_ocsp_response(reply.body).responses)[1]
    assert told.revocation_time_utc == blue.world.clock().replace(microsecond=0)
    assert told.next_update_utc == told.this_update_utc + LIFETIME
    assert signer_of(blue, reply.body).serial_number == int(_serial_of_responder(blue), 16)


def _serial_of_responder(blue: OcspWorld) -> str:
    return format(x509.load_der_x509_certificate(blue.responder().certificate).serial_number, "x")


def test_a_revocation_is_in_the_next_answer_of_every_process(blue: OcspWorld) -> None:
    issued = blue.world.issue().stored
    desks = [blue.new_desk() for _ in range(3)]
    before = [blue.ask(issued.serial, desk=desk) for desk in desks]
    assert [one.result for one in before] == ["good"] * 3
    # Kept answers are given again, octet for octet.
    assert [blue.ask(issued.serial, desk=desk).body for desk in desks] == [one.body for one in before]
    blue.world.revoke(entry(SERIAL, issued.serial))
    assert [blue.ask(issued.serial, desk=desk).result for desk in desks] == ["revoked"] * 3


@pytest.mark.parametrize("cluster", ["blue", None])
def test_every_kind_of_revocation_reaches_kept_answers(blue: OcspWorld, cluster: str | None) -> None:
    issued = blue.world.issue("kubelet-serving", "node-1", hosts=("node-1.blue.example",)).stored
    assert blue.ask(issued.serial).result == "good"
    blue.world.revoke(entry(EntryKind.DNS, ".blue.example"), cluster=cluster)
    assert blue.ask(issued.serial).result == "revoked"


def test_a_revocation_of_something_else_signs_nothing_anew(blue: OcspWorld) -> None:
    kept, other = blue.world.issue(key=1).stored, blue.world.issue(key=2).stored
    before = blue.ask(kept.serial)
    blue.world.revoke(entry(SERIAL, other.serial))
    blue.world.clock.advance(minutes=5)
    assert blue.ask(kept.serial) is before


def test_an_answer_is_signed_anew_at_half_of_its_time(blue: OcspWorld) -> None:
    issued = blue.world.issue().stored
    before = blue.ask(issued.serial)
    blue.world.clock.advance(seconds=LIFETIME.total_seconds() / 2 - 1)
    assert blue.ask(issued.serial) is before
    blue.world.clock.advance(seconds=2)
    after = blue.ask(issued.serial)
    assert after.updates is not None
    assert before.updates is not None
    assert after.updates[0] > before.updates[0]


def test_an_answer_from_the_future_is_given_out_no_longer(blue: OcspWorld) -> None:
    kept, other = blue.world.issue(key=1).stored, blue.world.issue(key=2).stored
    now = blue.world.clock().replace(microsecond=0)
    blue.world.clock.advance(days=1)  # a clock that is ahead
    blue.ask(kept.serial)
    blue.world.clock.now = now
    desk = blue.new_desk()
    for changed in (False, True):
        if changed:  # then the kept answer is looked at again
            blue.world.clock.advance(minutes=-1)
            blue.world.revoke(entry(SERIAL, other.serial))
        for asked in (blue.desk, desk):
            updates = blue.ask(kept.serial, desk=asked).updates
            assert updates is not None
            assert updates[0] == blue.world.clock()


def test_an_answer_with_a_nonce_repeats_it_and_is_kept_for_nobody(blue: OcspWorld) -> None:
    issued = blue.world.issue().stored
    one, two = (blue.ask(issued.serial, extensions=(nonce(b"n" * 32),)) for _ in range(2))
    assert one.body != two.body
    assert one.etag == two.etag == ""
    extensions = ocsp.load_der_ocsp_response(one.body).extensions
    assert extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * 32
    assert blue.ask(issued.serial).body not in {one.body, two.body}


def test_what_was_never_issued_is_not_kept(blue: OcspWorld) -> None:
    one, two = blue.ask(77), blue.ask(77)
    assert (one.result, one.etag, two is one) == ("unknown", "", False)


def test_a_serial_of_another_authority_is_unknown_here(blue: OcspWorld) -> None:
    etcd = blue.world.issue("etcd-healthcheck-client", None).stored
    assert blue.ask(etcd.serial).result == "unknown"
    other = OcspWorld(blue.world, authority="etcd")
    assert other.ask(etcd.serial).result == "good"


def test_another_issuer_is_none_of_ours(blue: OcspWorld) -> None:
    etcd = OcspWorld(blue.world, authority="etcd")
    issued = blue.world.issue().stored
    about_etcd, own = cert_id(etcd.issuer, 5), cert_id(blue.issuer, int(issued.serial, 16))
    assert blue.send(request([about_etcd])) is UNAUTHORIZED
    # Of several at least one has to be ours; of the others nothing is known here.
    assert statuses(blue.send(request([about_etcd, own]))) == ["unknown", "good"]


def test_a_place_that_there_is_not_is_unauthorized(blue: OcspWorld) -> None:
    body = request_about(blue.issuer, [1])
    for changed in (
        blue.place._replace(cluster="red"),
        blue.place._replace(cluster="nul\0"),
        blue.place._replace(authority="etcd"),
        blue.place._replace(authority="service"),
        blue.place._replace(key_identifier="00" * 20),
    ):
        assert blue.send(body, place=changed) is UNAUTHORIZED


def test_a_retired_generation_is_answered_for_while_somebody_asks(blue: OcspWorld) -> None:
    with blue.world.authority.database.write() as connection:
        connection.execute(
            update(generations).where(generations.c.id == blue.generation.id).values(state="retired")
        )
    reply = blue.ask(1)
    assert reply.result == "unknown"
    signer_of(blue, reply.body)
    # No chore looks after its responder.
    blue.world.clock.advance(days=3)
    with blue.world.authority.database.read() as connection:
        assert ocsp_responders.due(connection, blue.world.clock(), 10) == []


def test_a_retiring_generation_signs_its_own_responder(blue: OcspWorld) -> None:
    issued = blue.world.issue().stored
    with blue.world.authority.database.write() as connection:
        connection.execute(
            update(generations).where(generations.c.id == blue.generation.id).values(state="retiring")
        )
    reply = blue.ask(issued.serial)
    assert reply.result == "good"
    signer_of(blue, reply.body)


def test_what_is_no_request_is_malformed_and_hinders_nobody(blue: OcspWorld) -> None:
    issued = blue.world.issue().stored
    bodies = [b"", request_about(blue.issuer, [int(issued.serial, 16)]), b"\x30\x03abc"]
    replies = blue.desk.answer([Question(blue.place, body) for body in bodies])
    assert [one.result for one in replies] == ["malformedRequest", "good", "malformedRequest"]
    assert replies[0] is MALFORMED


def test_an_expired_certificate_is_told_of_until_it_is_pruned(blue: OcspWorld) -> None:
    issued, revoked = blue.world.issue(key=1).stored, blue.world.issue(key=2).stored
    blue.world.revoke(entry(SERIAL, revoked.serial))
    blue.world.clock.advance(days=30)
    assert statuses(blue.ask(issued.serial, revoked.serial)) == ["good", "revoked"]
    with blue.world.authority.database.write() as connection:
        connection.execute(delete(certificates).where(certificates.c.serial == issued.serial))
    assert blue.ask(issued.serial, desk=blue.new_desk()).result == "unknown"


def test_without_its_database_it_says_try_later_and_nothing_that_it_kept(blue: OcspWorld) -> None:
    issued = blue.world.issue().stored
    assert blue.ask(issued.serial).result == "good"
    blue.world.authority.database.dispose()
    away = Database("postgresql://nobody@127.0.0.1:1/none")
    object.__setattr__(blue.world.authority, "database", away)
    assert blue.ask(issued.serial) is TRY_LATER
    assert blue.ask(issued.serial, desk=blue.new_desk()) is TRY_LATER


def test_a_connection_that_was_cut_is_replaced_by_the_next_one(
    blue: OcspWorld, request: pytest.FixtureRequest
) -> None:
    database = blue.world.authority.database
    if database.is_sqlite:
        pytest.skip("SQLite has no connections that could be cut")
    issued = blue.world.issue().stored
    assert blue.ask(issued.serial).result == "good"
    owner: psycopg.Connection = request.getfixturevalue("_postgres_owner")
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    owner.execute(cut, (database.engine.url.database,))
    assert blue.ask(issued.serial) is TRY_LATER
    assert blue.ask(issued.serial).result == "good"


def test_a_statement_that_fails_is_told_as_an_error_of_the_database(postgres_database: str) -> None:
    database = Database(postgres_database)
    wrong = Prepared("wrong", "SELECT x FROM unnest($1::int[]) AS x")
    with database.glance() as connection:
        assert wrong.rows(connection, ["1", "2"]) == [("1",), ("2",)]
        with pytest.raises(DataError, match="invalid input syntax"):
            wrong.rows(connection, ["one"])
        with pytest.raises(ProgrammingError, match="does not exist"):
            Prepared("missing", "SELECT 1 FROM nowhere").rows(connection)
        assert wrong.rows(connection, []) == []
    database.dispose()


# --- the responder


def test_a_responder_is_issued_like_all_others(blue: OcspWorld) -> None:
    blue.ask(1)
    stored = blue.responder()
    certificate = x509.load_der_x509_certificate(stored.certificate)
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert not certificate.extensions.get_extension_for_class(x509.OCSPNoCheck).critical
    assert blue.ask(certificate.serial_number).result == "good"
    with blue.world.authority.database.read() as connection:
        row = connection.execute(text("SELECT requester, profile, verdict FROM decisions")).one()
    assert tuple(row) == ("trivet", "cluster-ocsp-responder", "issued")


def test_all_processes_share_one_responder(blue: OcspWorld) -> None:
    signers = {signer_of(blue, blue.ask(1, desk=blue.new_desk()).body).serial_number for _ in range(3)}
    assert len(signers) == 1


def test_a_responder_is_renewed_at_two_thirds_of_its_life_and_old_answers_go_with_it(blue: OcspWorld) -> None:
    issued = blue.world.issue(lifetime=timedelta(days=4)).stored
    blue.ask(issued.serial)
    first = blue.responder()
    blue.world.clock.advance(days=2, hours=15)
    assert not renew_responders(blue.world.authority)
    assert blue.responder() == first
    before = blue.ask(issued.serial)
    blue.world.clock.advance(hours=2)
    renew_responders(blue.world.authority)
    second = blue.responder()
    assert second.certificate_id != first.certificate_id
    after = blue.ask(issued.serial)
    assert signer_of(blue, after.body) == x509.load_der_x509_certificate(second.certificate)
    assert signer_of(blue, before.body) == x509.load_der_x509_certificate(first.certificate)
    with blue.world.authority.database.read() as connection:
        superseded = connection.scalar(
            text("SELECT count(*) FROM certificates WHERE superseded_at IS NOT NULL")
        )
    assert superseded == 1


def test_a_responder_that_expired_is_replaced_when_somebody_asks(blue: OcspWorld) -> None:
    blue.ask(1)
    first = blue.responder()
    blue.world.clock.advance(days=5)
    assert blue.ask(1).result == "unknown"
    assert blue.responder().certificate_id != first.certificate_id


def test_a_revoked_responder_signs_nothing_more(blue: OcspWorld) -> None:
    issued = blue.world.issue().stored
    desks = blue.desk, blue.new_desk()
    for desk in desks:
        blue.ask(issued.serial, desk=desk)
    first = x509.load_der_x509_certificate(blue.responder().certificate)
    blue.world.revoke(entry(SERIAL, format(first.serial_number, "x")))
    signers = [signer_of(blue, blue.ask(issued.serial, desk=desk).body) for desk in desks]
    assert signers[0] == signers[1] != first


def test_an_entry_that_bans_responders_leaves_nobody_to_sign(blue: OcspWorld) -> None:
    blue.world.revoke(entry(EntryKind.COMMON_NAME, "ocsp-responder"))
    assert blue.ask(1) is TRY_LATER


def test_whoever_holds_the_lease_makes_the_responder_and_no_one_else(blue: OcspWorld) -> None:
    authority, now = blue.world.authority, blue.world.clock()
    with authority.database.write() as connection:
        assert ocsp_responders.take_lease(connection, blue.generation.id, now, now + timedelta(seconds=30))
    assert make_responder(authority, "blue", blue.generation) is None
    with authority.database.read() as connection:
        assert ocsp_responders.due(connection, now, 10) == []
    # Its holder died: the lease ends, and another one makes it.
    blue.world.clock.advance(seconds=31)
    with authority.database.read() as connection:
        assert ocsp_responders.due(connection, blue.world.clock(), 10) == [blue.generation.id]
    renew_responders(authority)
    assert blue.ask(1).result == "unknown"


def test_a_responder_that_cannot_be_made_is_tried_every_ten_seconds_and_keeps_no_other(
    blue: OcspWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    etcd = OcspWorld(blue.world, authority="etcd")
    issued = blue.world.issue().stored
    tried: list[object] = []
    waited: list[float] = []

    def fail(*arguments: object) -> object:
        tried.append(arguments)
        message = "a defect of one authority"
        raise RuntimeError(message)

    asked = [Question(blue.place, request_about(blue.issuer, [number])) for number in (1, 2)]
    monkeypatch.setattr(responder, "issue", fail)
    monkeypatch.setattr(blue.desk._responders, "_pause", waited.append)
    assert blue.desk.answer(asked) == [TRY_LATER, TRY_LATER]
    assert blue.desk.answer(asked) == [TRY_LATER, TRY_LATER]
    assert (len(tried), waited) == (1, [])
    blue.world.clock.advance(seconds=11)
    assert blue.desk.answer(asked) == [TRY_LATER, TRY_LATER]
    assert len(tried) == 2
    # The lease was given back: whoever asks another process has an answer at once, and here after ten seconds.
    monkeypatch.setattr(responder, "issue", real_issue)
    other = Question(etcd.place, request_about(etcd.issuer, [1]))
    assert [one.result for one in blue.desk.answer([*asked, other])] == ["tryLater", "tryLater", "unknown"]
    assert blue.ask(issued.serial, desk=blue.new_desk()).result == "good"
    assert blue.ask(issued.serial).result == "good"


def test_another_process_is_waited_for_once_in_a_batch(
    blue: OcspWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    etcd, now = OcspWorld(blue.world, authority="etcd"), blue.world.clock()
    with blue.world.authority.database.write() as connection:
        for one in (blue, etcd):
            until = now + timedelta(seconds=30)
            assert ocsp_responders.take_lease(connection, one.generation.id, now, until)
    waited: list[float] = []
    monkeypatch.setattr(blue.desk._responders, "_pause", waited.append)
    asked = [Question(one.place, request_about(one.issuer, [1])) for one in (blue, etcd, blue)]
    assert blue.desk.answer(asked) == [TRY_LATER] * 3
    assert sum(waited) == pytest.approx(1)
    assert blue.desk.answer(asked) == [TRY_LATER] * 3
    assert sum(waited) == pytest.approx(1)


def test_an_authority_that_has_expired_is_not_tried(blue: OcspWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(blue.desk._responders, "_pause", waited.append)
    blue.world.clock.now = blue.issuer.not_valid_after_utc - timedelta(seconds=599)
    assert blue.ask(1) is TRY_LATER
    with blue.world.authority.database.read() as connection:
        assert connection.execute(select(responder_rows)).all() == []
    assert waited == []


def test_a_chore_that_fails_keeps_its_lease_and_does_not_come_up_again_at_once(
    blue: OcspWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    blue.ask(1)
    blue.world.clock.advance(days=3)
    authority, now = blue.world.authority, blue.world.clock()

    def fail(*arguments: object) -> object:
        raise RuntimeError(arguments)

    monkeypatch.setattr(responder, "issue", fail)
    renew_responders(authority)
    with authority.database.read() as connection:
        assert ocsp_responders.due(connection, now, 10) == []


def test_the_key_of_a_responder_is_stored_encrypted(blue: OcspWorld) -> None:
    blue.ask(1)
    stored = blue.responder()
    with pytest.raises(TypeError, match="encrypted"):
        load_der_private_key(stored.private_key, None)
    assert "private_key" not in repr(stored)


def test_a_scrape_learns_when_the_first_responder_ends(blue: OcspWorld) -> None:
    monitor = Monitor(blue.world.authority)
    monitor.read()
    assert monitor.standing.responder is None
    blue.ask(1)
    end = x509.load_der_x509_certificate(blue.responder().certificate).not_valid_after_utc
    lifetime = end - blue.world.clock()
    blue.world.clock.advance(hours=1)
    OcspWorld(blue.world, authority="etcd").ask(1)
    monitor.read()
    assert monitor.standing.responder == (end, lifetime)


def test_a_responder_is_nobodys_identity(blue: OcspWorld) -> None:
    blue.ask(1)
    _, held = list_identities(blue.world.authority, OPERATOR, "blue")
    assert (held.waited_for, held.others, held.abandoned) == ((), (), ())


# --- what is read


def test_the_look_up_is_a_search_of_indexes(blue: OcspWorld) -> None:
    with blue.world.authority.database.glance() as connection:
        shown = _plan_of_standing(connection)
    assert "SCAN s" not in shown
    assert "SCAN c" not in shown
    assert "Seq Scan" not in shown


def _plan_of_standing(connection: Connection) -> str:
    status.standing(connection, [("1", uuid4())])  # prepares it
    explain = {
        "sqlite": "EXPLAIN QUERY PLAN " + status._STANDING_SQLITE.replace("?", "'[]'"),
        "postgresql": f"EXPLAIN EXECUTE {status._STANDING_POSTGRESQL.name} ('{{1}}', '{{{uuid4()}}}')",
    }
    return "\n".join(map(str, connection.exec_driver_sql(explain[connection.dialect.name])))


def test_an_entry_that_names_a_key_says_that_the_key_is_compromised(blue: OcspWorld) -> None:
    named = {
        kind: blue.world.issue(key=number).stored
        for number, kind in enumerate((SERIAL, EntryKind.PUBLIC_KEY))
    }
    blue.world.revoke(entry(SERIAL, named[SERIAL].serial))
    blue.world.revoke(entry(EntryKind.PUBLIC_KEY, named[EntryKind.PUBLIC_KEY].spki_sha256))
    read = ocsp.load_der_ocsp_response(blue.ask(*(one.serial for one in named.values())).body)
    assert [one.revocation_reason for one in read.responses] == [None, x509.ReasonFlags.key_compromise]


def test_standing_tells_kept_pruned_and_revoked_apart(blue: OcspWorld) -> None:
    issued = [blue.world.issue(key=number).stored for number in range(3)]
    blue.world.revoke(entry(SERIAL, issued[1].serial))
    with blue.world.authority.database.write() as connection:
        connection.execute(delete(certificates).where(certificates.c.id == issued[2].id))
    keys = [(one.serial, one.generation_id) for one in issued]
    with blue.world.authority.database.read() as connection:
        found = status.standing(connection, [*keys, ("77", blue.generation.id)])
    assert [found[key].is_kept for key in keys] == [True, True, False]
    assert [found[key].revoked_at for key in keys] == [None, blue.world.clock(), None]
    assert [found[key].named_by for key in keys] == [None, SERIAL, None]
    assert len(found) == 3


def test_every_authority_of_a_cluster_has_a_responder_profile() -> None:
    assert set(RESPONDER_PROFILES) == set(AuthorityName) - {AuthorityName.SERVICE}
    assert PROFILES.keys().isdisjoint(profile.name for profile in RESPONDER_PROFILES.values())


def test_a_row_without_a_certificate_is_no_responder(blue: OcspWorld) -> None:
    blue.ask(1)
    with blue.world.authority.database.write() as connection:
        connection.execute(update(responder_rows).values(certificate=None, certificate_id=None))
        assert ocsp_responders.find(connection, blue.generation.id) is None


def test_postgresql_plans_what_is_looked_up_once_and_by_index_though_all_is_empty(
    postgres_database: str,
) -> None:
    prepare_database(postgres_database, Clock())
    database = Database(postgres_database)
    with database.glance() as connection:
        assert connection.scalar(text("SHOW plan_cache_mode")) == "force_generic_plan"
        plan = _plan_of_standing(connection)
        assert "Seq Scan" not in plan
        assert "using pk_serials" in plan
        # Nothing around it: what was looked at holds no transaction open.
        driver = connection.connection.driver_connection
        assert driver is not None
        assert driver.info.transaction_status is TransactionStatus.IDLE
    database.dispose()
