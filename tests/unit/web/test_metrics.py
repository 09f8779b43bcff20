from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from sqlalchemy import exc
from tests.unit.web.service import Service, service_over, slug

from trivet.authority.access import Role
from trivet.pki.errors import NotFoundError, UnavailableError
from trivet.web import metrics
from trivet.web.app import WebOptions
from trivet.web.metrics import FRESH_SECONDS, TRUST_SECONDS, Patience, route_template

if TYPE_CHECKING:
    from httpx2 import Response


class Monotonic:
    """The clock that scrapes go by, which tests set forward."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    clock = Monotonic()
    monkeypatch.setattr(metrics, "time", clock)
    return clock


def families(answer: Response) -> dict[str, Metric]:
    return {family.name: family for family in parse_text(answer.text)}


def value(answer: Response, name: str, **labels: str) -> float | None:
    """The value of a series, None where there is none."""
    found = [
        sample.value
        for family in families(answer).values()
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    assert len(found) <= 1
    return float(found[0]) if found else None


@contextmanager
def away(service: Service) -> Iterator[None]:
    gone = exc.OperationalError("SELECT 1", {}, OSError("gone: secret-host"))
    with patch.object(service.world.authority.database.engine, "connect", side_effect=gone):
        yield


@pytest.mark.parametrize("role", [Role.ADMIN, Role.AUDITOR])
def test_administrators_and_auditors_may_scrape(service: Service, role: Role) -> None:
    answer = service.ask("GET", "/metrics", 200, as_role=role)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert value(answer, "trivet_database_up") == 1
    assert value(answer, "trivet_clusters") == 2
    assert value(answer, "trivet_clock_timestamp_seconds") == service.world.clock().timestamp()


@pytest.mark.parametrize("role", [Role.ISSUER, Role.APPROVER])
def test_other_roles_may_not(service: Service, role: Role) -> None:
    assert slug(service.ask("GET", "/metrics", 403, as_role=role)) == "unauthorized"


def test_one_of_a_cluster_may_not_see_what_all_clusters_do(service: Service) -> None:
    own = service.token(Role.AUDITOR, "blue")
    assert slug(service.ask("GET", "/metrics", 403, as_role=None, headers=own)) == "unauthorized"


@pytest.mark.parametrize(
    "header", [None, "Bearer trivet_short", "Bearer trivet_" + "A" * 43, "Basic dXNlcjpwYXNz", "Bearer "]
)
def test_nobody_who_is_unknown_may_scrape(service: Service, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    assert slug(service.ask("GET", "/metrics", 401, as_role=None, headers=headers)) == "unauthenticated"


def test_the_key_of_a_certificate_does_not_do(service: Service) -> None:
    held = service.world.issue().stored
    assert slug(service.ask("GET", "/metrics", 401, held=held)) == "unauthenticated"


def test_guessing_tokens_is_limited(service: Service) -> None:
    with service_over(service.world, WebOptions(rate_per_second=0.5, burst=3)) as strict:
        asked = [strict.client.get("/metrics").status_code for _ in range(4)]
        assert asked == [401, 401, 401, 429]


def test_metrics_may_be_public(service: Service) -> None:
    with service_over(service.world, WebOptions(metrics_public=True)) as public:
        assert value(public.ask("GET", "/metrics", 200, as_role=None), "trivet_database_up") == 1


def test_openmetrics_is_given_to_whoever_accepts_it(service: Service) -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
    answer = service.ask("GET", "/metrics", 200, headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    assert "trivet_build" in {family.name.removesuffix("_info") for family in parse_openmetrics(answer.text)}


@pytest.mark.parametrize("accept", ["", "*/*", "text/html", "a;version=;;=,,", "text/plain;version=x"])
def test_everybody_else_is_given_text(service: Service, accept: str) -> None:
    answer = service.ask("GET", "/metrics", 200, headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_the_openapi_document_does_not_list_it(service: Service) -> None:
    assert "/metrics" not in service.ask("GET", "openapi.json", 200).json()["paths"]


def test_requests_count_by_the_template_of_their_route(service: Service) -> None:
    route = "/api/v1/clusters/{cluster}/certificates/{serial}"
    labels = {"method": "GET", "route": route}
    before = value(service.ask("GET", "/metrics", 200), "trivet_http_requests_total", **labels, status="200")
    issued = service.issue().json()
    for _ in range(3):
        service.ask("GET", f"clusters/blue/certificates/{issued['serialNumber']}", 200)
    answer = service.ask("GET", "/metrics", 200)
    assert value(answer, "trivet_http_requests_total", **labels, status="200") == (before or 0) + 3
    assert (value(answer, "trivet_http_request_seconds_count", **labels) or 0) >= 3
    assert value(answer, "trivet_http_requests_in_flight") == 1


def test_what_clients_make_up_becomes_no_label(service: Service) -> None:
    token = service.token()
    for path in ("/nothing/x", "/api/v1/clusters/odd/certificates/1"):
        service.client.request("BREW", path, headers=token)
        service.client.get(path, headers=token)
    before = {
        name: len(family.samples) for name, family in families(service.ask("GET", "/metrics", 200)).items()
    }
    for number in range(250):
        service.client.request(f"BREW{number}", f"/nothing/{number}")
        service.client.get(f"/nothing/{number}/?token=x{number}")
        service.client.get(f"/api/v1/clusters/odd-{number}/certificates/{number}", headers=token)
        service.client.request(f"BREW{number}", f"/api/v1/clusters/odd-{number}/certificates/{number}")
    after = {
        name: len(family.samples) for name, family in families(service.ask("GET", "/metrics", 200)).items()
    }
    assert after == before


def test_a_thousand_clusters_and_profiles_that_are_not_there_are_one_series(service: Service) -> None:
    def wish(number: int) -> None:
        with pytest.raises(NotFoundError):
            service.world.issue("kubelet-client", cluster=f"odd-{number}")

    wish(0)
    before = service.ask("GET", "/metrics", 200)
    for number in range(1, 101):
        wish(number)
    after = service.ask("GET", "/metrics", 200)
    labels = {"cluster": "unknown", "authority": "cluster", "profile": "kubelet-client", "action": "issue"}
    counted = [
        value(it, "trivet_decisions_total", **labels, result="notFound") or 0 for it in (before, after)
    ]
    assert counted[1] - counted[0] == 100
    assert "odd-" not in after.text


def test_the_answer_holds_no_secret_and_names_nobody(service: Service) -> None:
    token = service.token(Role.ADMIN)
    issued = service.issue(node="node-very-own").json()
    service.ask("GET", f"clusters/blue/certificates/{issued['serialNumber']}", 200)
    service.client.get("/nothing/trivet_secret")
    for accept in ("text/plain", "application/openmetrics-text"):
        text = service.ask("GET", "/metrics", 200, as_role=None, headers=token | {"Accept": accept}).text
        for hidden in (
            token["Authorization"][7:],
            "trivet_secret",
            "node-very-own",
            issued["serialNumber"],
            "testclient",
        ):
            assert hidden not in text
        assert service.world.authority.key_encryption_key.token_hash(token["Authorization"][7:]) not in text


def test_the_ends_of_authorities_are_shown(service: Service) -> None:
    answer = service.ask("GET", "/metrics", 200)
    for cluster, authority in (("blue", "etcd"), ("red", "front-proxy"), ("", "service")):
        labels = {"cluster": cluster, "authority": authority, "state": "active"}
        ends = value(answer, "trivet_ca_not_after_timestamp_seconds", **labels)
        assert ends is not None
        assert ends > service.world.clock().timestamp() + 3000 * 24 * 3600
        lifetime = value(answer, "trivet_ca_lifetime_seconds", **labels)
        assert lifetime is not None
        # Made just now, and backdated a little: nearly all of its life lies ahead.
        assert lifetime - 3600 < ends - service.world.clock().timestamp() < lifetime


def test_a_scrape_is_answered_while_the_database_is_away(service: Service, monotonic: Monotonic) -> None:
    token, other = service.token(Role.AUDITOR), service.token(Role.AUDITOR)
    before = service.ask("GET", "/metrics", 200, as_role=None, headers=token)
    monotonic.seconds += FRESH_SECONDS
    with away(service):
        answer = service.ask("GET", "/metrics", 200, as_role=None, headers=token)
        assert value(answer, "trivet_database_up") == 0
        name = "trivet_ca_not_after_timestamp_seconds"
        assert families(answer)[name].samples == families(before)[name].samples
        assert "secret-host" not in answer.text
        # One that was not admitted before cannot be known now.
        service.ask("GET", "/metrics", 503, as_role=None, headers=other)
        monotonic.seconds += TRUST_SECONDS
        service.ask("GET", "/metrics", 503, as_role=None, headers=token)
    assert value(service.ask("GET", "/metrics", 200, as_role=None, headers=token), "trivet_database_up") == 1


def test_public_metrics_tell_of_a_database_that_was_never_there(service: Service) -> None:
    with service_over(service.world, WebOptions(metrics_public=True)) as public, away(public):
        answer = public.ask("GET", "/metrics", 200, as_role=None)
        assert value(answer, "trivet_database_up") == 0


def test_a_token_that_ended_is_not_admitted_from_memory(service: Service) -> None:
    token = service.token(Role.AUDITOR, lifetime=timedelta(minutes=10))
    service.ask("GET", "/metrics", 200, as_role=None, headers=token)
    service.world.clock.advance(minutes=10)
    with away(service):
        service.ask("GET", "/metrics", 503, as_role=None, headers=token)


def test_a_token_that_was_deleted_is_forgotten(service: Service) -> None:
    token = service.token(Role.AUDITOR)
    service.ask("GET", "/metrics", 200, as_role=None, headers=token)
    listed = service.ask("GET", "tokens", 200).json()["items"]
    for item in listed:
        if item["role"] == "auditor":
            service.ask("DELETE", f"tokens/{item['id']}", 204)
    service.ask("GET", "/metrics", 401, as_role=None, headers=token)
    with away(service):
        service.ask("GET", "/metrics", 503, as_role=None, headers=token)


def test_the_database_is_read_every_fifteen_seconds_at_most(service: Service, monotonic: Monotonic) -> None:
    token = service.token(Role.AUDITOR)
    service.ask("GET", "/metrics", 200, as_role=None, headers=token)
    service.world.make_cluster("green")
    answer = service.ask("GET", "/metrics", 200, as_role=None, headers=token)
    assert value(answer, "trivet_clusters") == 2
    monotonic.seconds += FRESH_SECONDS
    answer = service.ask("GET", "/metrics", 200, as_role=None, headers=token)
    assert value(answer, "trivet_clusters") == 3


def test_a_defect_of_the_reading_does_not_hide_what_is_counted(service: Service) -> None:
    with patch("trivet.web.metrics.Monitor.read", side_effect=ZeroDivisionError):
        answer = service.ask("GET", "/metrics", 200)
    assert value(answer, "trivet_clusters") == 0
    assert value(answer, "trivet_http_requests_in_flight") == 1


def test_a_database_that_hangs_is_waited_for_by_one_thread_and_not_long() -> None:
    hanging, began = threading.Event(), []

    def question() -> str:
        began.append(threading.current_thread())
        hanging.wait(30)
        return "late"

    async def ask() -> None:
        patience = Patience(0.05)
        for _ in range(3):
            with pytest.raises(UnavailableError):
                await patience.ask(question)
        assert len(began) == 1
        assert began[0].daemon
        hanging.set()
        assert await Patience(10).ask(lambda: "in time") == "in time"
        await patience._free.acquire()  # as soon as the late answer came
        patience._free.release()
        assert await patience.ask(lambda: "again") == "again"

    started = time.monotonic()
    asyncio.run(ask())
    assert time.monotonic() - started < 10


def test_a_route_that_is_not_matched_has_no_template() -> None:
    assert route_template({"type": "http", "path": "/x"}) == "unmatched"
    assert route_template({"type": "http", "path": "/x", "fastapi": {}, "route": object()}) == "unmatched"
