from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.support.compatibility import Break, breaks

ROOT = Path(__file__).resolve().parents[2]
RELEASED = ROOT / "openapi/released.json"
CHANGELOG = ROOT / "CHANGELOG.md"
JSON = dict[str, Any]


@cache
def _released() -> str:
    return RELEASED.read_text()


def released() -> JSON:
    """The document that clients were made of, to be changed at will."""
    document: JSON = json.loads(_released())
    return document


def announced(changelog: str) -> set[str]:
    """What the newest version's section "Breaking" names in code spans."""
    newest = changelog.partition("\n## ")[2].partition("\n## ")[0]
    section = newest.partition("\n### Breaking\n")[2].partition("\n### ")[0]
    return set(re.findall(r"`([^`]+)`", section))


def unannounced(found: list[Break], changelog: str) -> list[str]:
    """What breaks and is not named."""
    known = announced(changelog)
    return [str(one) for one in found if one.subject not in known]


def test_what_breaks_clients_is_announced_in_the_changelog() -> None:
    current = json.loads((ROOT / "openapi/openapi.json").read_text())
    assert unannounced(breaks(released(), current), CHANGELOG.read_text()) == [], (
        "name these under '### Breaking' of the newest version in CHANGELOG.md; docs/adr/0028 says how"
    )


def test_an_announcement_names_what_breaks() -> None:
    found = [Break("listCertificates", "the parameter cn is gone")]
    silent = "# Changelog\n\n## 0.2.0 - Unreleased\n\n### Added\n\n- `listCertificates`\n"
    assert unannounced(found, silent) == [str(found[0])]
    old = silent + "\n## 0.1.0\n\n### Breaking\n\n- `listCertificates` has no `cn`.\n"
    assert unannounced(found, old) == [str(found[0])]
    spoken = silent + "\n### Breaking\n\n- `listCertificates` has no `cn`.\n"
    assert unannounced(found, spoken) == []


def test_a_document_does_not_break_itself() -> None:
    assert breaks(released(), released()) == []


def _schema(document: JSON, name: str) -> JSON:
    found: JSON = document["components"]["schemas"][name]
    return found


def _operation(document: JSON, operation_id: str) -> JSON:
    for item in document["paths"].values():
        for operation in item.values():
            if operation["operationId"] == operation_id:
                found: JSON = operation
                return found
    raise KeyError(operation_id)


def _parameter(document: JSON, operation_id: str, name: str) -> JSON:
    found: JSON = next(one for one in _operation(document, operation_id)["parameters"] if one["name"] == name)
    return found


def _remove_operation(document: JSON) -> None:
    del document["paths"]["/api/v1/clusters/{cluster}/outage-budget"]


def _remove_parameter(document: JSON) -> None:
    operation = _operation(document, "listCertificates")
    operation["parameters"] = [one for one in operation["parameters"] if one["name"] != "cn"]


def _remove_schema(document: JSON) -> None:
    text = json.dumps(document).replace('/schemas/NodeBudget"', '/schemas/BudgetOfNode"')
    document.update(json.loads(text))
    schemas = document["components"]["schemas"]
    schemas["BudgetOfNode"] = schemas.pop("NodeBudget")


def _answer_may_be_null(document: JSON) -> None:
    _schema(document, "Certificate")["properties"]["subject"] = {
        "anyOf": [{"type": "string"}, {"type": "null"}]
    }


BREAKING: list[tuple[str, Callable[[JSON], object], str]] = [
    ("getOutageBudget", _remove_operation, "is gone"),
    (
        "issueCertificate",
        lambda d: _operation(d, "issueCertificate").update(operationId="sign"),
        "is called sign",
    ),
    ("listCertificates", _remove_parameter, "parameter cn is gone"),
    (
        "listCertificates",
        lambda d: _parameter(d, "listCertificates", "cn").update(required=True),
        "parameter cn is required",
    ),
    (
        "listCertificates",
        lambda d: _parameter(d, "listCertificates", "limit")["schema"].update(maximum=100),
        "maximum of 100",
    ),
    (
        "listCertificates",
        lambda d: _parameter(d, "listCertificates", "cn")["schema"].update(maxLength=5),
        "maxLength of 5",
    ),
    (
        "getOutageBudget",
        lambda d: _operation(d, "getOutageBudget").update(security=[{"accessToken": []}]),
        "clientCertificate may no longer ask",
    ),
    (
        "issueCertificate",
        lambda d: _operation(d, "issueCertificate")["requestBody"]["content"].pop("application/pkcs10"),
        "no application/pkcs10",
    ),
    (
        "issueCertificate",
        lambda d: _operation(d, "issueCertificate")["responses"]["201"]["content"].pop(
            "application/pkix-cert"
        ),
        "no longer answered as application/pkix-cert",
    ),
    (
        "createRenewRevocation",
        lambda d: _operation(d, "createRenewRevocation")["responses"].pop("200"),
        "no longer answers 200",
    ),
    (
        "createRenewRevocation",
        lambda d: _operation(d, "createRenewRevocation")["responses"]["201"]["headers"].pop("ETag"),
        "header ETag",
    ),
    (
        "CertificateCreate",
        lambda d: _schema(d, "CertificateCreate")["properties"].pop("node"),
        "node is gone",
    ),
    (
        "CertificateCreate",
        lambda d: _schema(d, "CertificateCreate")["required"].append("node"),
        "node is required",
    ),
    ("ProfileName", lambda d: _schema(d, "ProfileName")["enum"].remove("admin"), "may not be 'admin'"),
    (
        "CertificateCreate",
        lambda d: _schema(d, "CertificateCreate")["properties"].update(csr={"type": "integer"}),
        "may not be string",
    ),
    ("Certificate", lambda d: _schema(d, "Certificate")["properties"].pop("subject"), "subject is gone"),
    ("Certificate", lambda d: _schema(d, "Certificate")["required"].remove("subject"), "may be absent"),
    ("Certificate", _answer_may_be_null, "may be null"),
    ("CertificateStatus", lambda d: _schema(d, "CertificateStatus")["enum"].append("held"), "may be 'held'"),
    ("Problem", lambda d: _schema(d, "Problem")["properties"].pop("decision"), "decision is gone"),
    ("NodeBudget", _remove_schema, "is gone"),
]


@pytest.mark.parametrize(("subject", "change", "detail"), BREAKING, ids=[detail for *_, detail in BREAKING])
def test_a_change_that_breaks_clients_is_found(
    subject: str, change: Callable[[JSON], object], detail: str
) -> None:
    changed = copy.deepcopy(released())
    change(changed)
    found = breaks(released(), changed)
    assert [one for one in found if one.subject == subject and detail in one.detail], found


def _new_operation(document: JSON) -> None:
    operation = copy.deepcopy(_operation(document, "getOutageBudget")) | {"operationId": "getWeather"}
    document["paths"]["/api/v1/weather"] = {"get": operation}


COMPATIBLE: dict[str, Callable[[JSON], object]] = {
    "an operation more": _new_operation,
    "a parameter more": lambda d: _operation(d, "listCertificates")["parameters"].append(
        {"in": "query", "name": "colour", "required": False, "schema": {"type": "string"}}
    ),
    "a member that may be sent": lambda d: _schema(d, "CertificateCreate")["properties"].update(
        colour={"type": "string"}
    ),
    "a member that is answered": lambda d: _schema(d, "Certificate")["properties"].update(
        colour={"type": "string"}
    ),
    "a profile more": lambda d: _schema(d, "ProfileName")["enum"].append("weather"),
    "a kind of problem more": lambda d: _schema(d, "ProblemType")["enum"].append("urn:trivet:problem:rain"),
    "a wider bound": lambda d: _parameter(d, "listCertificates", "limit")["schema"].update(maximum=5000),
    "other words": lambda d: _schema(d, "Certificate").update(description="other"),
}


@pytest.mark.parametrize("name", COMPATIBLE)
def test_a_change_that_breaks_nobody_passes(name: str) -> None:
    changed = copy.deepcopy(released())
    COMPATIBLE[name](changed)
    assert breaks(released(), changed) == []
