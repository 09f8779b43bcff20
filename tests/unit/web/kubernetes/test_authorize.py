"""The authorization webhook as API servers ask it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import uuid4

import pytest
from tests.support.revocation_objects import entry
from tests.support.world import World, make_authority
from tests.unit.web.service import Service, service_over

from trivet.authority.access import Role
from trivet.authority.context import ReviewPolicy
from trivet.authority.install import OPERATOR
from trivet.authority.issue import IssuedCertificate
from trivet.authority.revocations import view
from trivet.authority.tokens import create_token, delete_token
from trivet.pki.errors import UnavailableError
from trivet.pki.revocation import EntryKind
from trivet.store import clusters, fingerprints
from trivet.store.clusters import Cluster
from trivet.store.engine import Database
from trivet.web.app import WebOptions
from trivet.web.kubernetes import authorize, views
from trivet.web.kubernetes.authorize import AuthorizeRoute
from trivet.web.kubernetes.views import RevokedViews
from trivet.web.tls import PEER_CERTIFICATE

if TYPE_CHECKING:
    from httpx2 import Response

URL = "/kubernetes/blue/authorize?timeout=3s"
CREDENTIAL = "authentication.kubernetes.io/credential-id"
NO_OPINION = {"allowed": False}


def credential(certificate: IssuedCertificate | bytes) -> str:
    der = certificate if isinstance(certificate, bytes) else certificate.stored.der
    return f"X509SHA256={hashlib.sha256(der).hexdigest()}"


def body(*credentials: str, **spec: Any) -> dict[str, Any]:  # noqa: ANN401
    """As kube-apiserver 1.33 sends it."""
    extra = {"extra": {CREDENTIAL: list(credentials)}} if credentials else {}
    attributes = {"namespace": "default", "verb": "list", "version": "v1", "resource": "pods"}
    return {
        "kind": "SubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {"creationTimestamp": None},
        "spec": {
            "resourceAttributes": attributes,
            "user": "jane",
            "groups": ["system:authenticated"],
            **extra,
        }
        | spec,
        "status": {"allowed": False},
    }


@dataclass
class ApiServer:
    """Asks as a cluster's API server does."""

    service: Service
    certificate: bytes

    def post(self, asked: Any, code: int = 200, **more: Any) -> Response:  # noqa: ANN401
        content = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json, */*"}
        with self.service.presenting(self.certificate):
            answer = self.service.client.post(URL, content=content, headers=headers | more)
        assert answer.status_code == code, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer

    def status(self, *credentials: str) -> dict[str, Any]:
        answer = self.post(body(*credentials)).json()
        assert (answer["kind"], answer["apiVersion"]) == ("SubjectAccessReview", "authorization.k8s.io/v1")
        status: dict[str, Any] = answer["status"]
        return status

    def await_denial(self, certificate: IssuedCertificate | bytes) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while not (status := self.status(credential(certificate))).get("denied"):
            assert time.monotonic() < deadline
        return status


@pytest.fixture
def api_server(service: Service) -> ApiServer:
    return ApiServer(service, service.world.issue("apiserver-kubelet-client").stored.der)


def test_a_revoked_certificate_is_denied_with_the_reason(api_server: ApiServer, world: World) -> None:
    issued = world.issue(key=1)
    world.revoke(entry(EntryKind.SERIAL_NUMBER, issued.stored.serial))
    status = api_server.status(credential(issued))
    assert status["allowed"] is False
    assert status["denied"] is True
    assert hashlib.sha256(issued.stored.der).hexdigest() in status["reason"]
    assert "cluster blue" in status["reason"]


def test_unknown_fingerprints_and_other_credentials_are_for_others_to_decide(api_server: ApiServer) -> None:
    for credentials in (
        (),
        (credential(b"unknown"),),
        ("JTI=0af1-22",),
        ("X509SHA256=",),
        ("X509SHA256=zz",),
        ("X509SHA256=" + "0 " * 32,),
    ):
        assert api_server.status(*credentials) == NO_OPINION


def test_a_certificate_that_is_revoked_among_several_credentials_is_denied(
    api_server: ApiServer, world: World
) -> None:
    issued = world.issue(key=1)
    world.revoke(entry(EntryKind.SERIAL_NUMBER, issued.stored.serial))
    assert api_server.status("JTI=1", credential(b"unknown"), credential(issued))["denied"]
    assert api_server.status(
        credential(issued).replace("=", "=").upper().replace("X509SHA256=", "X509SHA256=")
    )["denied"]


def test_what_is_revoked_elsewhere_is_denied_soon_without_being_asked_for_anew(
    api_server: ApiServer, world: World
) -> None:
    issued = world.issue(key=1)
    assert api_server.status(credential(issued)) == NO_OPINION
    url = world.authority.database.engine.url.render_as_string(hide_password=False)
    there = World(make_authority(url, world.clock), world.clock)
    there.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"))
    there.authority.database.dispose()
    assert api_server.await_denial(issued)["denied"]


def test_on_postgresql_too(postgres_service: Service) -> None:
    world = postgres_service.world
    server = ApiServer(postgres_service, world.issue("apiserver-kubelet-client").stored.der)
    issued = world.issue(key=1)
    assert server.status(credential(issued)) == NO_OPINION
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"), cluster=None)
    assert server.await_denial(issued)["denied"]


# Who may ask


def test_nobody_in_particular_may_ask_nor_whoever_is_not_known(service: Service) -> None:
    for headers, code, reason in (
        ({}, 403, "Forbidden"),
        ({"Authorization": "Bearer nonsense"}, 401, "Unauthorized"),
        ({"Authorization": "Bearer trivet_" + "A" * 43}, 401, "Unauthorized"),
    ):
        answer = service.client.post(URL, json=body(), headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (code, reason)
        assert answer.json()["kind"] == "Status"


def test_a_kubelet_may_not_ask_and_the_api_server_of_another_cluster_neither(service: Service) -> None:
    world = service.world
    for held in (world.issue(), world.issue("apiserver-kubelet-client", cluster="red", key=1)):
        with service.presenting(held.stored):
            answer = service.client.post(URL, json=body())
        assert answer.status_code == 403
        assert "apiserver-kubelet-client" in answer.json()["message"]


def test_an_auditors_token_may_ask_and_no_longer_once_it_was_deleted(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorize, "_TRUST_SECONDS", 0)
    token, secret = create_token(service.world.authority, OPERATOR, role=Role.AUDITOR, cluster="blue")
    headers = {"Authorization": f"Bearer {secret}"}
    assert service.client.post(URL, json=body(), headers=headers).json()["status"] == NO_OPINION
    delete_token(service.world.authority, OPERATOR, token.id)
    assert service.client.post(URL, json=body(), headers=headers).status_code == 401


def test_whoever_was_admitted_is_still_answered_while_the_database_is_away(
    api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorize, "_TRUST_SECONDS", 0)
    assert api_server.status(credential(b"unknown")) == NO_OPINION
    with away(monkeypatch):
        assert api_server.status(credential(b"unknown")) == NO_OPINION
        api_server.certificate = b"somebody else"
        api_server.post(body(), 401)


def test_whoever_was_admitted_is_answered_though_they_asked_for_other_things_too_often(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorize, "_TRUST_SECONDS", 0)
    with service_over(world, WebOptions(rate_per_second=0.001, burst=1)) as service:
        api_server = ApiServer(service, world.issue("apiserver-kubelet-client").stored.der)
        for _ in range(3):
            assert api_server.status(credential(b"unknown")) == NO_OPINION


def test_a_deleted_token_is_not_kept_in_by_guessing_too_often(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorize, "_TRUST_SECONDS", 0)
    token, secret = create_token(world.authority, OPERATOR, role=Role.AUDITOR, cluster="blue")
    with service_over(world, WebOptions(rate_per_second=0.001, burst=2)) as service:

        def ask(shown: str) -> int:
            headers = {"Authorization": f"Bearer {shown}"}
            return service.client.post(URL, json=body(), headers=headers).status_code

        assert ask(secret) == 200
        delete_token(world.authority, OPERATOR, token.id)
        assert [ask("trivet_" + "A" * 43) for _ in range(3)] == [401, 401, 429]
        assert ask(secret) == 429


ASKED = {"type": "http", "path": "/kubernetes/blue/authorize", "headers": [], PEER_CERTIFICATE: b"held"}


@pytest.mark.parametrize("is_known", [True, False])
def test_of_many_who_ask_at_once_one_is_looked_up_and_who_is_known_does_not_wait(
    service: Service, monkeypatch: pytest.MonkeyPatch, *, is_known: bool
) -> None:
    app: Any = service.edge.app
    looked_up = 0

    async def course() -> None:
        route, answers = AuthorizeRoute(app, app.state.services, app), asyncio.Event()

        async def look_up(*_: object) -> Any:  # noqa: ANN401
            nonlocal looked_up
            looked_up += 1
            await answers.wait()
            return "the cluster"

        monkeypatch.setattr(route, "_looked_up", look_up)
        if is_known:
            answers.set()
            await route._admit(ASKED, unsent, "blue")
            answers.clear()
        monkeypatch.setattr(authorize, "_TRUST_SECONDS", 0)
        many = [asyncio.create_task(route._admit(ASKED, unsent, "blue")) for _ in range(50)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert sum(one.done() for one in many) == (49 if is_known else 0)
        answers.set()
        assert set(map(str, await asyncio.gather(*many))) == {"the cluster"}
        await route.close()

    asyncio.run(course())
    assert looked_up == 1 + is_known


async def unsent() -> Any:  # noqa: ANN401
    raise AssertionError


def test_where_nothing_is_known_yet_the_api_servers_failure_policy_decides(
    api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with away(monkeypatch):
        answer = api_server.post(body(credential(b"unknown")), 503)
    assert answer.json()["reason"] == "ServiceUnavailable"
    assert int(answer.headers["retry-after"]) >= 1


def test_beyond_the_age_limit_client_certificates_are_denied_with_the_reason_until_the_database_is_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = ReviewPolicy(fresh=timedelta(seconds=0.2), stale=timedelta())
    authority = replace(world.authority, policy=replace(world.authority.policy, reviews=strict))
    held = world.issue("apiserver-kubelet-client").stored.der
    with service_over(World(authority, world.clock)) as service:
        api_server = ApiServer(service, held)
        assert api_server.status(credential(b"unknown")) == NO_OPINION
        with away(monkeypatch):
            status = api_server.await_denial(b"unknown")
            assert "the database of Trivet cannot be read" in status["reason"]
            assert api_server.status() == NO_OPINION, "a service account does not depend on it"
        deadline = time.monotonic() + 60
        while api_server.status(credential(b"unknown")) != NO_OPINION:
            assert time.monotonic() < deadline


@contextmanager
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def failing(_: Database) -> NoReturn:
        raise UnavailableError("the database cannot be reached")

    with monkeypatch.context() as patched:
        patched.setattr(Database, "read", failing)
        yield


# What is sent


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "SubjectAccessReview of authorization.k8s.io/v1"),
        (
            b'{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1beta1"}',
            "subjectAccessReviewVersion",
        ),
        (json.dumps(body(extra=[])).encode(), "/spec/extra must be an object"),
        (json.dumps(body() | {"spec": 1}).encode(), "/spec must be an object"),
        (json.dumps(body(extra={CREDENTIAL: "X509SHA256="})).encode(), "must be a list of strings"),
        (json.dumps(body(extra={CREDENTIAL: [1]})).encode(), "credential-id must be a list of strings"),
    ],
)
def test_what_is_no_review_is_refused_with_what_is_wrong(
    api_server: ApiServer, sent: bytes, told: str
) -> None:
    assert told in api_server.post(sent, 400).json()["message"]


def test_a_review_is_posted_and_has_at_most_a_megabyte(api_server: ApiServer) -> None:
    with api_server.service.presenting(api_server.certificate):
        assert api_server.service.client.get(URL).status_code == 405
    api_server.post(b" " * (1024 * 1024 + 1), 413)
    api_server.post(body(user="x" * 900_000))


def test_a_cluster_that_there_is_not_is_not_found(service: Service) -> None:
    answer = service.client.post(URL.replace("blue", "nowhere"), json=body(), headers=service.token())
    assert answer.status_code == 404


def test_api_servers_ask_as_often_as_they_need_to(world: World) -> None:
    with service_over(world, WebOptions(rate_per_second=0.001, burst=3)) as service:
        api_server = ApiServer(service, world.issue("apiserver-kubelet-client").stored.der)
        for _ in range(20):
            assert api_server.status() == NO_OPINION


def test_answers_are_counted_by_what_was_said(api_server: ApiServer, world: World) -> None:
    issued = world.issue(key=1)
    world.revoke(entry(EntryKind.SERIAL_NUMBER, issued.stored.serial))
    before = counted(api_server.service)
    api_server.status(credential(issued))
    api_server.status()
    after = counted(api_server.service)
    assert after["denied"] - before.get("denied", 0) == 1
    assert after["noOpinion"] - before.get("noOpinion", 0) == 1


def counted(service: Service) -> dict[str, float]:
    text = service.client.get("/metrics", headers=service.token()).text
    lines = [line for line in text.splitlines() if line.startswith("trivet_access_reviews_total{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


# How old a view may be


class Ticks:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Looking:
    """Views whose looks a test makes last, or fail."""

    world: World
    ticks: Ticks
    fails: bool = False
    looks: int = 0

    def run(
        self, act: Callable[[RevokedViews, Cluster], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def look(authority: Any, found: Any, monotonic: Any) -> Any:  # noqa: ANN401
            self.looks += 1
            if self.fails:
                raise UnavailableError("away")
            return original(authority, found, monotonic)

        original = view.look
        monkeypatch.setattr(views, "look", look)

        async def course() -> None:
            authority = replace(
                self.world.authority, policy=replace(self.world.authority.policy, reviews=ReviewPolicy())
            )
            with authority.database.read() as connection:
                cluster = clusters.get(connection, "blue")
            kept = RevokedViews(authority, self.ticks)
            try:
                await act(kept, cluster)
            finally:
                await kept.close()

        asyncio.run(course())


async def two_looks(kept: RevokedViews) -> None:
    """Wait until a look is over that began after now."""
    for _ in range(2):
        await kept._looked.wait()


@pytest.fixture
def looking(world: World) -> Looking:
    return Looking(world, Ticks())


def test_a_view_that_is_older_than_a_second_waits_for_the_next_look(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(kept: RevokedViews, cluster: Cluster) -> None:
        first, age = await kept.of(cluster)
        assert age == 0
        looking.ticks.now += 1.0
        assert (await kept.of(cluster))[1] <= 1.0
        looking.world.revoke(entry(EntryKind.GROUP, "team"))
        looking.ticks.now += 5
        seen, age = await kept.of(cluster)
        assert seen is first
        assert age <= 1.0
        assert first.own_version == 1, "what was committed more than a second ago is known"

    looking.run(act, monkeypatch)
    assert looking.looks


class Slow:
    """Stands before what is read of revoked certificates: some clusters' does not come to its end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clusters: set[object] = set()
        self.is_over = threading.Event()
        self.openings = 0
        self._all, self._after = fingerprints.revoked, fingerprints.revoked_after
        monkeypatch.setattr(fingerprints, "revoked", self.revoked)
        monkeypatch.setattr(fingerprints, "revoked_after", self.revoked_after)
        monkeypatch.setattr(view, "LITTLE", 1, raising=False)

    def revoked(self, connection: Any, cluster_id: Any, cutoff: Any) -> Any:  # noqa: ANN401
        if cluster_id in self.clusters:
            self.openings += 1
            self.is_over.wait(60)
        yield from self._all(connection, cluster_id, cutoff)

    def revoked_after(self, connection: Any, scope: Any, version: Any, cutoff: Any) -> Any:  # noqa: ANN401
        for part in self._after(connection, scope, version, cutoff):
            yield part
            if scope in self.clusters:
                self.is_over.wait(60)


@pytest.mark.parametrize("openings", [0, 2], ids=["", "while other clusters are asked about first"])
def test_much_that_is_revoked_in_one_cluster_makes_the_view_of_another_no_older(
    looking: Looking, monkeypatch: pytest.MonkeyPatch, openings: int
) -> None:
    world, slow = looking.world, Slow(monkeypatch)
    much = [world.issue(node=f"node-{number}", key=number) for number in range(2)]
    little = world.issue(cluster="red", key=2)

    async def act(kept: RevokedViews, blue: Cluster) -> None:
        with world.authority.database.read() as connection:
            red = clusters.get(connection, "red")
        views = [(await kept.of(cluster))[0] for cluster in (blue, red)]
        others = [replace(blue, id=uuid4(), name=f"other-{number}") for number in range(openings)]
        slow.clusters = {blue.id, *(other.id for other in others)}
        asking = [asyncio.create_task(kept.of(other)) for other in others]
        world.revoke(entry(EntryKind.GROUP, "system:nodes"))
        await two_looks(kept)
        world.revoke(entry(EntryKind.GROUP, "system:nodes"), cluster="red")
        async with asyncio.timeout(30):
            await known(kept, views[1], little)
        assert not views[0].own_version, "its own is still being read"
        await two_looks(kept)
        assert slow.openings <= (openings or 1), "what is being read is not read once more"
        slow.is_over.set()
        await known(kept, views[0], *much)
        await asyncio.gather(*asking)

    try:
        looking.run(act, monkeypatch)
    finally:
        slow.is_over.set()


async def known(kept: RevokedViews, seen: view.RevokedView, *revoked: IssuedCertificate) -> None:
    """Wait until a view knows of them."""
    digests = [hashlib.sha256(one.stored.der).digest() for one in revoked]
    while not all(digest in seen.fingerprints for digest in digests):
        await kept._looked.wait()


def test_while_the_database_is_away_nobody_waits_and_the_age_is_told(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(kept: RevokedViews, cluster: Cluster) -> None:
        await kept.of(cluster)
        looking.fails = True
        await two_looks(kept)
        looking.ticks.now += 250
        known, age = await kept.of(cluster)
        assert age >= 250
        looking.fails = False
        await two_looks(kept)
        assert (await kept.of(cluster)) == (known, 0)

    looking.run(act, monkeypatch)


def test_a_view_that_nobody_asks_for_is_forgotten_and_nobody_looks_any_more(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(kept: RevokedViews, cluster: Cluster) -> None:
        first, _ = await kept.of(cluster)
        looking.ticks.now += views.UNASKED_SECONDS + 1
        assert kept._task is not None
        await asyncio.wait_for(kept._task, 30)
        assert not kept._kept
        second, age = await kept.of(cluster)
        assert second is not first
        assert age == 0

    looking.run(act, monkeypatch)


@pytest.mark.parametrize("header", ["Impersonate-User", "impersonate-group", "Impersonate-Extra-x"])
def test_whoever_asks_as_somebody_else_is_refused_also_when_admitted_before(
    api_server: ApiServer, header: str
) -> None:
    assert api_server.status(credential(b"unknown")) == NO_OPINION
    told = api_server.post(body(), 403, **{header: "jane"}).json()
    assert (told["kind"], told["reason"]) == ("Status", "Forbidden")
    assert told["message"].startswith("impersonation is not offered here")
    assert header.lower() in told["message"]
