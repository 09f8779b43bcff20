"""An application for a certificate, on its way through the check."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trivet.authority.once import fingerprint
from trivet.pki.csr import CertificateRequest, is_self_signed, parse_certificate_request
from trivet.pki.errors import AuthenticationError, BadCSRError, Refusal, RejectedIdentifierError
from trivet.pki.kubernetes import ALL_PROFILES, RESPONDER_PROFILES, SERVICE_PROFILE, profile_named
from trivet.pki.names import is_plain
from trivet.pki.pem import from_der
from trivet.pki.subjects import names_for, names_of, node_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from uuid import UUID

    from cryptography import x509

    from trivet.authority.access import Requester
    from trivet.authority.holders import Presented
    from trivet.pki.csr import Verifier
    from trivet.pki.names import Names
    from trivet.pki.profiles import Profile
    from trivet.pki.subjects import ClusterNames
    from trivet.store.authorities import Generation
    from trivet.store.certificates import StoredCertificate
    from trivet.store.issuing import Standing


_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Issuance:
    """A wish for a new certificate.

    Attributes:
        cluster: name of the cluster; None for Trivet's own authority.
        profile: name of the profile.
        request: the CSR as it was received, PEM or DER.
        node: name of the node, where the profile holds one and the CSR does not tell.
        lifetime: the longest wanted; the profile may grant less.
        idempotency_key: one certificate for it, however often the wish is sent.
        approved: id of the certificate request that was approved; the transaction that issues looks whether it was.
        responder_of: the generation that an OCSP responder shall speak for, which signs its certificate whether it is
            the active one or not; Trivet's own wish only, as no front end sets it.
    """

    cluster: str | None
    profile: str
    request: bytes
    node: str | None = None
    lifetime: timedelta | None = None
    idempotency_key: str | None = None
    approved: UUID | None = None
    responder_of: Generation | None = None


@dataclass(frozen=True, slots=True)
class Renewal:
    """A wish to renew a certificate, by one who proved to hold its key.

    Attributes:
        current: the certificate; its names and profile stay.
        request: a CSR with the (new) key; its names may be left out.
    """

    current: StoredCertificate
    cluster: str
    request: bytes
    lifetime: timedelta | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class PresentedRenewal:
    """A wish to renew the certificate that a connection was made with, before anybody looked whether it is Trivet's."""

    presented: Presented
    cluster: str
    request: bytes
    lifetime: timedelta | None = None
    idempotency_key: str | None = None

    def of(self, current: StoredCertificate) -> Renewal:
        """The wish, once the certificate was found."""
        return Renewal(current, self.cluster, self.request, self.lifetime, self.idempotency_key)


@dataclass(frozen=True, slots=True)
class Application:
    """An issuance or renewal whose request was read, outside of any transaction.

    `refusal` is what is wrong already; it is carried along, so that it leaves a decision record, too.
    """

    requester: Requester
    action: str
    wish: Issuance | Renewal
    profile_name: str
    request_sha256: str
    profile: Profile | None = None
    request: CertificateRequest | None = None
    refusal: Refusal | None = None

    @property
    def current(self) -> StoredCertificate | None:
        """The certificate that is renewed."""
        return self.wish.current if isinstance(self.wish, Renewal) else None

    @property
    def voucher(self) -> StoredCertificate | None:
        """The certificate that vouches for the wish: the one that is renewed, or that of the holder who asks."""
        return self.current or self.requester.certificate

    @property
    def vouching_ids(self) -> frozenset[UUID]:
        """The ids of all certificates that vouch for the wish; a renewal's and its requester's should be one."""
        return frozenset(held.id for held in (self.current, self.requester.certificate) if held)

    def as_of(self, stored: Mapping[UUID, Standing]) -> Application:
        """The same, with the certificates that vouch for it as they are stored now.

        Raises:
            AuthenticationError: one is no longer kept, so it vouches for nothing.
        """
        if not self.vouching_ids:
            return self
        if not self.vouching_ids <= stored.keys():
            message = "the certificate that vouches for this is no longer kept; ask an issuer for a new one"
            raise AuthenticationError(message)
        wish, requester = self.wish, self.requester
        if isinstance(wish, Renewal):
            wish = replace(wish, current=_updated(wish.current, stored))
        if requester.certificate is not None:
            requester = replace(requester, certificate=_updated(requester.certificate, stored))
        return replace(self, wish=wish, requester=requester)

    def fingerprint(self) -> str:
        """The SHA-256 of all that was asked, to tell a repetition from another wish under the same key."""
        wish = self.wish
        told = wish.node if isinstance(wish, Issuance) else wish.current.serial
        return fingerprint(
            self.action, wish.cluster, self.profile_name, wish.lifetime, self.request_sha256, told
        )


def _updated(held: StoredCertificate, stored: Mapping[UUID, Standing]) -> StoredCertificate:
    # Only what may have changed: what was signed stays as it was when its signature was verified.
    now = stored[held.id]
    return replace(
        held, superseded_at=now.superseded_at, revoked_at=now.revoked_at, revoked_by=now.revoked_by
    )


def prepare(
    requester: Requester, wish: Issuance | Renewal, verifier: Verifier = is_self_signed
) -> Application:
    """Read the request: parsing and proof of possession (by `verifier`) need no transaction."""
    action = "renew" if isinstance(wish, Renewal) else "issue"
    name = wish.current.profile if isinstance(wish, Renewal) else wish.profile
    digest = hashlib.sha256(wish.request).hexdigest()
    profile: Profile | None = None
    try:
        profile = _profile(wish)
        request = parse_certificate_request(wish.request, verifier)
    except Refusal as refusal:
        return Application(requester, action, wish, _shown(name), digest, profile, refusal=refusal)
    return Application(requester, action, wish, name, request.sha256, profile, request)


def _shown(name: str) -> str:
    # A decision record keeps what was asked for, also where that was no text that a database can hold.
    return name[:_SHOWN] if is_plain(name[:_SHOWN]) else ascii(name[:_SHOWN])


def _profile(wish: Issuance | Renewal) -> Profile:
    if isinstance(wish, Renewal):
        return ALL_PROFILES[wish.current.profile]
    if wish.responder_of is not None:
        return RESPONDER_PROFILES[wish.responder_of.name]
    return SERVICE_PROFILE if wish.cluster is None else profile_named(wish.profile)


def granted_names(
    application: Application, profile: Profile, request: CertificateRequest, cluster: ClusterNames | None
) -> tuple[Names, str | None]:
    """The names that the certificate gets, and the node that it is for.

    Raises:
        InvalidError, RejectedIdentifierError: as `pki.subjects.names_for`.
        RejectedIdentifierError: a renewal asks for other names than the current certificate has.
    """
    if application.current is not None:
        return _kept_names(from_der(application.current.der), request), application.current.node
    node = application.wish.node if isinstance(application.wish, Issuance) else None
    names = names_for(profile, request, node, cluster)
    # A node is only noted where the profile holds none, but it is stored and shown all the same.
    return names, node_of(profile, request, node) if profile.is_per_node or node is not None else None


def _kept_names(current: x509.Certificate, request: CertificateRequest) -> Names:
    names = names_of(current)
    for what, asked, kept in (
        ("CN", {request.common_name} - {""}, {names.common_name}),
        ("O", set(request.organizations), set(names.organizations)),
        ("dNSNames", set(request.dns_names), set(names.dns_names)),
        ("iPAddresses", set(request.ip_addresses), set(names.ip_addresses)),
    ):
        if asked and asked != kept:
            message = f"a renewal keeps the names; leave the {what} out of the request, or repeat them all"
            raise RejectedIdentifierError(message)
    return names


def require_request(application: Application) -> tuple[Profile, CertificateRequest]:
    """The parsed parts of an application.

    Raises:
        Refusal: what was wrong with it already.
    """
    if application.refusal is not None:
        raise application.refusal
    if application.profile is None or application.request is None:
        message = "there is no certificate request"
        raise BadCSRError(message)
    return application.profile, application.request
