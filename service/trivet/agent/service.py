"""The service as the agent asks it: by the certificates that the node holds, never by a token."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from cryptography import x509

from trivet.agent.asking import seconds_of
from trivet.agent.loop.answers import Answer, AnswerKind
from trivet.agent.memory_files import in_memory
from trivet.client import Client
from trivet.client.errors import LocalError, ProblemError, UnreachableError
from trivet.pki.possession import sign_renewal_message
from trivet.pki.renewal import certificate_id
from trivet.pki.validity import Validity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trivet.agent.files import KeyPair
    from trivet.agent.plan.model import PlannedCertificate
    from trivet.client import ClientError, Endpoint
    from trivet.client.published import Fetched
    from trivet.pki.profiles import AuthorityName

_BY_SLUG: Final = {
    "expired": AnswerKind.EXPIRED,
    "stageWaits": AnswerKind.STAGE_WAITS,
    "revoked": AnswerKind.REVOKED,
    "rateLimited": AnswerKind.BUSY,
    "unavailable": AnswerKind.BUSY,
}
_SERVERS_FAULT: Final = 500
_EDGES: Final[tuple[Literal["start"], Literal["end"]]] = ("start", "end")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A window in which to renew, and the seconds after which to ask again, where the service says so."""

    window: Validity
    told: float | None


@dataclass(frozen=True, slots=True)
class Service:
    """Asks Trivet for this node.

    Attributes:
        endpoint: where it is, and whom it is known by; whom it knows is added with each question.
        cluster: the cluster's name.
        now: the wall clock, which a signed message states.
        by_message: whether to renew by a signed message: a proxy ends TLS, so that no certificate can be shown.
    """

    endpoint: Endpoint
    cluster: str
    now: Callable[[], datetime]
    by_message: bool = False

    @contextmanager
    def _client(self, pair: KeyPair | None) -> Iterator[Client]:
        # Its patience is the loop's: nobody is to sleep in a request.
        endpoint = replace(self.endpoint, token=None, certificate_file=None, key_file=None, patience=0.0)
        if pair is None:
            with Client(endpoint) as trivet:
                yield trivet
            return
        with in_memory(pair) as path, Client(replace(endpoint, certificate_file=path)) as trivet:
            yield trivet

    def renew(self, planned: PlannedCertificate, pair: KeyPair, request: bytes) -> str:
        """A new certificate for a request with a new key, by proof of the current one; PEM.

        The same request again gives the same certificate: the first answer may have been lost.

        Raises:
            ClientError: the service refused, or did not answer.
        """
        if not self.by_message:
            with self._client(pair) as trivet:
                issued = trivet.certificates.renew(
                    self.cluster,
                    request,
                    expiration_seconds=seconds_of(planned),
                    idempotency_key=hashlib.sha256(request).hexdigest(),
                )
        else:
            message = sign_renewal_message(
                pair.key, pair.certificate, request, self.cluster, self.now(), planned.validity
            )
            with self._client(None) as trivet:
                issued = trivet.certificates.renew_by_message(self.cluster, message)
        return str(issued["certificate"])

    def suggestion(self, certificate: x509.Certificate) -> Suggestion | None:
        """When to renew; None for a certificate that cannot be asked about. Anybody may ask this (RFC 9773).

        Raises:
            ClientError: the service refused, or did not answer.
        """
        identifier = _identifier(certificate)
        if identifier is None:
            return None
        try:
            with self._client(None) as trivet:
                found, told = trivet.upkeep.renewal_information(identifier)
            edges = (found["suggestedWindow"][edge] for edge in _EDGES)
            start, end = map(datetime.fromisoformat, edges)
        except (ValueError, KeyError, TypeError) as error:
            raise _not_trivet() from error
        if start.tzinfo is None or end.tzinfo is None or end < start:
            raise _not_trivet()
        return Suggestion(Validity(start, end), told)

    def bundle(self, authority: AuthorityName, pair: KeyPair) -> bytes | None:
        """The trust bundle of an authority, PEM; None where no certificate can be shown to ask for it.

        Raises:
            ClientError: the service refused, or did not answer.
        """
        if self.by_message:
            return None
        with self._client(pair) as trivet:
            return trivet.clusters.bundle(self.cluster, authority)

    def revocation_list(
        self, authority: AuthorityName, key_identifier: str, tag: str | None
    ) -> Fetched | None:
        """The complete CRL (DER) of an authority's key, for anybody; None where `tag` is its version still.

        Raises:
            ClientError: the service refused, or did not answer.
        """
        with self._client(None) as trivet:
            return trivet.published.revocation_list(self.cluster, authority, key_identifier, tag)


def _not_trivet() -> UnreachableError:
    return UnreachableError("what answers does not say when to renew as Trivet does; is the url right?")


def _identifier(certificate: x509.Certificate) -> str | None:
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except (x509.ExtensionNotFound, ValueError):
        return None
    return certificate_id(found.key_identifier, certificate.serial_number) if found.key_identifier else None


def answer_of(error: ClientError) -> Answer:
    """What a refusal or a silence means to the loop."""
    match error:
        case ProblemError():
            busy = AnswerKind.BUSY if error.status >= _SERVERS_FAULT else AnswerKind.REFUSED
            title = f"{error.title}: " if error.title else ""
            return Answer(_BY_SLUG.get(error.slug, busy), f"{title}{error.detail}", error.retry_after)
        case UnreachableError():
            return Answer(AnswerKind.UNREACHABLE, str(error))
        case LocalError():
            return Answer(AnswerKind.FILES, str(error))
        case _:
            return Answer(AnswerKind.REFUSED, str(error))
