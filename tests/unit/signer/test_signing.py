"""Signing against a real Trivet and an API server with a real one's rules, both over HTTPS."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from tests.support.api_server import CSRS, Answer, status
from tests.support.signing_requests import csr
from tests.unit.signer.conftest import Bench

from trivet.pki.kubernetes import PROFILES

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING = "kubernetes.io/kubelet-serving"
NODE = csr("system:node:node-1", ("system:nodes",))
SERVING_USAGES = ("digital signature", "server auth")


def certificate_of(bench: Bench, name: str = "node-1") -> x509.Certificate | None:
    text = bench.api.get(CSRS, name)["status"].get("certificate")
    return x509.load_pem_x509_certificate(base64.b64decode(text)) if text else None


def failure_of(bench: Bench, name: str = "node-1") -> dict[str, Any] | None:
    conditions = bench.api.get(CSRS, name)["status"].get("conditions", [])
    found: dict[str, Any] | None = next((item for item in conditions if item["type"] == "Failed"), None)
    return found


def ask(bench: Bench, request: bytes = NODE, signer_name: str = KUBELET, **spec: Any) -> None:  # noqa: ANN401
    bench.api.request("node-1", request, signer_name, **spec)
    bench.api.approve("node-1")


def issued(bench: Bench) -> list[Any]:
    with bench.trivet() as trivet:
        return list(trivet.certificates.list(bench.cluster))


def test_an_approved_request_gets_its_certificate(bench: Bench) -> None:
    ask(bench)
    assert bench.run()
    made = certificate_of(bench)
    assert made is not None
    (stored,) = issued(bench)
    assert stored["serialNumber"] == format(made.serial_number, "x")
    assert (stored["profile"], stored["node"], stored["subject"]) == (
        "kubelet-client",
        "node-1",
        "CN=system:node:node-1,O=system:nodes",
    )
    (line,) = bench.log("issued")
    assert (line["request"], line["serial"]) == ("node-1", stored["serialNumber"])
    assert f'trivet_signer_requests_total{{result="issued",signer_name="{KUBELET}"}} 1' in bench.shown


@pytest.mark.parametrize(
    ("signer_name", "request_", "usages", "profile"),
    [
        (
            SERVING,
            csr("system:node:node-1", ("system:nodes",), ("node-1", "10.0.0.9")),
            SERVING_USAGES,
            "kubelet-serving",
        ),
        (CLIENT, csr("jane", ("team", "other")), ("client auth",), "kube-apiserver-client"),
    ],
)
def test_each_signer_name_has_its_profile(
    bench: Bench, signer_name: str, request_: bytes, usages: tuple[str, ...], profile: str
) -> None:
    ask(bench, request_, signer_name, usages=usages)
    assert bench.run()
    (stored,) = issued(bench)
    assert stored["profile"] == profile
    assert certificate_of(bench) is not None


def test_a_signer_name_of_ones_own_is_signed_by_the_profile_that_was_named(bench: Bench) -> None:
    ask(bench, csr("jane"), "example.com/people")
    assert bench.run()
    assert certificate_of(bench) is None
    assert bench.run(**{"example.com/people": PROFILES["kube-apiserver-client"]})
    assert certificate_of(bench) is not None


@pytest.mark.parametrize("conditions", [(), ("Denied",), ("Approved", "Denied"), ("Approved", "Failed")])
def test_what_is_not_approved_or_decided_otherwise_is_left_alone(
    bench: Bench, conditions: tuple[str, ...]
) -> None:
    bench.api.request("node-1", NODE, KUBELET)
    for kind in conditions:
        bench.api.approve("node-1", kind)
    before = bench.api.get(CSRS, "node-1")
    assert bench.run()
    assert bench.api.get(CSRS, "node-1") == before
    assert issued(bench) == []


def test_a_certificate_that_stands_is_never_replaced(bench: Bench) -> None:
    ask(bench)
    bench.run()
    before = bench.api.get(CSRS, "node-1")
    assert bench.run()
    assert bench.api.get(CSRS, "node-1") == before
    assert len(issued(bench)) == 1


def test_the_validity_that_is_asked_for_is_granted_up_to_the_profile_s(bench: Bench) -> None:
    ask(bench, expirationSeconds=3600)
    bench.run()
    made = certificate_of(bench)
    assert made is not None
    assert made.not_valid_after_utc - made.not_valid_before_utc == timedelta(hours=1, minutes=5)  # backdated
    bench.api.request("long", NODE, KUBELET, expirationSeconds=31_536_000)
    bench.api.approve("long")
    bench.run()
    long = certificate_of(bench, "long")
    assert long is not None
    assert long.not_valid_after_utc - long.not_valid_before_utc == timedelta(days=4)


# --- refusals that are final ---


@pytest.mark.parametrize(
    ("request_", "signer_name", "usages", "reason"),
    [
        (csr("system:node:node-1", ("system:masters",)), KUBELET, (), "system:nodes"),
        (csr("", ("system:nodes",)), KUBELET, (), "node"),
        (csr("system:node:node-1"), KUBELET, (), "exactly CN system:node:node-1 and O system:nodes"),
        (csr("jane", ("system:masters",)), CLIENT, (), "system:masters"),
        (csr("system:node:node-1", ("system:nodes",), ("node-1",)), KUBELET, (), "subjectAltNames"),
        (NODE, SERVING, SERVING_USAGES, "subjectAltName"),
        (NODE, KUBELET, ("client auth",), "digital signature"),
        (NODE, KUBELET, ("digital signature", "client auth", "server auth"), "server auth"),
        (csr("jane"), CLIENT, ("digital signature", "client auth", "cert sign"), "cert sign"),
    ],
)
def test_what_the_signer_name_does_not_allow_fails_for_good(
    bench: Bench, request_: bytes, signer_name: str, usages: tuple[str, ...], reason: str
) -> None:
    ask(bench, request_, signer_name, usages=usages)
    assert bench.run()
    failure = failure_of(bench)
    assert failure is not None
    assert (failure["reason"], failure["status"]) == ("SignerValidationFailure", "True")
    assert reason in failure["message"]
    assert failure["lastUpdateTime"] == "2026-11-24T12:00:00Z"
    assert certificate_of(bench) is None
    assert issued(bench) == []
    conditions = bench.api.get(CSRS, "node-1")["status"]["conditions"]
    assert [item["type"] for item in conditions] == ["Approved", "Failed"]


def test_a_revoked_name_fails_with_the_entry_that_names_it(bench: Bench) -> None:
    manifest = json.dumps(
        {
            "apiVersion": "certificates.microsoft.com/v1",
            "kind": "RenewRevocation",
            "metadata": {"name": "stolen"},
            "spec": {"revocations": [{"kind": "CommonName", "commonName": "system:node:node-1"}]},
        }
    )
    with bench.trivet() as trivet:
        trivet.revocations.create(bench.cluster, manifest.encode())
    ask(bench)
    assert bench.run()
    failure = failure_of(bench)
    assert failure is not None
    assert "kube-system/stolen" in failure["message"]
    assert "decision" in failure["message"]


# --- refusals that may pass ---


def test_while_trivet_is_away_nothing_fails_and_afterwards_all_is_signed(bench: Bench) -> None:
    ask(bench)
    there = bench.endpoint
    bench.away()
    signer = bench.signer(mirrors=False)
    assert not signer.run_once()
    assert failure_of(bench) is None
    assert [line["reason"] for line in bench.log("putOff")] == ["unreachable"]
    bench.endpoint = there
    (controller,) = signer.controllers
    assert not controller.attend_next(), "its time has not come"
    bench.steady += 300
    assert controller.attend_next()
    assert certificate_of(bench) is not None
    assert len(controller.queue) == 0


def test_one_silence_is_enough(bench: Bench) -> None:
    for number in range(20):
        bench.api.request(f"node-{number}", csr(f"system:node:node-{number}", ("system:nodes",)), KUBELET)
        bench.api.approve(f"node-{number}")
    bench.away()
    assert not bench.run(mirrors=False)
    assert len(bench.log("putOff")) == 1


@pytest.mark.parametrize("role", ["auditor", None])
def test_a_token_of_the_wrong_role_or_none_fails_no_request(bench: Bench, role: str | None) -> None:
    ask(bench)
    secret = "trivet_" + "A" * 43
    if role is not None:
        with bench.trivet() as trivet:
            secret = trivet.tokens.create(role, cluster=bench.cluster)["secret"]
    bench.endpoint = replace(bench.endpoint, token=secret)
    assert not bench.run(mirrors=False)
    assert failure_of(bench) is None
    (line,) = bench.log("putOff")
    assert line["reason"] == ("unauthorized" if role else "unauthenticated")
    assert secret not in bench.out.getvalue()


def test_a_token_that_was_exchanged_is_used_by_the_next_question(bench: Bench) -> None:
    ask(bench)
    good = bench.endpoint
    bench.endpoint = replace(good, token="trivet_" + "A" * 43)
    signer = bench.signer(mirrors=False)
    assert not signer.run_once()
    bench.endpoint, bench.steady = good, bench.steady + 300
    assert signer.controllers[0].attend_next()
    assert certificate_of(bench) is not None


def test_an_answer_for_another_key_is_not_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(bench)
    signer = bench.signer(mirrors=False)
    other = csr("system:node:node-1", ("system:nodes",), key=1)
    with bench.trivet() as trivet:
        wrong = trivet.certificates.issue(bench.cluster, "kubelet-client", other)["certificate"]
    asking = signer.controllers[0].work.asking  # type: ignore[attr-defined]
    for answer in (wrong, "nonsense"):
        monkeypatch.setattr(asking, "certificate", lambda _, answer=answer: answer)
        bench.steady += 300
        signer.run_once()
    assert certificate_of(bench) is None
    assert failure_of(bench) is None
    assert {line["reason"] for line in bench.log("putOff")} == {"notAsAsked"}


# --- the API server ---


def test_two_replicas_write_one_and_the_same_certificate(bench: Bench) -> None:
    ask(bench)
    first, second = bench.signer(mirrors=False), bench.signer(mirrors=False)
    for signer in (first, second):
        signer.controllers[0].informer.refresh()
    assert first.controllers[0].attend_next()
    before = bench.api.get(CSRS, "node-1")
    assert second.controllers[0].attend_next()
    bench.steady += 300
    second.controllers[0].attend_next()
    assert bench.api.get(CSRS, "node-1") == before
    assert [line["reason"] for line in bench.log("putOff")] == ["conflict"]
    assert len(issued(bench)) == 1


def test_a_crash_between_issuing_and_writing_costs_no_second_certificate(bench: Bench) -> None:
    ask(bench)
    bench.api.troubles.append(("PUT", "status", Answer(503, status(503, "ServiceUnavailable", "etcd").body)))
    assert not bench.run(mirrors=False)
    assert bench.run(mirrors=False), "another signer, which knows nothing of the first one"
    (stored,) = issued(bench)
    made = certificate_of(bench)
    assert made is not None
    assert format(made.serial_number, "x") == stored["serialNumber"]


def test_what_changed_meanwhile_is_judged_again(bench: Bench) -> None:
    ask(bench)
    signer = bench.signer(mirrors=False)
    (controller,) = signer.controllers
    controller.informer.refresh()
    bench.api.approve("node-1", "Denied")
    assert controller.attend_next()
    bench.steady += 300
    assert controller.attend_next()
    assert certificate_of(bench) is None
    assert len(controller.queue) == 0


def test_an_object_that_was_made_anew_gets_a_certificate_of_its_own(bench: Bench) -> None:
    ask(bench)
    signer = bench.signer(mirrors=False)
    (controller,) = signer.controllers
    controller.informer.refresh()
    bench.api.remove(CSRS, "node-1")
    bench.api.request("node-1", csr("system:node:node-1", ("system:nodes",), key=1), KUBELET)
    assert controller.attend_next()
    assert certificate_of(bench) is None, (
        "the new one is not approved, and the old one's certificate is not its"
    )
    bench.api.approve("node-1")
    controller.informer.refresh()
    bench.steady += 300
    assert controller.attend_next()
    made = certificate_of(bench)
    assert made is not None
    asked = x509.load_pem_x509_csr(base64.b64decode(bench.api.get(CSRS, "node-1")["spec"]["request"]))
    assert made.public_key() == asked.public_key()


def test_a_request_that_is_deleted_meanwhile_is_forgotten(bench: Bench) -> None:
    ask(bench)
    signer = bench.signer(mirrors=False)
    (controller,) = signer.controllers
    controller.informer.refresh()
    bench.api.remove(CSRS, "node-1")
    assert controller.attend_next()
    bench.steady += 300
    assert controller.attend_next()
    assert len(controller.queue) == 0


def test_without_the_right_to_sign_nothing_is_lost(bench: Bench) -> None:
    ask(bench)
    words = 'certificatesigningrequests.certificates.k8s.io "node-1" is forbidden: user not permitted to sign requests'
    bench.api.troubles.append(("PUT", "status", status(403, "Forbidden", words)))
    signer = bench.signer(mirrors=False)
    assert not signer.run_once()
    (line,) = bench.log("putOff")
    assert "not permitted to sign" in line["message"]
    bench.steady += 300
    assert signer.controllers[0].attend_next()
    assert certificate_of(bench) is not None


def test_a_defect_ends_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(bench)
    signer = bench.signer(mirrors=False)
    (controller,) = signer.controllers

    def broken(_: object, key: str) -> None:
        raise KeyError(key)

    with monkeypatch.context() as broke:
        broke.setattr(type(controller.work), "attend", broken)
        assert not signer.run_once()
    (line,) = bench.log("fault")
    assert "KeyError" in line["message"]
    bench.steady += 300
    assert controller.attend_next()
    assert certificate_of(bench) is not None
