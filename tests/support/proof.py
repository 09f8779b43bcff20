"""Exports of the proof, and what verifying them finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from trivet.authority.access import Requester
from trivet.authority.context import Authority
from trivet.authority.install import OPERATOR, service_certificate
from trivet.authority.proof.export import export
from trivet.pki.keys import PublicKey
from trivet.pki.pem import from_der
from trivet.pki.proof.verify import Report, Verification


def exported(
    authority: Authority,
    requester: Requester = OPERATOR,
    *,
    cluster: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[bytes]:
    """Give the lines of an export, without their line feeds."""
    pages = export(authority, requester, cluster=cluster, since=since, until=until)
    return b"".join(pages).split(b"\n")[:-1]


def verified(authority: Authority, lines: Iterable[bytes], known: Mapping[int, str] | None = None) -> Report:
    """Verify lines with the certificate of the service authority."""
    return verified_by([from_der(service_certificate(authority)).public_key()], lines, known)


def verified_by(
    keys: Iterable[PublicKey], lines: Iterable[bytes], known: Mapping[int, str] | None = None
) -> Report:
    """Verify lines with keys."""
    verification = Verification(keys, known)
    for line in lines:
        verification.feed(line)
    return verification.finish()


def complaints(report: Report) -> list[str]:
    """What was found, in words."""
    return [f"{fault.line}: {fault.place}: {fault.detail}" for fault in report.faults]
