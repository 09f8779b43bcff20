"""The OpenAPI document with examples that exist: everything else in it stays as it is served."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from tests.conformance.live import DENIED, KEPT, Known, manifest, pem
from tests.support.signing_requests import csr

_NODE = "node-held"  # the holder's own, which a kubelet may ask for


@dataclass(frozen=True)
class Examples:
    """What the examples of one role's run name."""

    known: Known
    role: str
    message: str
    carried: str


def with_examples(document: dict[str, Any], examples: Examples) -> dict[str, Any]:
    """Give a copy of the document whose examples name what there is."""
    furnished = copy.deepcopy(document)
    for item in furnished["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                _example_parameter(operation["operationId"], parameter, examples)
            for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
                if media_type in {"application/json", "application/yaml"}:
                    content["example"] = _body(operation["operationId"], examples)
    return furnished


def _example_parameter(operation: str, parameter: dict[str, Any], examples: Examples) -> None:
    values = _values(operation, examples.known)
    of_the_query = {"profile": "kubelet-client", "node": _NODE}
    if parameter["in"] == "path" and parameter["name"] in values:
        parameter["example"] = values[parameter["name"]]
    elif parameter["name"] == "If-Match":
        parameter["example"] = "*"
    elif operation == "issueCertificate" and parameter["name"] in of_the_query:
        parameter["example"] = of_the_query[parameter["name"]]


def _values(operation: str, known: Known) -> dict[str, str]:
    doomed = operation.startswith("delete")
    values = {
        "cluster": "prod",
        "serial": known.serials[0],
        "decision": known.decisions[0],
        "token": known.tokens[-1 if doomed else 0],
        "namespace": "kube-system",
        "name": known.objects[-1] if doomed else KEPT,
        "node": known.objects[-1] if doomed else KEPT,
        "certificate": known.certificate_ids[0],
        "renewal": known.renewal,
        "repair": known.repair,
    }
    if "BootstrapToken" in operation:
        values["token"] = known.bootstrap_tokens[-1 if doomed else 0]
    if operation == "denyCertificateRequest":
        values["name"] = DENIED
    elif operation == "createRepair":
        values["cluster"] = "spare"
    elif operation == "createRepairSkip":
        values |= {"cluster": "skipped", "repair": known.skipping}
    elif operation == "deleteRepair":
        values |= {"cluster": "lab", "repair": known.closing}
    return values


def _body(operation: str, examples: Examples) -> dict[str, Any]:
    fresh = f"fresh-{examples.role}".replace("@", "-")
    bodies: dict[str, dict[str, Any]] = {
        "createCluster": {"name": fresh, "endpoint": "api.fresh.example"},
        "issueCertificate": {"profile": "kubelet-client", "node": _NODE, "csr": pem(csr(key=21))},
        "renewCertificate": {"csr": pem(csr(key=22))},
        "createToken": {"role": "auditor", "expiresInSeconds": 3600},
        "createBootstrapToken": {"node": _NODE, "expiresInSeconds": 3600},
        "createCertificateRequest": {
            "profile": "kubelet-client",
            "csr": pem(csr(f"system:node:{_NODE}", key=21)),
        },
        "approveCertificateRequest": {"reason": "as planned"},
        "denyCertificateRequest": {"reason": "nobody we know"},
        "createEarlyRenewal": {"overSeconds": 3600},
        "createRepair": {"forSeconds": 3600},
        "createRepairSkip": {"stage": "etcd"},
        "createRepairToken": {"node": "node-0"},
        "renewInRepair": {"message": examples.carried},
        "replaceInventoryNode": {"dnsNames": ["kept.example"], "ipAddresses": ["192.0.2.7"]},
    }
    if operation in bodies:
        return bodies[operation]
    return manifest(KEPT if operation.startswith("replace") else fresh)


def parameters(examples: Examples) -> tuple[dict[str, Any], dict[str, Any]]:
    """Dictionaries of schemathesis, and where their values are tried most of the time."""
    known = examples.known
    values: dict[str, list[str]] = {
        "path.cluster": ["prod", "lab"],
        "path.authority": ["cluster", "etcd", "front-proxy"],
        "path.serial": known.serials,
        "path.decision": known.decisions,
        "path.token": known.tokens,
        "path.namespace": ["kube-system", "default"],
        "path.name": known.objects,
        "path.certificate": known.certificate_ids,
        "path.renewal": [known.renewal],
        "path.repair": [known.closing],  # what is open in `prod` stays so
        "query.profile": ["kubelet-client", "kubelet-serving", "etcd-server", "scheduler"],
        "query.status": ["valid", "revoked", "expired"],
        "query.ip": ["192.0.2.1", "10.0.0.0/8", "2001:db8::/32"],
        "query.dns": ["node-1", "kubernetes.default.svc"],
        "query.serial": known.serials,
        "header.If-Match": ["*", '"1"', '"2"'],
        "body.csr": [pem(csr(key=number)) for number in range(4)],
        "body.profile": ["kubelet-client", "scheduler", "etcd-server"],
        "body.endpoint": ["api.example.org", "192.0.2.1", "2001:db8::1"],
        "body.serviceCidr": ["10.96.0.0/12", "fd00::/108"],
        "body.dnsDomain": ["cluster.local"],
        "body.spec.revocations[*].kind": ["SerialNumber", "Group", "DNS", "IP", "CommonName", "PublicKey"],
        "body.spec.revocations[*].dns": [".lab.example", "a.example"],
        "body.spec.revocations[*].ip": ["192.0.2.1", "198.51.100.0/24"],
    }
    dictionaries = {_name(place): {"values": listed} for place, listed in values.items()}
    bound = {place: {"dictionary": _name(place), "probability": 0.7} for place in values}
    return dictionaries, bound


def _name(place: str) -> str:
    return place.replace(".", "-").replace("[*]", "")
