"""One application while it is decided, and what of it can be worked out before the transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trivet.authority.issuance import application as applications
from trivet.authority.issuance.judge import identity_of, voucher_of
from trivet.pki.errors import Refusal, UnavailableError
from trivet.pki.judgement import compared_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from trivet.authority.issuance.application import Application
    from trivet.pki.judgement import Voucher
    from trivet.pki.names import Names
    from trivet.pki.profiles import AuthorityName
    from trivet.pki.revocation import Identity, Key
    from trivet.signing.file import Opened
    from trivet.store.authorities import Generation
    from trivet.store.certificates import StoredCertificate
    from trivet.store.clusters import Cluster
    from trivet.store.idempotency import Claim


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate that may leave, with the CA certificate that signed it (DER each, the latter `issuer`)."""

    stored: StoredCertificate
    issuer: bytes
    replayed: bool = False


Outcome = IssuedCertificate | Refusal


@dataclass(frozen=True, slots=True)
class Draft:
    """What a certificate for an application would say: nothing of it depends on what may change meanwhile.

    Attributes:
        names: of the certificate.
        node: that it is for.
        identity: what entries are compared with.
        keys: under which the entries are stored that could match.
        voucher: the certificate that vouches for the application, as entries are compared with it.
    """

    names: Names
    node: str | None
    identity: Identity
    keys: frozenset[Key]
    voucher: Voucher | None = None


@dataclass(slots=True)
class Case:
    """One application while it is decided.

    Attributes:
        draft: None where `flaw` says why there is none.
        generation: of the authority that signs; `opened` has its signer.
        holds_key: whether its Idempotency-Key was taken for it.
        earlier: what that key was taken for before.
        considered: the entries that were compared; None where none were looked up.
        within: the repair that it is part of, in words, for the decision record.
        replaces: id of the certificate whose place it takes, though it is not renewed from it (a one-time token's).
        spent: the refusal (used before, or the key is known), unless the same request was answered before.
        outcome: None until it is decided.
    """

    application: Application
    cluster: Cluster | None = None
    draft: Draft | None = None
    flaw: Refusal | None = None
    generation: Generation | None = None
    opened: Opened | None = None
    considered: list[dict[str, Any]] | None = None
    certificate_id: UUID | None = None
    decision_id: UUID | None = None
    holds_key: bool = False
    earlier: Claim | None = None
    within: str | None = None
    replaces: UUID | None = None
    spent: Refusal | None = None
    outcome: Outcome | None = None

    @property
    def cluster_id(self) -> UUID | None:
        """The cluster's id; None for Trivet's own authority, and where there is no such cluster."""
        return self.cluster.id if self.cluster else None

    @property
    def authority(self) -> tuple[UUID | None, AuthorityName] | None:
        """The authority that would sign; None where nobody could."""
        profile, wanted = self.application.profile, self.application.wish.cluster
        return (self.cluster_id, profile.authority) if profile and (self.cluster or wanted is None) else None

    def require_draft(self) -> Draft:
        """The draft.

        Raises:
            Refusal: why there is none.
        """
        if self.draft is None:
            raise self.flaw or _unready()
        return self.draft

    def require_generation(self) -> Generation:
        """The generation that signs.

        Raises:
            UnavailableError: nobody asked which it is.
        """
        if self.generation is None:
            raise _unready()
        return self.generation

    def require_opened(self) -> Opened:
        """Its signer.

        Raises:
            UnavailableError: nobody opened its key.
        """
        if self.opened is None:
            raise _unready()
        return self.opened


def _unready() -> UnavailableError:
    # A defect in the order of the steps, which must not let a certificate out.
    return UnavailableError("the request was not made ready")


def each(cases: Iterable[Case], step: Callable[[Case], None]) -> None:
    """Take a step of every case that is not decided yet; a refusal decides that one, and no other."""
    for case in cases:
        if case.outcome is None:
            try:
                step(case)
            except Refusal as refusal:
                case.outcome = refusal


def draft(case: Case) -> None:
    """Work out names and keys. A refusal is kept for its turn: permissions are asked about first."""
    try:
        profile, request = applications.require_request(case.application)
        names, node = applications.granted_names(
            case.application, profile, request, case.cluster.names if case.cluster else None
        )
    except Refusal as refusal:
        case.flaw = refusal
        return
    current = case.application.voucher
    identity = identity_of(names, request.spki_sha256, current)
    # A renewal has the names of the certificate that vouches for it, which were read of it just now.
    kept = names if case.application.current is not None else None
    voucher = voucher_of(current, kept) if current else None
    case.draft = Draft(names, node, identity, compared_keys(identity, voucher), voucher)
