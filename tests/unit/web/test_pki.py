from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.testclient import TestClient
from tests.support.revocation_objects import entry
from tests.unit.web.service import Service, check_problem

from trivet.authority.context import Policy, Publication
from trivet.authority.status.publish import Publisher
from trivet.pki.locations import issuer_path
from trivet.pki.plan import stated_key_identifier
from trivet.pki.profiles import CLUSTER_AUTHORITIES, AuthorityName
from trivet.pki.revocation import EntryKind
from trivet.store import authorities, clusters
from trivet.web.app import create_plain_app
from trivet.web.offload import Offload
from trivet.web.pki import answers
from trivet.web.pki.answering import Answering
from trivet.web.pki.crls import Kept


def root_of(service: Service, name: AuthorityName = AuthorityName.CLUSTER) -> tuple[str, bytes]:
    """Give the path of an authority of the cluster `blue`, and its CA certificate."""
    with service.world.authority.database.read() as connection:
        cluster = clusters.get(connection, "blue")
        der = authorities.active_generation(connection, cluster.id, name).certificate
    return issuer_path("blue", name, stated_key_identifier(x509.load_der_x509_certificate(der))), der


@pytest.mark.parametrize("name", CLUSTER_AUTHORITIES)
def test_anybody_gets_the_ca_certificate_that_a_certificate_points_to(
    service: Service, name: AuthorityName
) -> None:
    path, der = root_of(service, name)
    answer = service.ask("GET", f"{path}.crt", 200, as_role=None)
    assert answer.content == der
    assert answer.headers["content-type"] == "application/pkix-cert"
    assert answer.headers["cache-control"] == "public, max-age=86400, no-transform"


def test_the_ca_certificate_comes_as_pem_where_that_is_asked_for(service: Service) -> None:
    path, der = root_of(service)
    by_name = service.ask("GET", f"{path}.crt.pem", 200, as_role=None)
    by_accept = service.ask(
        "GET", f"{path}.crt", 200, as_role=None, headers={"Accept": "application/x-pem-file, */*;q=0.1"}
    )
    assert by_name.content == by_accept.content
    assert by_name.headers["content-type"] == by_accept.headers["content-type"] == "application/x-pem-file"
    assert x509.load_pem_x509_certificate(by_name.content) == x509.load_der_x509_certificate(der)
    assert by_name.headers["etag"] != service.ask("GET", f"{path}.crt", 200, as_role=None).headers["etag"]


def test_what_has_not_changed_is_not_sent_again(service: Service) -> None:
    path = root_of(service)[0] + ".crt"
    first = service.ask("GET", path, 200, as_role=None)
    for told in (
        {"If-None-Match": first.headers["etag"]},
        {"If-None-Match": f'"x", W/{first.headers["etag"]}'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": first.headers["last-modified"]},
    ):
        again = service.ask("GET", path, 304, as_role=None, headers=told)
        assert again.content == b""
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["cache-control"] == first.headers["cache-control"]
    for told in (
        {"If-None-Match": '"x"'},
        {"If-None-Match": '"x"', "If-Modified-Since": first.headers["last-modified"]},
        {"If-Modified-Since": format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True)},
        {"If-Modified-Since": format_datetime(datetime(2099, 1, 1, tzinfo=UTC), usegmt=True)},
        {"If-Modified-Since": "yesterday"},
    ):
        service.ask("GET", path, 200, as_role=None, headers=told)


def test_a_head_has_the_headers_alone(service: Service) -> None:
    path = root_of(service)[0] + ".crt"
    head = service.ask("HEAD", path, 200, as_role=None)
    assert head.content == b""
    assert head.headers["etag"] == service.ask("GET", path, 200, as_role=None).headers["etag"]


@pytest.mark.parametrize(
    "path",
    [
        "/pki/blue/cluster/00.crt",
        "/pki/green/cluster/{ski}.crt",
        "/pki/blue/etcd/{ski}.crt",
        "/pki/blue/service/{ski}.crt",
        "/pki/red/cluster/{ski}.crt",
        "/pki/blue/cluster/{upper}.crt",
        "/pki/bl%00ue/cluster/{ski}.crt",
        "/pki/blue/cluster/{ski}.txt",
        "/pki",
    ],
)
def test_what_is_not_published_is_not_found(service: Service, path: str) -> None:
    ski = root_of(service)[0].rpartition("/")[2]
    service.ask("GET", path.format(ski=ski, upper=ski.upper()), 404, as_role=None)


def test_nothing_can_be_written_there(service: Service) -> None:
    path = root_of(service)[0] + ".crt"
    for method in ("POST", "PUT", "DELETE"):
        answer = service.ask(method, path, 405)
        assert answer.headers["allow"] == "GET"


def test_the_port_for_plain_http_answers_that_and_nothing_else(service: Service) -> None:
    path, der = root_of(service)
    plain = TestClient(
        create_plain_app(service.world.authority, Offload(), Answering(service.world.authority))
    )
    assert plain.get(f"{path}.crt").content == der
    for method, other in (
        ("GET", "/api/v1/clusters"),
        ("GET", "/livez"),
        ("GET", "/metrics"),
        ("GET", "/docs"),
        ("GET", "/"),
        ("POST", "/api/v1/clusters/blue/certificates"),
    ):
        answer = plain.request(method, other, headers=service.token())
        assert answer.status_code == 404
        check_problem(answer)


def publish(service: Service) -> None:
    Publisher(service.world.authority).publish_all()


def revoked_in(body: bytes) -> set[str]:
    return {format(revoked.serial_number, "x") for revoked in x509.load_der_x509_crl(body)}


def test_anybody_gets_the_crl_and_what_was_revoked_is_on_the_next_one(service: Service) -> None:
    path = root_of(service)[0] + ".crl"
    publish(service)
    before = service.ask("GET", path, 200, as_role=None)
    assert before.headers["content-type"] == "application/pkix-crl"
    assert before.headers["cache-control"] == "public, max-age=60, no-transform"
    assert revoked_in(before.content) == set()
    issued = service.world.issue()
    service.world.revoke(entry(EntryKind.SERIAL_NUMBER, issued.stored.serial))
    service.ask("GET", path, 304, as_role=None, headers={"If-None-Match": before.headers["etag"]})
    publish(service)
    after = service.ask("GET", path, 200, as_role=None, headers={"If-None-Match": before.headers["etag"]})
    assert revoked_in(after.content) == {issued.stored.serial}
    assert after.headers["etag"] == f'"{sha256(after.content).hexdigest()}"'


def test_the_crl_comes_as_pem_where_that_is_asked_for(service: Service) -> None:
    path = root_of(service)[0] + ".crl"
    publish(service)
    der = service.ask("GET", path, 200, as_role=None)
    by_name = service.ask("GET", f"{path}.pem", 200, as_role=None)
    by_accept = service.ask("GET", path, 200, as_role=None, headers={"Accept": "application/x-pem-file"})
    assert by_name.content == by_accept.content
    assert by_name.headers["content-type"] == "application/x-pem-file"
    expected = x509.load_der_x509_crl(der.content).public_bytes(Encoding.PEM)
    assert by_name.content == expected
    service.ask("GET", f"{path}.pem", 304, as_role=None, headers={"If-None-Match": by_name.headers["etag"]})
    assert by_name.headers["etag"] != der.headers["etag"]


def test_a_crl_is_kept_no_longer_than_it_is_good_for(service: Service) -> None:
    path = root_of(service)[0] + ".crl"
    publish(service)
    service.world.clock.advance(days=3, seconds=-10)
    assert (
        service.ask("HEAD", path, 200, as_role=None).headers["cache-control"].startswith("public, max-age=9,")
    )
    service.world.clock.advance(days=1)
    assert (
        service.ask("HEAD", path, 200, as_role=None).headers["cache-control"].startswith("public, max-age=0,")
    )


def test_a_crl_that_is_not_made_yet_is_asked_for_again_later(service: Service) -> None:
    answer = service.ask("GET", root_of(service)[0] + ".crl", 503, as_role=None)
    assert int(answer.headers["retry-after"]) >= 1


def test_a_large_crl_comes_in_pieces(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root_of(service)[0] + ".crl"
    publish(service)
    whole = service.ask("GET", path, 200, as_role=None)
    monkeypatch.setattr(answers, "_AT_ONCE", 100)
    pieces = service.ask("GET", path, 200, as_role=None)
    assert pieces.content == whole.content
    assert pieces.headers["content-length"] == str(len(whole.content))


@pytest.mark.parametrize(
    "part",
    ["0-of-2", "3-of-2", "1-of-1", "1-of-2", "1-of-257", "1-of-99999999999999999999", "-1-of-2", "a-of-b"],
)
def test_a_part_that_is_not_published_is_not_found(service: Service, part: str) -> None:
    publish(service)
    service.ask("GET", f"{root_of(service)[0]}/{part}.crl", 404, as_role=None)


def test_a_shard_is_served_where_certificates_say(service: Service) -> None:
    authority = service.world.authority
    policy = Policy(publication=Publication("http://pki.example.org", shards=2))
    Publisher(replace(authority, policy=policy)).begin()
    publish(service)
    for number in (1, 2):
        answer = service.ask("GET", f"{root_of(service)[0]}/{number}-of-2.crl", 200, as_role=None)
        assert revoked_in(answer.content) == set()
        service.ask("GET", f"{root_of(service)[0]}/{number}-of-2.crl.pem", 200, as_role=None)


def test_what_is_kept_of_crls_is_bounded() -> None:
    kept = Kept(most=300)
    for number in range(4):
        kept.put(str(number), bytes(100), as_pem=False)
    kept.put("3", bytes(100), as_pem=False)
    kept.put("large", bytes(301), as_pem=False)
    found = [kept.get(name, as_pem=False) is not None for name in ("0", "1", "2", "3", "large")]
    assert found == [False, True, True, True, False]
    assert kept.get("3", as_pem=True) is None
