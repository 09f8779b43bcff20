"""Signs what a cluster approved: asks Trivet for the certificate, and writes it into the request's status, once."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from trivet.agent.events import rfc3339
from trivet.client.errors import ClientError
from trivet.pki.pem import UNREADABLE
from trivet.pki.serials import serial_hex
from trivet.signer.asking import Refused, weigh
from trivet.signer.errors import CONFLICT, NOT_FOUND, ClusterError, StatusError
from trivet.signer.judging import FAILED, Unfit, judge
from trivet.signer.resources import CERTIFICATE_SIGNING_REQUESTS
from trivet.signer.work_queue import Later

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.types import (
        CertificateIssuerPublicKeyTypes,
        CertificatePublicKeyTypes,
    )

    from trivet.pki.profiles import Profile
    from trivet.signer.asking import Asking
    from trivet.signer.cluster import Cluster
    from trivet.signer.informer import Informer
    from trivet.signer.judging import Wish
    from trivet.signer.record import Record
    from trivet.signer.resources import Object

REASON: Final = "SignerValidationFailure"
"""As kube-controller-manager's own signers have it."""

_LONGEST_MESSAGE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Signing:
    """Works on CertificateSigningRequests, one at a time.

    Attributes:
        cluster: whose requests they are.
        asking: Trivet.
        informer: holds the requests that are open.
        profiles: by the signerNames that are ours.
        record: of what was done.
        now: the clock, for conditions.
    """

    cluster: Cluster
    asking: Asking
    informer: Informer
    profiles: Mapping[str, Profile]
    record: Record
    now: Callable[[], datetime]

    def attend(self, key: str) -> Later | None:
        """Do what there is to do for a request; when to come again, if it could not be done."""
        found = self.informer.get(key)
        verdict = None if found is None else judge(found, self.profiles)
        if found is None or verdict is None:
            return None
        if isinstance(verdict, Unfit):
            return self._fail(found, verdict.message)
        try:
            certificate = self.asking.certificate(verdict)
        except ClientError as error:
            weighed = weigh(error)
            return self._fail(found, weighed.message) if isinstance(weighed, Refused) else weighed
        self.record.heard("answered", whom="trivet")
        serial = _serial_of(certificate, verdict)
        if serial is None:
            # What stands in a status can never be taken back.
            return Later(
                "notAsAsked", "Trivet's answer is no certificate for this request's key; is its url right?"
            )
        status = {**_status(found), "certificate": base64.b64encode(certificate.encode()).decode()}
        later = self._write(found, status)
        if later is None:
            self.record.issued(found["spec"]["signerName"], key, serial, verdict.uid)
        return later

    def _fail(self, found: Object, message: str) -> Later | None:
        now = rfc3339(self.now())
        condition = {
            "type": FAILED,
            "status": "True",
            "reason": REASON,
            "message": message[:_LONGEST_MESSAGE],
            "lastUpdateTime": now,
            "lastTransitionTime": now,
        }
        status = _status(found)
        later = self._write(found, {**status, "conditions": [*status.get("conditions", []), condition]})
        if later is None:
            metadata = found["metadata"]
            self.record.failed(found["spec"]["signerName"], metadata["name"], message, metadata["uid"])
        return later

    def _write(self, found: Object, status: dict[str, Any]) -> Later | None:
        """Write a status at the version that was judged; what somebody else did meanwhile is judged first."""
        name = found["metadata"]["name"]
        try:
            self.informer.put(
                self.cluster.write_status(CERTIFICATE_SIGNING_REQUESTS, {**found, "status": status})
            )
        except StatusError as error:
            if error.code == CONFLICT:
                return self._read_again(name)
            if error.code == NOT_FOUND:
                self.informer.drop(name)
                return Later("gone", f"{name} was deleted before its status was written")
            return Later(
                "statusRefused", f"{name}: the status could not be written: {error}", error.retry_after
            )
        except ClusterError as error:
            return Later("clusterUnreachable", str(error), for_all=True)
        self.record.heard("answered", whom="cluster")
        return None

    def _read_again(self, name: str) -> Later:
        try:
            self.informer.put(self.cluster.get(CERTIFICATE_SIGNING_REQUESTS, name))
        except StatusError as error:
            if error.code != NOT_FOUND:
                return Later("statusRefused", str(error), error.retry_after)
            self.informer.drop(name)
        except ClusterError as error:
            return Later("clusterUnreachable", str(error), for_all=True)
        return Later("conflict", f"{name} was changed meanwhile; it is judged again")


def _status(found: Object) -> dict[str, Any]:
    status = found.get("status")
    return status if isinstance(status, dict) else {}


def _serial_of(certificate: str, wish: Wish) -> str | None:
    """The serial number of the answer; None where that is no certificate for the request's key."""
    try:
        made = x509.load_pem_x509_certificate(certificate.encode())
        asked = x509.load_pem_x509_csr(wish.request)
        same = _octets(made.public_key()) == _octets(asked.public_key())
    except UNREADABLE:
        return None
    return serial_hex(made.serial_number) if same else None


def _octets(key: CertificatePublicKeyTypes | CertificateIssuerPublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
