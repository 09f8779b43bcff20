"""Damaged inputs at the whole application: certificates or refusals, and a record of each decision."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from tests.fuzz import seeds
from tests.fuzz.mutate import damaged, damaged_der, damaged_text, damaged_value
from tests.fuzz.tally import TIMES, generator, shown
from tests.fuzz.test_readers import check_names
from tests.support.clock import Clock
from tests.support.signing_requests import csr, pooled_key
from tests.support.world import World, make_authority, prepare_database
from tests.unit.web.service import PKCS10, Service, check_problem, pem, service_over, slug

from trivet.authority.access import Role
from trivet.pki.csr import parse_certificate_request
from trivet.pki.possession import sign_renewal_message
from trivet.web.app import WebOptions

if TYPE_CHECKING:
    from httpx2 import Response

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Attribute's length")]

# How many of each; together more than five thousand.
COUNTS = {"requests": 2200, "renewals": 800, "messages": 800, "manifests": 800, "bodies": 500, "headers": 300}


def test_there_are_as_many_requests_as_the_documentation_says() -> None:
    assert sum(COUNTS.values()) >= 5_000


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    clock = Clock()
    url = f"sqlite:///{tmp_path / 'trivet.db'}"
    prepare_database(url, clock)
    world = World(make_authority(url, clock), clock)
    world.make_cluster()
    with service_over(world, WebOptions(rate_per_second=1e6, burst=10**6)) as service:
        yield service
    world.authority.database.dispose()


class Sender:
    """Sends damaged inputs one by one, and looks at what every answer must be."""

    def __init__(self, service: Service, name: str) -> None:
        self.service, self.name = service, name
        self.admin = service.token(Role.ADMIN)
        self.tally: Counter[str] = Counter()

    def numbers(self) -> Iterator[tuple[int, Random]]:
        for number in range(COUNTS[self.name] * TIMES):
            yield number, generator(f"live {self.name}", number)

    def send(self, number: int, method: str, path: str, *, held: Any = None, **request: Any) -> Response:  # noqa: ANN401
        context = self.service.presenting(held) if held is not None else nullcontext()
        with context:
            answer = self.service.client.request(method, f"/api/v1/{path}", **request)
        try:
            assert answer.status_code < 500
            if answer.status_code >= 400:
                check_problem(answer)
        except AssertionError as error:
            error.add_note(
                shown(self.name, number, repr((answer.status_code, answer.text, request)).encode())
            )
            raise
        self.tally[str(answer.status_code) if answer.status_code < 400 else slug(answer)] += 1
        return answer

    def report(self) -> None:
        print(f"{self.name}: {self.tally.total()} requests, {dict(self.tally.most_common())}")  # noqa: T201


def check_record(service: Service, answer: Response) -> None:
    """A refusal to issue names its decision, which is there and says the same."""
    problem = answer.json()
    decision = service.world.decision(problem["decision"])
    assert (decision.verdict, decision.reason) == ("refused", slug(answer))


def strange_request(random: Random) -> bytes:
    """Most are well signed: the others end at their signature."""
    if random.random() < 0.2:
        return damaged(random.choice(seeds.request_bodies()), random, seeds.request_bodies())
    return seeds.signed_info(damaged_der(random.choice(seeds.request_infos()), random, seeds.request_infos()))


def test_for_a_damaged_request_there_is_a_certificate_or_a_refusal_with_its_record(service: Service) -> None:
    sender = Sender(service, "requests")
    headers = sender.admin | PKCS10 | {"Accept": "application/pkix-cert"}
    profiles = ("kube-apiserver-client", "etcd-server", "kubelet-serving", "kubelet-client")
    for number, random in sender.numbers():
        body, profile = strange_request(random), random.choice(profiles)
        url = f"clusters/blue/certificates?profile={profile}&node=node-1"
        answer = sender.send(number, "POST", url, content=body, headers=headers)
        if answer.status_code == 201:
            check_names_with_node(answer.content, body)
        else:
            check_record(service, answer)
    sender.report()
    assert {"201", "badCSR", "rejectedIdentifier"} <= set(sender.tally)


def check_names_with_node(der: bytes, body: bytes) -> None:
    granted = {"node-1", "system:node:node-1", "system:nodes"}
    check_names(der, parse_certificate_request(body), granted)


def test_for_a_damaged_renewal_there_is_a_certificate_or_a_refusal_with_its_record(service: Service) -> None:
    sender = Sender(service, "renewals")
    held = service.world.issue("kubelet-client", "node-1", key=3).stored
    for number, random in sender.numbers():
        body = csr(key=5) if random.random() < 0.1 else strange_request(random)
        answer = sender.send(
            number, "POST", "clusters/blue/certificates/renew", content=body, headers=PKCS10, held=held
        )
        if answer.status_code != 201:
            check_record(service, answer)
    sender.report()
    assert {"201", "badCSR"} <= set(sender.tally)


def test_a_damaged_message_renews_what_it_was_signed_for_or_nothing(service: Service) -> None:
    sender = Sender(service, "messages")
    world = service.world
    key = pooled_key(3)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    held = x509.load_der_x509_certificate(world.issue("kubelet-client", "node-1", key=3).stored.der)
    real = sign_renewal_message(key, held, csr(key=4), "blue", world.clock()).encode()
    headers = {"Content-Type": "application/jwt", "Accept": "application/pkix-cert"}
    for number, random in sender.numbers():
        body = real if random.random() < 0.05 else damaged(real, random, seeds.messages())
        answer = sender.send(
            number, "POST", "clusters/blue/certificates/renew", content=body, headers=headers
        )
        if answer.status_code == 201:
            made = x509.load_der_x509_certificate(answer.content)
            assert made.public_key() == pooled_key(4).public_key()
            assert made.subject == held.subject
    sender.report()
    assert {"201", "malformed", "unauthenticated"} <= set(sender.tally)


def test_a_damaged_manifest_is_previewed_or_refused(service: Service) -> None:
    sender = Sender(service, "manifests")
    for number, random in sender.numbers():
        if random.random() < 0.5:
            body, kind = (
                damaged_text(
                    random.choice(seeds.yaml_manifests()), random, seeds.yaml_manifests(), yaml=True
                ),
                "yaml",
            )
        else:
            body, kind = damaged_value(random.choice(seeds.json_manifests()), random), "json"
        headers = sender.admin | {"Content-Type": f"application/{kind}"}
        place = random.choice(("renew-revocations", "clusters/blue/renew-revocations"))
        sender.send(number, "POST", f"{place}?dryRun=All", content=body, headers=headers)
    sender.report()
    assert {"200", "malformed", "badRevocation"} <= set(sender.tally)


def test_a_damaged_json_body_is_done_or_refused(service: Service) -> None:
    sender = Sender(service, "bodies")
    asked = {"profile": "kubelet-client", "node": "node-1", "csr": pem(csr()), "expirationSeconds": 3600}
    bodies = {
        "clusters/blue/certificates": json.dumps(asked).encode(),
        "tokens": dict(seeds.json_bodies())["TokenCreate"],
        "clusters": dict(seeds.json_bodies())["ClusterCreate"],
    }
    for number, random in sender.numbers():
        path = random.choice(list(bodies))
        change = (
            damaged_value if random.random() < 0.7 else lambda body, own: damaged_text(body, own, (body,))
        )
        body = change(bodies[path], random)
        answer = sender.send(
            number, "POST", path, content=body, headers=sender.admin | {"Content-Type": "application/json"}
        )
        # A body that cannot be read leaves no record; a wish that was read does.
        if path.endswith("certificates") and answer.status_code >= 400 and "decision" in answer.json():
            check_record(service, answer)
    sender.report()
    assert {"201", "malformed", "invalid"} <= set(sender.tally)


def test_damaged_headers_are_read_or_refused(service: Service) -> None:
    sender = Sender(service, "headers")
    secret = sender.admin["Authorization"].encode()
    real = {
        "Accept": b"application/pkix-cert;q=0.5, */*;q=0.1",
        "Content-Type": b"application/json; charset=utf-8",
        "If-Match": b'"3"',
        "Idempotency-Key": b"abc-1",
        "X-Request-Id": b"abc",
    }
    others = tuple(real.values())
    for number, random in sender.numbers():
        changed = {
            name: damaged(value, random, others) if random.random() < 0.5 else value
            for name, value in real.items()
        }
        token = damaged(secret, random, others) if random.random() < 0.3 else secret
        path = random.choice(("clusters?cursor=", "clusters/blue/certificates?limit=")) + str(
            random.randrange(9)
        )
        headers = sendable(changed | {"Authorization": token})
        answer = sender.send(number, "GET", path, headers=headers)
        # The scheme's name may be in any letter case, and blanks may follow it.
        shown_token = headers["Authorization"].split(None, 1)[-1].strip()
        assert answer.status_code != 200 or shown_token == secret.split()[1]
    sender.report()


def sendable(headers: dict[str, bytes]) -> dict[str, bytes]:
    """Headers that a client can send at all: a line break would end them."""
    return {name: value.translate(None, b"\r\n\0") for name, value in headers.items()}
