"""Bootstrap tokens over HTTPS: a table of attempts to get more than a client certificate for one's own new node."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.signing_requests import csr
from tests.unit.cli.running import installed, running

from trivet.authority.approval.bootstrap_tokens import WantedToken, create_bootstrap_token
from trivet.authority.install import OPERATOR
from trivet.bootstrap.composition import build_authority
from trivet.bootstrap.initialise import Installation

DEMO = "clusters/demo"
REQUESTS = f"{DEMO}/certificate-requests"


def node_csr(
    node: str = "node-1",
    organizations: tuple[str, ...] = ("system:nodes",),
    hosts: tuple[str, ...] = (),
    key: int = 0,
) -> bytes:
    return csr(f"system:node:{node}", organizations, hosts, key)


@dataclass
class Edge:
    """A service over HTTPS, and what an administrator and a stranger with a token can do with it."""

    client: httpx.Client
    admin: dict[str, str]
    installation: Installation

    def ask(self, method: str, path: str, token: str | None = None, **sent: Any) -> httpx.Response:  # noqa: ANN401
        headers = self.admin if token is None else {"Authorization": f"Bearer {token}"}
        return self.client.request(method, path, headers=headers | sent.pop("headers", {}), **sent)

    def done(self, method: str, path: str, **sent: Any) -> Any:  # noqa: ANN401
        answer = self.ask(method, path, **sent)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def token(self, cluster: str = "demo", **wanted: object) -> str:
        made = self.done("POST", f"clusters/{cluster}/bootstrap-tokens", json=wanted)
        token: str = made["token"]
        return token

    def submit(
        self,
        token: str | None,
        request: bytes,
        profile: str = "kubelet-client",
        cluster: str = "demo",
        **query: str,
    ) -> httpx.Response:
        path = f"clusters/{cluster}/certificate-requests"
        headers = {"Content-Type": "application/pkcs10"}
        return self.ask(
            "POST", path, token, content=request, headers=headers, params={"profile": profile} | query
        )

    def past_token(self) -> str:
        """Make a token whose time is over."""
        authority = build_authority(self.installation.settings)
        early = replace(authority, clock=lambda: authority.clock() - timedelta(hours=2))
        try:
            wanted = WantedToken(lifetime=timedelta(hours=1))
            return create_bootstrap_token(early, OPERATOR, "demo", wanted)[1]
        finally:
            authority.database.dispose()


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    installation = installed(tmp_path_factory.mktemp("bootstrap"))
    settings = installation.settings.model_copy(update={"rate_per_second": 1000.0, "burst": 10_000})
    layout = installation.layout
    trust = ssl.create_default_context(cafile=layout.service_ca)
    admin = {"Authorization": f"Bearer {layout.admin_token.read_text().strip()}"}
    with running(settings), httpx.Client(base_url=f"{settings.url()}/api/v1/", verify=trust) as client:
        edge = Edge(client, admin, installation)
        edge.done("POST", "clusters", json={"name": "other", "endpoint": "api.other.example"})
        yield edge


def problem(answer: httpx.Response) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["type"].rpartition(":")[2], body["detail"]


def test_a_bootstrap_token_gets_its_node_a_client_certificate_at_once(edge: Edge) -> None:
    token = edge.token(node="fresh", description="rack 3")
    answer = edge.submit(token, node_csr("fresh"))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["state"], made["decidedBy"], made["username"]) == (
        "issued",
        "rule:nodeclient",
        f"system:bootstrap:{token[:6]}",
    )
    assert made["groups"] == ["system:bootstrappers", "system:authenticated"]
    certificate = x509.load_pem_x509_certificate(made["certificate"].encode())
    assert certificate.subject.rfc4514_string() == "CN=system:node:fresh,O=system:nodes"
    own = edge.ask("GET", answer.headers["Location"].removeprefix("/api/v1/"), token)
    assert own.json() == made
    accept = {"Accept": "application/pkix-cert"}
    fetched = edge.ask("GET", f"{REQUESTS}/{made['name']}/certificate", token, headers=accept)
    assert fetched.content == certificate.public_bytes(Encoding.DER)
    decision = edge.done("GET", f"decisions/{made['decision']}")
    assert (decision["verdict"], decision["requester"]) == ("issued", f"bootstrap:{token[:6]}")
    assert decision["detail"].endswith("approved by rule nodeclient")


def other_node(edge: Edge) -> httpx.Response:
    return edge.submit(edge.token(node="node-1"), node_csr("node-2"))


def told_another_node(edge: Edge) -> httpx.Response:
    return edge.submit(edge.token(node="node-1"), node_csr("node-1"), node="node-2")


def admin_profile(edge: Edge) -> httpx.Response:
    return edge.submit(edge.token(), csr(), "admin")


def serving(edge: Edge) -> httpx.Response:
    return edge.submit(edge.token(node="node-1"), node_csr(hosts=("node-1",)), "kubelet-serving")


def with_a_host(edge: Edge) -> httpx.Response:
    return edge.submit(edge.token(node="node-1"), node_csr(hosts=("node-1",)))


def with_masters(edge: Edge) -> httpx.Response:
    return edge.submit(edge.token(), node_csr(organizations=("system:masters",)))


def with_more_groups(edge: Edge) -> httpx.Response:
    return edge.submit(edge.token(), node_csr(organizations=("system:nodes", "system:masters")))


def without_a_group(edge: Edge) -> httpx.Response:
    return edge.submit(edge.token(), node_csr(organizations=()))


def expired(edge: Edge) -> httpx.Response:
    return edge.submit(edge.past_token(), node_csr())


def after_deletion(edge: Edge) -> httpx.Response:
    token = edge.token()
    edge.done("DELETE", f"{DEMO}/bootstrap-tokens/{token[:6]}")
    return edge.submit(token, node_csr())


def for_signing_only(edge: Edge) -> httpx.Response:
    return edge.submit(edge.token(usages=["signing"]), node_csr())


def wrong_secret(edge: Edge) -> httpx.Response:
    token = edge.token()
    return edge.submit(token[:-1] + ("a" if token[-1] != "a" else "b"), node_csr())


def second_cluster(edge: Edge) -> httpx.Response:
    return edge.submit(edge.token(), node_csr(), cluster="other")


def unknown_cluster(edge: Edge) -> httpx.Response:
    return edge.submit(edge.token(), node_csr(), cluster="nowhere")


def directly(edge: Edge) -> httpx.Response:
    headers = {"Content-Type": "application/pkcs10"}
    query = {"profile": "kubelet-client"}
    path = f"{DEMO}/certificates"
    return edge.ask("POST", path, edge.token(), content=node_csr(), headers=headers, params=query)


def renewing(edge: Edge) -> httpx.Response:
    headers = {"Content-Type": "application/pkcs10"}
    return edge.ask("POST", f"{DEMO}/certificates/renew", edge.token(), content=node_csr(), headers=headers)


def approving_itself(edge: Edge) -> httpx.Response:
    return edge.ask("POST", f"{REQUESTS}/any/approve", edge.token(), json={})


def anothers_request(edge: Edge) -> httpx.Response:
    made = edge.submit(edge.token(), node_csr("somebody")).json()
    return edge.ask("GET", f"{REQUESTS}/{made['name']}", edge.token())


def anothers_certificate(edge: Edge) -> httpx.Response:
    made = edge.submit(edge.token(), node_csr("somebody-else")).json()
    return edge.ask("GET", f"{REQUESTS}/{made['name']}/certificate", edge.token())


def reading(path: str) -> Callable[[Edge], httpx.Response]:
    return lambda edge: edge.ask("GET", path, edge.token())


ONLY = "has the permission requests:submit in its own cluster only"
ATTEMPTS: dict[str, tuple[Callable[[Edge], httpx.Response], int, str, str]] = {
    "other-node": (other_node, 403, "rejectedIdentifier", "is for the node node-1 only, not for node-2"),
    "told-another-node": (told_another_node, 403, "rejectedIdentifier", "has the CN 'system:node:node-2'"),
    "admin-profile": (
        admin_profile,
        403,
        "unauthorized",
        "for the profile kubelet-client only, not for admin",
    ),
    "serving": (serving, 403, "unauthorized", "for the profile kubelet-client only, not for kubelet-serving"),
    "with-a-host": (with_a_host, 403, "rejectedIdentifier", "has no subjectAltNames"),
    "with-masters": (with_masters, 403, "rejectedIdentifier", "has the O 'system:nodes'"),
    "with-more-groups": (with_more_groups, 403, "rejectedIdentifier", "has the O 'system:nodes'"),
    "without-a-group": (
        without_a_group,
        403,
        "rejectedIdentifier",
        "must be exactly CN system:node:node-1 and O",
    ),
    "expired": (expired, 401, "unauthenticated", "expired at"),
    "after-deletion": (after_deletion, 401, "unauthenticated", "is unknown or was deleted"),
    "for-signing-only": (for_signing_only, 401, "unauthenticated", "is not for authentication"),
    "wrong-secret": (wrong_secret, 401, "unauthenticated", "is unknown or was deleted"),
    "second-cluster": (second_cluster, 403, "unauthorized", ONLY),
    "unknown-cluster": (unknown_cluster, 403, "unauthorized", ONLY),
    "directly": (directly, 403, "unauthorized", "bootstrap lacks the permission certificates:issue"),
    "renewing": (renewing, 403, "unauthorized", "bootstrap lacks the permission certificates:renew"),
    "approving-itself": (approving_itself, 403, "unauthorized", "lacks the permission requests:decide"),
    "another's-request": (anothers_request, 404, "notFound", "there is no certificate request"),
    "another's-certificate": (anothers_certificate, 404, "notFound", "there is no certificate request"),
    **{
        path: (reading(path), 403, "unauthorized", f"lacks the permission {permission}")
        for path, permission in {
            DEMO: "clusters:read",
            "clusters": "clusters:read",
            f"{DEMO}/certificates": "certificates:read",
            f"{DEMO}/renew-revocations": "revocations:read",
            f"{DEMO}/bootstrap-tokens": "bootstrap-tokens:read",
            f"{DEMO}/inventory": "inventory:read",
            f"{DEMO}/repairs": "repairs:read",
            "tokens": "tokens:read",
            "audit-records": "audit:read",
        }.items()
    },
}


@pytest.mark.parametrize(("attempt", "status", "slug", "reason"), ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_a_bootstrap_token_gets_nothing_else(
    edge: Edge, attempt: Callable[[Edge], httpx.Response], status: int, slug: str, reason: str
) -> None:
    before = edge.done("GET", f"{DEMO}/certificates")["items"]
    answer = attempt(edge)
    assert problem(answer)[:2] == (status, slug), answer.text
    assert reason in problem(answer)[2]
    if "another" not in attempt.__name__:
        assert edge.done("GET", f"{DEMO}/certificates")["items"] == before


def test_a_bootstrap_token_lists_its_own_requests_only(edge: Edge) -> None:
    first, second = edge.token(), edge.token()
    edge.submit(first, node_csr("lister"))
    assert [item["node"] for item in edge.ask("GET", REQUESTS, first).json()["items"]] == ["lister"]
    assert edge.ask("GET", REQUESTS, second).json()["items"] == []
    theirs = {"username": f"system:bootstrap:{first[:6]}"}
    assert edge.ask("GET", REQUESTS, second, params=theirs).json()["items"] == []


def test_the_name_of_a_living_node_is_not_given_to_another_token_without_approval(edge: Edge) -> None:
    first = edge.submit(edge.token(node="living"), node_csr("living")).json()
    taken = edge.submit(edge.token(), node_csr("living", key=1)).json()
    assert taken["state"] == "pending"
    assert f"holds the certificate {first['serialNumber']}" in taken["reason"]
    bound = edge.submit(edge.token(node="living"), node_csr("living", key=1)).json()
    assert bound["state"] == "pending"
    approved = edge.done("POST", f"{REQUESTS}/{taken['name']}/approve", json={"reason": "a new machine"})
    assert (approved["state"], approved["conditions"][0]["type"]) == ("issued", "Approved")
    assert "a new machine" in approved["reason"]


def test_a_node_that_asks_again_with_the_same_key_or_its_own_token_is_served(edge: Edge) -> None:
    token = edge.token(node="again")
    assert edge.submit(token, node_csr("again")).json()["state"] == "issued"
    assert edge.submit(edge.token(), node_csr("again")).json()["state"] == "issued"  # the same key
    token = edge.token(node="own")
    assert edge.submit(token, node_csr("own")).json()["state"] == "issued"
    assert edge.submit(token, node_csr("own", key=1)).json()["state"] == "issued"


def revoke(edge: Edge, name: str, entry: dict[str, Any]) -> None:
    manifest = {
        "apiVersion": "certificates.microsoft.com/v1",
        "kind": "RenewRevocation",
        "metadata": {"name": name},
        "spec": {"revocations": [entry]},
    }
    edge.done("POST", f"{DEMO}/renew-revocations", json=manifest)


def test_a_node_whose_serial_number_was_revoked_is_held_back_until_somebody_re_admits_it(edge: Edge) -> None:
    token = edge.token(node="stolen")
    first = edge.submit(token, node_csr("stolen")).json()
    revoke(edge, "stolen", {"kind": "SerialNumber", "serialNumber": first["serialNumber"]})
    held = edge.submit(token, node_csr("stolen", key=1)).json()
    assert held["state"] == "pending"
    assert "is held back" in held["reason"]
    assert "kube-system/stolen" in held["reason"]
    admitted = edge.done("POST", f"{REQUESTS}/{held['name']}/approve", json={"reason": "reinstalled"})
    assert admitted["state"] == "issued"
    again = edge.submit(token, node_csr("stolen", key=2)).json()
    assert again["state"] == "pending"
    assert "holds the certificate" in again["reason"]  # re-admitted: it lives


@pytest.mark.parametrize(
    "entry",
    [{"kind": "CommonName", "commonName": "system:node:banned"}, {"kind": "Group", "group": "system:nodes"}],
    ids=["CommonName", "Group"],
)
def test_an_entry_that_names_the_node_or_its_group_refuses_the_way_round(
    edge: Edge, entry: dict[str, Any]
) -> None:
    name = f"banned-{entry['kind'].lower()}"
    revoke(edge, name, entry)
    try:
        refused = edge.submit(edge.token(), node_csr("banned")).json()
        assert refused["state"] == "failed"
        assert refused["reason"].startswith("revoked: the entry")
        assert [step["type"] for step in refused["conditions"]] == ["Approved", "Failed"]
        assert edge.done("GET", f"decisions/{refused['decision']}")["reason"] == "revoked"
    finally:
        edge.done("DELETE", f"{DEMO}/renew-revocations/kube-system/{name}")


def test_no_secret_of_a_token_is_stored_or_listed(edge: Edge) -> None:
    token = edge.token(groups=["system:bootstrappers:rack3"])
    listed = edge.ask("GET", f"{DEMO}/bootstrap-tokens").text
    assert token[:6] in listed
    assert "system:bootstrappers:rack3" in listed
    assert token[7:] not in listed
    assert token[7:] not in edge.ask("GET", "audit-records").text
    folder = edge.installation.layout.settings.parent
    assert not any(token[7:].encode() in path.read_bytes() for path in folder.rglob("*.db*"))
