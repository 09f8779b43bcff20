from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID
from prometheus_client.parser import text_string_to_metric_families
from tests.monitoring import names
from tests.monitoring.names import named
from tests.monitoring.promtool import ROOT
from tests.support.ocsp_requests import SHA1
from tests.support.served import Served, serving, set_up
from tests.support.signing_requests import csr
from tests.unit.agent.clockwork import START, Clockwork

from trivet.agent.exposition import Tallies, exposition
from trivet.agent.loop import Answer, AnswerKind
from trivet.agent.loop.aftermath import Sight
from trivet.agent.plan.model import PlannedList
from trivet.agent.revocation_lists import ListStanding

Labels = dict[str, set[str]]


def _pem(request: bytes) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    return x509.load_der_x509_csr(request).public_bytes(Encoding.PEM).decode()


def _exposed(text: str) -> Labels:
    """Every name that Prometheus would know, with the labels of its samples."""
    found: Labels = {}
    for family in text_string_to_metric_families(text):
        endings = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}.get(family.type, ("",))
        for ending in endings:
            found.setdefault(family.name + ending, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def _live(served: Served) -> str:
    """Let everything happen that is counted, and scrape."""
    with served.client() as client:
        place = "/api/v1/clusters/demo"
        body = {"profile": "kubelet-client", "node": "node-1", "csr": _pem(csr(key=0))}
        made = client.post(f"{place}/certificates", json=body)
        assert made.status_code == 201, made.text
        refused = client.post(f"{place}/certificates", json=body | {"profile": "weather"})
        assert refused.status_code >= 400
        asked = client.post(
            f"{place}/certificate-requests", json={"profile": "scheduler", "csr": _pem(csr(key=1))}
        )
        assert asked.status_code == 201, asked.text
        entry = {"kind": "Group", "group": "team-blue"}
        revocation = {
            "apiVersion": "certificates.microsoft.com/v1",
            "kind": "RenewRevocation",
            "metadata": {"name": "blue"},
            "spec": {"revocations": [entry]},
        }
        assert client.post(f"{place}/renew-revocations", json=revocation).status_code == 201
        issuer = x509.load_pem_x509_certificate(made.json()["issuer"].encode())
        certificate = x509.load_pem_x509_certificate(made.json()["certificate"].encode())
        question = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, SHA1).build()
        _ask_ocsp(client, certificate, question)
        answer = client.get("/metrics")
        assert answer.status_code == 200, answer.text
        return answer.text


def _ask_ocsp(client: httpx.Client, certificate: x509.Certificate, question: ocsp.OCSPRequest) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    (url,) = [
        one.access_location.value for one in access if one.access_method == AuthorityInformationAccessOID.OCSP
    ]
    path = urlsplit(url).path
    asked = {"Content-Type": "application/ocsp-request"}
    answer = client.post(path, content=question.public_bytes(Encoding.DER), headers=asked)
    assert ocsp.load_der_ocsp_response(answer.content).response_status is ocsp.OCSPResponseStatus.SUCCESSFUL


def _of_an_agent() -> str:
    node = Clockwork(names=("apiserver", "etcd-server")).run_for(timedelta(hours=1))
    failed = Answer(AnswerKind.UNREACHABLE, "away")
    known = node.node.failed("apiserver", failed, node.now, node.jitter)
    seen = {name: replace(aftermath, sight=Sight.NEW) for name, aftermath in known.aftermaths.items()}
    tallies = Tallies({"apiserver": 3}, {"apiserver": START}, {"etcd-server": 1}, START, 2)
    planned = cast("PlannedList", None)  # nothing of it is told
    lists = {"etcd": ListStanding(planned, START, START + timedelta(days=3))}
    about = {"mode": "worker", "cluster": "demo", "node": "node-1", "version": "0"}
    return exposition(replace(known, aftermaths=seen), tallies, node.now, about, lists)


@pytest.fixture(scope="module")
def agent() -> Labels:
    """What an agent exposes."""
    return _exposed(_of_an_agent())


@pytest.fixture(scope="module")
def service(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """What a live service on PostgreSQL exposes, several workers and everything that it can tell."""
    url = postgres_url.replace("postgresql+psycopg", "postgresql")
    served = set_up(
        tmp_path_factory.mktemp("served"), "--database-url", url, "--pki-base-url", "http://pki.example:1"
    )
    with serving(served, "--workers", "2"):
        return _exposed(_live(served))


def _faults(known: Labels) -> list[str]:
    faults = []
    for place, expression in names.expressions():
        found = named(expression)
        for metric, labels in found.metrics.items():
            if metric in names.records():
                continue
            if metric not in known:
                faults.append(f"{place}: there is no {metric}")
            elif wrong := labels - known[metric] - names.TARGET_LABELS:
                faults.append(f"{place}: {metric} has no label {', '.join(sorted(wrong))}")
        every = names.TARGET_LABELS | {"le"}.union(*known.values())
        faults += [f"{place}: no metric has the label {label}" for label in found.groups - every]
    return faults


@pytest.mark.slow
def test_whatever_a_rule_or_a_dashboard_names_is_exposed(service: Labels, agent: Labels) -> None:
    assert _faults(service | agent | {"up": set()}) == []


@pytest.mark.slow
def test_every_metric_of_a_live_service_is_documented(service: Labels, agent: Labels) -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    bases = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in service}
    assert sorted(name for name in bases if f"`{name}`" not in page) == []
    page = (ROOT / "docs/agent.md").read_text()
    assert sorted(name for name in agent if name.removeprefix("trivet_agent_") not in page) == []


def test_a_name_that_is_misspelt_is_found() -> None:
    known = {"trivet_queue_waiting": {"cluster"}}
    assert named('sum by (cluster) (rate(trivet_queue_waiting{cluster=~"a{2}"}[5m])) / 2').metrics == {
        "trivet_queue_waiting": {"cluster"}
    }
    assert named("trivet_queue_wating > 1 and on (job) up").metrics.keys() == {"trivet_queue_wating", "up"}
    assert any("there is no" in fault for fault in _faults(known))


def test_a_record_begins_with_the_labels_that_it_keeps() -> None:
    for name, expression in names.expressions_of_rules():
        level, colon, _ = name.partition(":")
        if colon and " by (" in expression and not level.startswith("trivet"):
            kept = named(expression).groups - {"le"}
            assert set(level.split("_")) == kept, name


@pytest.mark.parametrize("file", sorted(names.DASHBOARDS.glob("*.json")), ids=lambda file: file.stem)
def test_a_dashboard_can_be_provisioned(file: Path) -> None:
    page: dict[str, Any] = json.loads(file.read_text())
    assert page["uid"] == file.stem
    assert "id" not in page
    assert len({panel["id"] for panel in page["panels"]}) == len(page["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in page["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


def test_promtool_can_read_what_dashboards_ask(require_tool: Any, tmp_path: Path) -> None:  # noqa: ANN401
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$instance", ".*").replace("$cluster", ".*")}
        for number, (_, expression) in enumerate(names.expressions_of_dashboards())
    ]
    file = tmp_path / "dashboards.json"
    file.write_text(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}))
    done = subprocess.run(
        [require_tool("promtool"), "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
