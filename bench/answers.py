"""Check what was answered: an answer that is not the wanted certificate counts for nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Sequence

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class WrongAnswerError(Exception):
    """A certificate that was answered is not what was asked for."""


class Answer(NamedTuple):
    """The whole answer to the request of that number."""

    number: int
    text: bytes


def check_answers(answers: Sequence[Answer], signing_requests: Sequence[str], issuer_pem: str | None) -> int:
    """Verify each answer: for the CSR's key, with its names, signed by the issuer; every serial once.

    Returns:
        how many were verified; 0 where there is nothing to verify them by.

    Raises:
        WrongAnswerError: one of them is something else.
    """
    if not signing_requests:
        return 0
    issuer = x509.load_pem_x509_certificate(issuer_pem.encode()) if issuer_pem else None
    serials = {_check(answer, signing_requests[answer.number], issuer) for answer in answers}
    if len(serials) != len(answers):
        raise WrongAnswerError("a serial number was given twice")
    return len(answers)


def _check(answer: Answer, request_pem: str, issuer: x509.Certificate | None) -> int:
    # A JSON answer holds the PEM text with its line ends escaped.
    found = _PEM.search(answer.text.replace(b"\\n", b"\n"))
    if found is None:
        message = f"no certificate in {answer.text[:300]!r}"
        raise WrongAnswerError(message)
    certificate = x509.load_pem_x509_certificate(found.group())
    request = x509.load_pem_x509_csr(request_pem.encode())
    if certificate.public_key() != request.public_key():
        raise WrongAnswerError("the certificate is for another key than its request's")
    if not _host_names(request) <= _host_names(certificate):
        raise WrongAnswerError("the certificate lacks names of its request")
    if issuer is not None:
        certificate.verify_directly_issued_by(issuer)
    return certificate.serial_number


def _host_names(signed: x509.Certificate | x509.CertificateSigningRequest) -> set[str]:
    try:
        return set(map(str, signed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value))
    except x509.ExtensionNotFound:  # a renewal's request names nothing: the names are the certificate's
        return set()
