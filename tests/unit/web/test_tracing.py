from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import time_ns

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from pydantic import SecretStr
from tests.support.signing_requests import csr
from tests.unit.web.service import Service, pem

from trivet.authority.access import Role
from trivet.authority.metrics import traces
from trivet.bootstrap import tracing
from trivet.bootstrap.errors import StartError
from trivet.settings import ServerSettings

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SETTINGS = ServerSettings(
    database_url=SecretStr("sqlite:////nowhere.db"), trace_endpoint="http://127.0.0.1:4318/v1/traces"
)
PHASES = {"wait", "check", "sign", "commit"}
ENTRY = {"kind": "Group", "group": "system:nodes"}
REVOCATION = {
    "apiVersion": "certificates.microsoft.com/v1",
    "kind": "RenewRevocation",
    "metadata": {"name": "all-nodes"},
    "spec": {"description": "canary-of-a-description", "revocations": [ENTRY]},
}


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Where all spans go."""
    kept = InMemorySpanExporter()
    traces.switch_on(tracing.teller(tracing.provider(SimpleSpanProcessor(kept), 1.0)), time_ns)
    yield kept
    traces.switch_off()


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def test_an_issue_is_a_span_with_one_for_each_phase_in_it(
    service: Service, exporter: InMemorySpanExporter
) -> None:
    answer = service.issue()
    spans = by_name(exporter)
    assert spans.keys() == PHASES | {"issue"}
    whole = spans["issue"]
    assert attributes(whole) == {
        "trivet.cluster": "blue",
        "trivet.profile": "kubelet-client",
        "trivet.request_id": answer.headers["x-request-id"],
        "trivet.result": "done",
    }
    assert whole.status.status_code is StatusCode.UNSET
    assert whole.resource.attributes["service.name"] == "trivet"
    for name in PHASES:
        phase = spans[name]
        assert phase.parent is not None
        assert whole.context is not None
        assert phase.parent.span_id == whole.context.span_id
        assert whole.start_time is not None
        assert phase.start_time is not None
        assert phase.end_time is not None
        assert whole.end_time is not None
        assert whole.start_time <= phase.start_time <= phase.end_time <= whole.end_time
    ends = [spans[name].end_time for name in ("wait", "check", "sign")]
    assert ends == [spans[name].start_time for name in ("check", "sign", "commit")]


def test_a_renewal_belongs_to_the_trace_that_the_client_began(
    service: Service, exporter: InMemorySpanExporter
) -> None:
    held = x509.load_pem_x509_certificate(service.issue().json()["certificate"].encode())
    exporter.clear()
    sent = {"csr": pem(csr(key=1))}
    service.ask(
        "POST",
        "clusters/blue/certificates/renew",
        201,
        held=held.public_bytes(Encoding.DER),
        headers={"traceparent": PARENT},
        json=sent,
    )
    whole = by_name(exporter)["renew"]
    assert whole.parent is not None
    assert whole.context is not None
    assert f"{whole.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{whole.parent.span_id:016x}" == PARENT.split("-")[2]


@pytest.mark.parametrize("nonsense", ["", "00-xyz", PARENT + "-more", "\x00"])
def test_a_parent_that_cannot_be_read_is_none(
    service: Service, exporter: InMemorySpanExporter, nonsense: str
) -> None:
    service.ask("POST", "clusters/blue/certificates", 422, headers={"traceparent": nonsense}, json={})
    request = {"profile": "kubelet-client", "node": "node-1", "csr": pem(csr())}
    service.ask("POST", "clusters/blue/certificates", 201, headers={"traceparent": nonsense}, json=request)
    assert by_name(exporter)["issue"].parent is None


def test_a_revocation_and_the_refusal_that_follows_are_spans(
    service: Service, exporter: InMemorySpanExporter
) -> None:
    service.ask("POST", "clusters/blue/renew-revocations", 201, json=REVOCATION)
    refused = service.issue(403).json()
    service.ask("DELETE", "clusters/blue/renew-revocations/kube-system/all-nodes", 204)
    spans = by_name(exporter)
    assert attributes(spans["revoke"])["trivet.result"] == "done"
    assert attributes(spans["revoke.delete"])["trivet.cluster"] == "blue"
    found = attributes(spans["issue"])
    assert (found["trivet.result"], found["trivet.decision"]) == ("revoked", refused["decision"])
    assert spans["issue"].status.status_code is StatusCode.UNSET  # a refusal is no fault of the service


def test_no_token_request_key_or_name_is_in_a_trace(service: Service, exporter: InMemorySpanExporter) -> None:
    token = service.token(Role.ADMIN)
    request = pem(csr())
    sent = {"profile": "kubelet-client", "node": "canary-node", "csr": request}
    service.ask("POST", "clusters/blue/certificates", 201, as_role=None, headers=token, json=sent)
    service.ask("POST", "clusters/blue/certificates", 400, json=sent | {"csr": "canary-csr"})
    service.ask("POST", "clusters/blue/renew-revocations", 201, json=REVOCATION)
    told = "".join(span.to_json() for span in exporter.get_finished_spans())
    assert "trivet.result" in told
    for hidden in (token["Authorization"][7:], "canary", request.split("\n")[1], "BEGIN", "system:node"):
        assert hidden not in told
    keys = {key for span in exporter.get_finished_spans() for key in attributes(span)}
    known = {"cluster", "profile", "request_id", "result", "decision"}
    assert keys <= {f"trivet.{name}" for name in known}
    assert not any(span.events for span in exporter.get_finished_spans())


def test_a_client_does_not_decide_that_its_trace_is_kept(service: Service) -> None:
    kept = InMemorySpanExporter()
    traces.switch_on(tracing.teller(tracing.provider(SimpleSpanProcessor(kept), 0.0)), time_ns)
    try:
        request = {"profile": "kubelet-client", "node": "node-1", "csr": pem(csr())}
        service.ask("POST", "clusters/blue/certificates", 201, headers={"traceparent": PARENT}, json=request)
    finally:
        traces.switch_off()
    assert kept.get_finished_spans() == ()


def test_a_collector_that_fails_keeps_nobody_from_a_certificate(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: traces.Trace) -> None:
        message = "no collector"
        raise OSError(message)

    traces.switch_on(fail, time_ns)
    try:
        service.issue()
    finally:
        traces.switch_off()
    assert "a trace could not be told" in caplog.text


def test_nothing_is_made_where_nobody_wants_traces(service: Service) -> None:
    assert not traces.is_on()
    assert traces.traced("issue", "blue", None) is traces.traced("renew", "red", None)
    traces.batch_ended(("check", 1.0))
    assert traces.take_phases() == ()
    service.issue()


def test_a_defect_is_a_fault_of_the_service(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(RuntimeError), traces.traced("issue", None, None):
        raise RuntimeError
    (span,) = exporter.get_finished_spans()
    assert attributes(span)["trivet.result"] == "defect"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "RuntimeError")


def test_the_service_does_not_start_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    tracing.check(SETTINGS)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(StartError, match=r"trivet\[server,otel\]"):
        tracing.check(SETTINGS)
    tracing.check(SETTINGS.model_copy(update={"trace_endpoint": None}))


class _Collector(BaseHTTPRequestHandler):
    """Takes what OTLP exporters send."""

    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        plain = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
        self.server.received.append((self.path, plain))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class Collector(ThreadingHTTPServer):
    """A collector, and what it got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Collector)
        self.received: list[tuple[str, bytes]] = []


def test_what_is_set_up_sends_to_the_collector_until_it_ends(service: Service) -> None:
    with Collector() as collector:
        thread = Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        place = f"http://127.0.0.1:{collector.server_port}/v1/traces"
        end = tracing.switch_on(SETTINGS.model_copy(update={"trace_endpoint": place, "trace_share": 1.0}))
        assert traces.is_on()
        try:
            service.issue()
        finally:
            end()
            collector.shutdown()
            thread.join()
    assert not traces.is_on()
    ((path, body),) = collector.received
    assert path == "/v1/traces"
    assert all(name in body for name in (b"service.name", b"issue", b"commit", b"trivet.result"))
