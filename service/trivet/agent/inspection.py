"""What is in place on a node, beside what its plan says: nothing is asked of the service, nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature

from trivet.agent.files import FileFaultError, FileReason
from trivet.agent.files.pairs import read_chain
from trivet.agent.plan.model import KubeconfigStorage
from trivet.pki.errors import Refusal
from trivet.pki.pem import UNREADABLE
from trivet.pki.plan import usages_of
from trivet.pki.profiles import AuthorityName
from trivet.pki.subjects import names_of
from trivet.pki.validity import validity_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from cryptography import x509

    from trivet.agent.files import KeyPair, NodeFiles
    from trivet.agent.plan.model import CertificatePlan, PlannedBundle, PlannedCertificate
    from trivet.pki.names import Names

Bundles = dict[AuthorityName, bytes]


class State(StrEnum):
    """How a planned thing stands. Only GOOD and ATTRIBUTES leave the certificate as it is."""

    GOOD = "good"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    INCOMPLETE = "incomplete"
    MISMATCH = "mismatch"
    NAMES = "namesDiffer"
    USAGES = "usagesDiffer"
    EXPIRED = "expired"
    NOT_YET_VALID = "notYetValid"
    UNTRUSTED = "untrusted"
    DIFFERS = "differs"
    ATTRIBUTES = "attributesDiffer"
    INACCESSIBLE = "inaccessible"


_OF_REASON: Final = {
    FileReason.UNREADABLE: State.UNREADABLE,
    FileReason.INCOMPLETE: State.INCOMPLETE,
    FileReason.MISMATCH: State.MISMATCH,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """How one planned thing stands.

    Attributes:
        name: as the plan calls it.
        path: the file that comes first, as on the node.
        state: the one word.
        reason: the same in words; "" for what is good.
        pair: the certificate and key, where they can be read.
        authority: whose it is.
        is_verified: whether a bundle was there to verify it against, and did.
        not_after: when it expires; of a bundle the CA certificate that is in force for longest.
    """

    name: str
    path: str
    state: State
    reason: str = ""
    pair: KeyPair | None = None
    authority: AuthorityName | None = None
    is_verified: bool = False
    not_after: datetime | None = None


def bundles_on_disk(files: NodeFiles, plan: CertificatePlan) -> Bundles:
    """The trust bundles that are in place; those that cannot be read count as absent."""
    found: Bundles = {}
    for planned in plan.trust_bundles:
        try:
            pem = files.read_bundle(planned)
        except FileFaultError:
            continue
        if pem is not None:
            found[planned.authority] = pem
    return found


def examine(
    files: NodeFiles,
    planned: PlannedCertificate,
    now: datetime,
    bundles: Mapping[AuthorityName, bytes],
    *,
    with_names: bool = True,
) -> Finding:
    """Look at one identity.

    Args:
        files: of the node.
        planned: what should be there.
        now: the time.
        bundles: the authorities' trust bundles, PEM; where one is missing the chain is not verified.
        with_names: whether the plan knows the names, and the API server that kubeconfigs lead to.
    """
    path = str(planned.files[0].path)
    try:
        pair = files.read(planned)
    except FileFaultError as fault:
        state = _OF_REASON.get(fault.reason, State.INACCESSIBLE)
        return Finding(planned.name, path, state, str(fault), None, planned.authority)
    if pair is None:
        words = f"there is nothing at {path}"
        return Finding(planned.name, path, State.MISSING, words, None, planned.authority)
    bundle = bundles.get(planned.authority)
    state, reason = next(_faults(files, planned, pair, now, bundle, with_names=with_names), (State.GOOD, ""))
    verified = bundle is not None and state in {State.GOOD, State.ATTRIBUTES}
    not_after = validity_of(pair.certificate).not_after
    return Finding(planned.name, path, state, reason, pair, planned.authority, verified, not_after)


def _faults(
    files: NodeFiles,
    planned: PlannedCertificate,
    pair: KeyPair,
    now: datetime,
    bundle: bytes | None,
    *,
    with_names: bool,
) -> Iterator[tuple[State, str]]:
    """What is wrong, the gravest first."""
    certificate = pair.certificate
    if bundle is not None and not is_issued_by(certificate, bundle):
        words = f"it was not signed by a CA that the bundle of {planned.authority} holds"
        yield State.UNTRUSTED, words
    differences = name_differences(planned.names, certificate) if with_names else ""
    if differences:
        yield State.NAMES, differences
    if not set(planned.profile.usages) <= set(usages_of(certificate)):
        yield State.USAGES, f"its extended key usages are not those of the profile {planned.profile.name}"
    validity = validity_of(certificate)
    if now < validity.not_before:
        yield State.NOT_YET_VALID, f"it is valid from {_shown(validity.not_before)}; is the clock right?"
    if not validity.contains(max(now, validity.not_before)):
        yield State.EXPIRED, f"it expired at {_shown(validity.not_after)}"
    yield from _kubeconfig_faults(files, planned, bundle, with_server=with_names)
    try:
        for words in files.differences(planned):
            yield State.ATTRIBUTES, words
    except FileFaultError as fault:
        # The plan names nobody of this machine; the pair is as good as it was.
        yield State.ATTRIBUTES, str(fault)


def _kubeconfig_faults(
    files: NodeFiles, planned: PlannedCertificate, bundle: bytes | None, *, with_server: bool
) -> Iterator[tuple[State, str]]:
    if not isinstance(planned.storage, KubeconfigStorage):
        return
    if with_server and files.server(planned) != planned.storage.server:
        words = f"it leads to {files.server(planned)}, not to {planned.storage.server}"
        yield State.ATTRIBUTES, words
    if bundle is not None and files.embedded_bundle(planned) != bundle:
        yield State.ATTRIBUTES, "it holds another trust bundle than the Cluster CA's"


def examine_bundle(files: NodeFiles, planned: PlannedBundle, now: datetime) -> Finding:
    """Look at one trust bundle: whether it is there, can be read, and holds a CA that is in force."""
    path = str(planned.file.path)
    try:
        pem = files.read_bundle(planned)
        if pem is None:
            return Finding(
                planned.name, path, State.MISSING, f"there is nothing at {path}", None, planned.authority
            )
        authorities = read_chain(pem)
    except FileFaultError as fault:
        return Finding(planned.name, path, State.INACCESSIBLE, str(fault), None, planned.authority)
    except ValueError as error:
        return Finding(planned.name, path, State.UNREADABLE, str(error), None, planned.authority)
    not_after = max(validity_of(authority).not_after for authority in authorities)
    state, reason = State.GOOD, ""
    if not any(validity_of(authority).contains(now) for authority in authorities):
        state, reason = State.EXPIRED, "none of its CA certificates is in force"
    return Finding(planned.name, path, state, reason, None, planned.authority, not_after=not_after)


def is_issued_by(certificate: x509.Certificate, bundle: bytes) -> bool:
    """Whether one of the bundle's CAs signed the certificate."""
    try:
        authorities = read_chain(bundle)
    except ValueError:
        return False
    return any(_signed(certificate, authority) for authority in authorities)


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def name_differences(wanted: Names, certificate: x509.Certificate) -> str:
    """How the names of a certificate differ from those wanted, in words; "" where they are the same."""
    try:
        found = names_of(certificate)
    except Refusal as error:
        return str(error)
    parts = []
    if found.common_name != wanted.common_name:
        parts.append(f"its CN is {found.common_name!r}, not {wanted.common_name!r}")
    pairs = (
        ("O", set(wanted.organizations), set(found.organizations)),
        ("DNS name", set(wanted.dns_names), set(found.dns_names)),
        ("address", set(wanted.ip_addresses), set(found.ip_addresses)),
    )
    for kind, should, has in pairs:
        lacking, superfluous = sorted(map(str, should - has)), sorted(map(str, has - should))
        parts += [f"lacks the {kind} {', '.join(lacking)}"] if lacking else []
        parts += [f"has the {kind} {', '.join(superfluous)}, which is not planned"] if superfluous else []
    return "; ".join(parts)


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
