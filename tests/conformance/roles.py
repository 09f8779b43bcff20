"""One run of schemathesis over the whole document as one kind of requester, and what came of it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import schemathesis
from cryptography import x509
from hypothesis import strategies as st
from schemathesis.engine import events, from_schema
from tests.conformance.document import Examples, parameters, with_examples
from tests.conformance.live import HELD_KEY, Known, Live, held_certificate, pem, token
from tests.support.signing_requests import csr, pooled_key

from trivet.authority.access import PERMISSIONS, Permission, Role
from trivet.pki.possession import sign_renewal_message
from trivet.web.rest.operation import PUBLIC

SEED: Final = int(os.environ.get("TRIVET_CONFORMANCE_SEED", "1"))
MORE: Final = int(os.environ.get("TRIVET_CONFORMANCE_TIMES", "1"))
"""How many times the usual number of examples; 1 keeps all roles together within three minutes."""

ROLES: Final = (
    "admin", "issuer", "approver", "auditor", "admin@prod", "issuer@prod", "approver@prod", "auditor@prod",
    "signer@prod", "holder", "nobody",
)  # fmt: skip
# Of those that may do little, the many requests of the coverage phase are all refused alike.
_SYSTEMATIC: Final = {"admin", "holder"}

_CHECKS: Final = {
    # A name that does not exist, a CSR that is not one: right by the document's schema, and rightly refused.
    "positive_data_acceptance": {"enabled": False},
    # As by default, and 413: the longest of what is wrong is too long to be read.
    "negative_data_rejection": {
        "expected-statuses": [400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422, 428, 429]
    },
}


@dataclass
class Outcome:
    """What one role's run showed: how often each operation answered what, and what did not conform."""

    role: str
    answers: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    findings: dict[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def succeeded(self) -> set[str]:
        """The operations that gave what was asked for at least once."""
        return {name for name, answers in self.answers.items() if any(200 <= code < 300 for code in answers)}

    @property
    def requests(self) -> int:
        return sum(answers.total() for answers in self.answers.values())


def run(role: str, live: Live, known: Known, document: dict[str, Any], folder: Path) -> Outcome:
    """Ask everything as that role."""
    certificate, key = held_certificate(live, folder)
    held = x509.load_pem_x509_certificate(certificate.read_bytes())
    name, _, cluster = role.partition("@")
    own_id, secret = token(live, name, cluster or None) if name in set(Role) - {"holder"} else ("", "")
    signed, carried = (
        sign_renewal_message(pooled_key(HELD_KEY), held, csr(key=number), "prod", datetime.now(UTC))
        for number in (23, 25)
    )
    examples = Examples(known, role, signed, carried)
    settings: dict[str, Any] = {
        "headers": {"Authorization": f"Bearer {secret}"} if secret else {},
        "request-cert": str(certificate) if role == "holder" else None,
        "request-cert-key": str(key) if role == "holder" else None,
    }
    schema = _schema(live, document, examples, settings)
    _protect(schema, {own_id, *known.standing_tokens} - {""})
    outcome = Outcome(role)
    for event in from_schema(schema).execute():
        _note(outcome, event)
    assert outcome.requests > 100, "schemathesis did ask"
    return outcome


def _schema(live: Live, document: dict[str, Any], examples: Examples, settings: dict[str, Any]) -> Any:  # noqa: ANN401
    dictionaries, bound = parameters(examples)
    systematic = examples.role in _SYSTEMATIC
    # The certificate goes along whatever the headers say, so that nobody can be taken for nobody.
    checks = _CHECKS | ({"ignored_auth": {"enabled": False}} if examples.role in {"holder", "nobody"} else {})
    config = schemathesis.Config.from_dict(
        {
            "seed": SEED,
            "base-url": live.url,
            "tls-verify": str(live.ca_file),
            "workers": 1,
            "continue-on-failure": True,
            "checks": {"enabled": True, **checks},
            "phases": {
                "coverage": {"enabled": systematic},
                "stateful": {"enabled": examples.role == "admin"},
            },
            "generation": {
                "max-examples": (15 if systematic else 8) * MORE,
                "no-shrink": True,
                "with-security-parameters": examples.role != "holder",  # a token would be asked about first
            },
            "dictionaries": dictionaries,
            "parameters": bound,
            **{name: value for name, value in settings.items() if value},
        }
    )
    _register_bodies(examples.message)
    return schemathesis.openapi.from_dict(with_examples(document, examples), config=config)


def _register_bodies(message: str) -> None:
    """Bodies that the document can only call text: real ones mostly, and any bytes."""
    requests = [csr(key=number) for number in range(4)]
    real = st.sampled_from([*requests, *(pem(request).encode() for request in requests)])
    schemathesis.openapi.media_type("application/pkcs10", real | real | st.binary(max_size=200))
    told = st.just(message.encode())
    schemathesis.openapi.media_type("application/jwt", told | told | st.binary(max_size=200))


def _protect(schema: Any, tokens: set[str]) -> None:  # noqa: ANN401
    """Let nobody delete the tokens that the trial itself asks with, nor make RSA roots by the dozen."""

    @schema.hook  # type: ignore[untyped-decorator]
    def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:  # noqa: ANN401
        del context, response
        return not _is_by_design(failure, case)

    @schema.hook  # type: ignore[untyped-decorator]
    def filter_case(context: Any, case: Any) -> bool:  # noqa: ANN401
        del context
        is_slow = isinstance(case.body, dict) and case.body.get("algorithm") == "RSA-4096"
        is_own = (case.path_parameters or {}).get("token") in tokens
        return not (is_slow or is_own)


def _is_by_design(failure: Any, case: Any) -> bool:  # noqa: ANN401
    """Whether what a check objects to is meant so."""
    # A YAML scalar is text whatever it looks like, so 7 in the place of a string is the string.
    as_text = "negative_data_rejection" in failure.checks and case.media_type == "application/yaml"
    # `renew` stands where a serial number could: GET is answered there, with 404.
    overlap = "allow_header_conformance" in failure.checks and _id_of(case.operation) == "renewCertificate"
    return as_text or overlap


def _note(outcome: Outcome, event: object) -> None:
    match event:
        case events.ScenarioFinished(recorder=recorder):
            for case_id, interaction in recorder.interactions.items():
                case = recorder.cases[case_id].value
                if interaction.response is not None and case.method.lower() == case.operation.method.lower():
                    outcome.answers[_id_of(case.operation)][interaction.response.status_code] += 1
            for case_id, checks in recorder.checks.items():
                operation = _id_of(recorder.cases[case_id].value.operation)
                for check in checks:
                    if (info := check.failure_info) is not None:
                        shown = f"{info.failure.title}: {info.failure.message}\n{info.code_sample}"
                        outcome.findings.setdefault((operation, check.name, info.failure.message), shown)
        case events.NonFatalError(value=error) | events.FatalError(exception=error):
            outcome.findings["schemathesis", type(error).__name__] = str(error)


def _id_of(operation: Any) -> str:  # noqa: ANN401
    name: str = operation.definition.raw["operationId"]
    return name


def may(role: str, operation: dict[str, Any]) -> bool:
    """Whether the table of permissions lets a role do an operation at all."""
    if operation["operationId"] == "renewCertificate" or operation["x-trivet-permission"] == PUBLIC:
        return True  # a signed message is its own proof, whoever brings it
    if role == "nobody":
        return False
    allowed = PERMISSIONS[Role(role.partition("@")[0])]
    declared = [operation[name] for name in operation if name.startswith("x-trivet-permission")]
    return any(Permission(permission) in allowed for permission in declared)
