"""One renewal: a new key, a question, a close look at the answer, and the new pair in place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from trivet.agent.accepting import NotAsAskedError, accepted
from trivet.agent.files import FileFaultError
from trivet.agent.files.pairs import read_chain
from trivet.agent.inspection import bundles_on_disk, is_issued_by
from trivet.agent.loop import Answer, AnswerKind, Held
from trivet.agent.service import answer_of
from trivet.client.errors import ClientError
from trivet.client.keys import build_request, new_key
from trivet.pki.serials import serial_hex
from trivet.pki.validity import validity_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cryptography import x509

    from trivet.agent.files import KeyPair, NodeFiles
    from trivet.agent.markers import Markers
    from trivet.agent.plan.model import CertificatePlan, PlannedCertificate
    from trivet.agent.service import Service
    from trivet.client.keys import PrivateKey


_UNHEARD: Final = frozenset({AnswerKind.UNREACHABLE, AnswerKind.BUSY})


def held_of(certificate: x509.Certificate) -> Held:
    """What the loop knows of a certificate."""
    return Held(serial_hex(certificate.serial_number), validity_of(certificate))


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose answer may be lost, for the certificate that it renews.

    An expired certificate renews once in a repair. Whoever asks anew after a lost answer must ask for the same key.
    """

    former: x509.Certificate
    key: PrivateKey = field(repr=False)
    request: bytes


@dataclass(frozen=True, slots=True)
class Renewing:
    """What a renewal needs.

    Attributes:
        files: of the node.
        plan: of the node.
        service: whom to ask.
        markers: which hooks are to run.
        now: the wall clock.
        refresh_trust: asks for the trust bundles, before an answer is refused for want of a new one.
        unanswered: by the plan's names, what was asked for without an answer that came into place.
    """

    files: NodeFiles
    plan: CertificatePlan
    service: Service
    markers: Markers
    now: Callable[[], datetime]
    refresh_trust: Callable[[], None]
    unanswered: dict[str, Asked]

    def renew(self, planned: PlannedCertificate) -> tuple[Answer, Held | None]:
        """Renew one certificate. Whatever comes of it, a pair that works is in place.

        Returns:
            what came of it, and the new certificate if there is one.
        """
        try:
            return Answer(AnswerKind.RENEWED), self._renewed(planned)
        except ClientError as error:
            answer = answer_of(error)
            if answer.kind not in _UNHEARD:
                self.unanswered.pop(planned.name, None)
            return answer, None
        except NotAsAskedError as error:
            asked = self.unanswered.get(planned.name)
            if asked is not None and asked.former.not_valid_after_utc > self.now():
                del self.unanswered[
                    planned.name
                ]  # while it is in force it may renew anew, by another request
            return Answer(AnswerKind.NOT_AS_ASKED, str(error)), None
        except FileFaultError as fault:
            return Answer(AnswerKind.FILES, str(fault)), None

    def _renewed(self, planned: PlannedCertificate) -> Held:
        with self.files.lock():
            former = self.files.read(planned)
            if former is None:
                message = "there is nothing to renew; run trivet provision"
                raise NotAsAskedError(message)
            # Space and permission first: what was issued must not be lost for want of them.
            self.files.rehearse(planned)
            asked = self._asked(planned, former.certificate)
            pem = self.service.renew(planned, former, asked.request)
        pair = accepted(pem, asked.key, former, self._bundle_for(planned, pem), self.now())
        with self.files.lock():
            self._install(planned, former, pair)
        self.unanswered.pop(planned.name, None)
        return held_of(pair.certificate)

    def _asked(self, planned: PlannedCertificate, former: x509.Certificate) -> Asked:
        """A request with a new key; or the last one, where nobody knows what became of it."""
        asked = self.unanswered.get(planned.name)
        if asked is None or asked.former != former:
            key = new_key(planned.algorithm.key_algorithm)
            asked = self.unanswered[planned.name] = Asked(former, key, build_request(key))
        return asked

    def _install(self, planned: PlannedCertificate, former: KeyPair, pair: KeyPair) -> None:
        present = self.files.read(planned)
        if present is None or present.certificate != former.certificate:
            message = "somebody else has replaced the certificate meanwhile; theirs stays"
            raise NotAsAskedError(message)
        if planned.hook is not None:
            self.markers.put(planned.name, serial_hex(pair.certificate.serial_number))
        self.files.install(planned, pair)

    def _bundle_for(self, planned: PlannedCertificate, pem: str) -> bytes | None:
        """The trust bundle that the new certificate must be vouched for by."""
        bundle = bundles_on_disk(self.files, self.plan).get(planned.authority)
        if bundle is not None and not _vouches(bundle, pem):
            # The authority may have a new generation, which the bundle on the disk lacks yet.
            self.refresh_trust()
            bundle = bundles_on_disk(self.files, self.plan).get(planned.authority)
        return bundle


def _vouches(bundle: bytes, pem: str) -> bool:
    try:
        return is_issued_by(read_chain(pem.encode())[0], bundle)
    except ValueError:
        return True  # no certificate at all: `accepted` says so
