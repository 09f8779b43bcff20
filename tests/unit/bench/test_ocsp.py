from __future__ import annotations

from cryptography.x509 import ocsp
from tests.support.clock import Clock
from tests.support.ocsp_world import OcspWorld, statuses
from tests.support.world import World, make_authority, prepare_database

from bench.limit import make_issuer
from bench.ocsp_limit import _request, answer
from bench.ocsp_rows import add_revoked, serials


def test_the_limit_answers_what_was_asked() -> None:
    issuer = make_issuer("limit")
    asked = _request(issuer.certificate, 7)
    response = ocsp.load_der_ocsp_response(answer(issuer, asked))
    assert response.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert response.serial_number == ocsp.load_der_ocsp_request(asked).serial_number


def test_the_rows_are_what_ocsp_finds_revoked(database_url: str) -> None:
    clock = Clock()
    prepare_database(database_url, clock)
    world = World(make_authority(database_url, clock), clock)
    world.make_cluster()
    add_revoked(world.authority.database, "blue", "cluster", 500)
    blue = OcspWorld(world)
    found = serials(500, 20)
    assert len(set(found)) == 20
    assert statuses(blue.ask(*found)) == ["revoked"] * 20
    assert blue.ask(max(found) + 1000).result == "unknown"
    world.authority.database.dispose()
