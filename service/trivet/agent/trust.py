"""Refreshing the trust bundles, and the kubeconfigs that hold one: never to something worse than what is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509

from trivet.agent.files import FileFaultError
from trivet.agent.files.pairs import read_chain
from trivet.agent.inspection import is_issued_by
from trivet.agent.plan.model import KubeconfigStorage
from trivet.pki.profiles import AuthorityName
from trivet.pki.validity import validity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from trivet.agent.files import NodeFiles
    from trivet.agent.plan.model import CertificatePlan, Hook, PlannedBundle


class BadBundleError(ValueError):
    """A trust bundle would make the node worse; the message says how. The one in place stays."""


def checked_bundle(
    pem: bytes, present: bytes | None, held: Iterable[x509.Certificate], now: datetime
) -> bytes:
    """The bundle, if it may take the place of the one that is there.

    Args:
        pem: what the service gave.
        present: what is there; None for nothing.
        held: the certificates of that authority that the node holds.
        now: by the node's clock.

    Raises:
        BadBundleError: it is empty or cannot be read, holds what is no CA's, shares nothing with the one in place, or
            would not vouch for a certificate in force that this node holds.
    """
    try:
        authorities = read_chain(pem)
    except ValueError as error:
        raise BadBundleError(str(error)) from None
    if not all(_is_authority(authority) for authority in authorities):
        message = "it holds a certificate that is no CA's"
        raise BadBundleError(message)
    known = _read(present)
    if known and known.isdisjoint(authorities):
        message = (
            "it holds none of the CAs that this node trusts; is this the right cluster? ask trivet provision"
        )
        raise BadBundleError(message)
    for certificate in held:
        if validity_of(certificate).contains(now) and not is_issued_by(certificate, pem):
            message = (
                f"the CA is missing that signed the certificate {certificate.serial_number:x} of this node"
            )
            raise BadBundleError(message)
    return pem


def _read(pem: bytes | None) -> set[x509.Certificate]:
    try:
        return set(read_chain(pem or b""))
    except ValueError:
        return set()  # what cannot be read vouches for nobody, and is replaced


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What became of a file that holds a trust bundle.

    Attributes:
        name: as the plan calls it.
        fault: why it stayed as it was, in words; None where it was changed.
        hook: to run now.
    """

    name: str
    fault: str | None = None
    hook: Hook | None = field(default=None, repr=False)


def refresh(
    files: NodeFiles,
    plan: CertificatePlan,
    given: Callable[[AuthorityName], bytes | None],
    now: datetime,
) -> Iterator[Refreshed]:
    """Bring the node's trust bundles up to date; what is as it should be is passed over.

    Raises:
        ClientError: the service refused, or did not answer.
    """
    for planned in plan.trust_bundles:
        pem = given(planned.authority)
        if pem is not None:
            yield from _bundle(files, plan, planned, pem, now)
    bundle = plan.bundle_of(AuthorityName.CLUSTER)
    if bundle is not None:
        yield from _kubeconfigs(files, plan, bundle)


def _bundle(
    files: NodeFiles, plan: CertificatePlan, planned: PlannedBundle, pem: bytes, now: datetime
) -> Iterator[Refreshed]:
    try:
        present = files.read_bundle(planned)
        checked_bundle(pem, present, _held(files, plan, planned.authority), now)
        if present is not None and files.bundle_differences(planned) == [] and _read(present) == _read(pem):
            return
        with files.lock():
            if files.install_bundle(planned, pem):
                yield Refreshed(planned.name, None, planned.hook)
    except (BadBundleError, FileFaultError) as error:
        yield Refreshed(planned.name, str(error))


def _held(files: NodeFiles, plan: CertificatePlan, authority: AuthorityName) -> Iterator[x509.Certificate]:
    for planned in plan.certificates:
        if planned.authority is authority:
            try:
                pair = files.read(planned)
            except FileFaultError:
                continue
            if pair is not None:
                yield pair.certificate


def _kubeconfigs(files: NodeFiles, plan: CertificatePlan, bundle: PlannedBundle) -> Iterator[Refreshed]:
    """Kubeconfigs follow the bundle on the disk, which was judged already."""
    pem = _on_disk(files, bundle)
    if pem is None:
        return
    for certificate in plan.certificates:
        if isinstance(certificate.storage, KubeconfigStorage):
            change = partial(files.refresh_kubeconfig, certificate, pem)
            yield from _changed(files, certificate.name, certificate.hook, change)
    for kubeconfig in plan.kubeconfigs:
        change = partial(files.install_kubeconfig, kubeconfig, pem)
        yield from _changed(files, kubeconfig.name, kubeconfig.hook, change)


def _on_disk(files: NodeFiles, bundle: PlannedBundle) -> bytes | None:
    try:
        pem = files.read_bundle(bundle)
    except FileFaultError:
        return None
    return pem if _read(pem) else None


def _changed(
    files: NodeFiles, name: str, hook: Hook | None, change: Callable[[], bool]
) -> Iterator[Refreshed]:
    try:
        with files.lock():
            if change():
                yield Refreshed(name, None, hook)
    except FileFaultError as error:
        yield Refreshed(name, str(error))
