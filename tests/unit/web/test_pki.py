from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from cryptography import x509
from starlette.testclient import TestClient
from tests.unit.web.service import Service, check_problem

from trivet.pki.locations import issuer_path
from trivet.pki.plan import stated_key_identifier
from trivet.pki.profiles import CLUSTER_AUTHORITIES, AuthorityName
from trivet.store import authorities, clusters
from trivet.web.app import create_plain_app
from trivet.web.offload import Offload
from trivet.web.pki.answering import Answering


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
