"""CRLs for programs that read them from a file: fetched, checked, and never replaced by something worse.

etcd refuses everybody where the file is missing, nginx where the CRL has expired. So a CRL that is in place stays when
the service is away or gives something that does not hold, and what is about to expire is told in time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding as Serialized

from trivet.agent.files import FileFaultError
from trivet.agent.files.pairs import read_chain
from trivet.agent.plan.model import Encoding
from trivet.client.errors import ClientError
from trivet.pki.pem import UNREADABLE
from trivet.pki.plan import stated_key_identifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from trivet.agent.files import NodeFiles
    from trivet.agent.plan.model import CertificatePlan, PlannedList
    from trivet.client.published import Fetched
    from trivet.pki.profiles import AuthorityName

    Fetch = Callable[[AuthorityName, str, str | None], Fetched | None]

_SKEW: Final = timedelta(minutes=5)
_WORRY: Final = 4  # a CRL with less than a fourth of its period left should have been replaced long ago
_BEGIN: Final = b"-----BEGIN X509 CRL-----"


class BadListError(ValueError):
    """A CRL would make the node worse; the message says how. The one in place stays."""


@dataclass(frozen=True, slots=True)
class ListStanding:
    """How the file of a planned CRL stands.

    Attributes:
        planned: which one.
        this_update: of the oldest CRL in it; None where there is none that can be read.
        next_update: when the first of them expires.
        changed: whether it was replaced just now.
        faults: what came in the way, in words.
    """

    planned: PlannedList
    this_update: datetime | None = None
    next_update: datetime | None = None
    changed: bool = False
    faults: tuple[str, ...] = ()

    def worry(self, now: datetime) -> str | None:
        """What is wrong with what is in place, in words; None where all is well."""
        if self.next_update is None or self.this_update is None:
            return "there is no CRL that can be read; etcd refuses everybody until there is, and nginx does not start"
        if self.next_update <= now:
            return f"its CRL has expired at {self.next_update:%Y-%m-%dT%H:%M:%SZ}; nginx refuses everybody"
        if self.next_update - now < (self.next_update - self.this_update) / _WORRY:
            return f"its CRL expires at {self.next_update:%Y-%m-%dT%H:%M:%SZ}, and no newer one has come"
        return None


def checked_list(
    der: bytes, authority: x509.Certificate, present: x509.CertificateRevocationList | None, now: datetime
) -> x509.CertificateRevocationList:
    """The CRL, if it may take the place of the one that is there (RFC 5280 section 6.3.3, for a complete CRL).

    Args:
        der: what the service gave.
        authority: the CA that must have signed it.
        present: the CRL of that CA that is in place; None for none.
        now: by the node's clock.

    Raises:
        BadListError: it cannot be read, another CA signed it, it is a part only, is not in force, or is older than the
            one in place.
    """
    try:
        found = x509.load_der_x509_crl(der)
        number, is_whole = _number(found), _is_whole(found)
    except (*UNREADABLE, x509.ExtensionNotFound) as error:
        message = f"what the service gave is no CRL that can be read: {error}"[:200]
        raise BadListError(message) from None
    if not _is_signed(found, authority):
        raise BadListError("it is not signed by the CA of the trust bundle")
    if not is_whole:
        raise BadListError("it holds a part of the revocations only")
    end = found.next_update_utc
    if end is None or end <= now or found.last_update_utc > now + _SKEW:
        period = f"{found.last_update_utc:%Y-%m-%dT%H:%M:%SZ} to {end and f'{end:%Y-%m-%dT%H:%M:%SZ}'}"
        message = f"it is in force from {period}; this node's clock shows {now:%Y-%m-%dT%H:%M:%SZ}"
        raise BadListError(message)
    if present is not None and number < _number(present):
        message = f"its number {number} is less than {_number(present)}, that of the one in place"
        raise BadListError(message)
    return found


def _number(found: x509.CertificateRevocationList) -> int:
    return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _is_whole(found: x509.CertificateRevocationList) -> bool:
    # An issuingDistributionPoint makes it one of several (RFC 5280 section 5.2.5); the complete one has none.
    parts = (x509.DeltaCRLIndicator, x509.IssuingDistributionPoint)
    return not any(isinstance(extension.value, parts) for extension in found.extensions)


@dataclass
class RevocationLists:
    """Keeps the CRLs of a plan; remembers which version of each it was given last."""

    files: NodeFiles
    plan: CertificatePlan
    fetch: Fetch
    _given: dict[tuple[str, str], _Given] = field(default_factory=dict)

    def refresh(self, planned: PlannedList, now: datetime) -> ListStanding:
        """Bring one file up to date, and say how it stands. Whatever is in the way, the former CRL stays."""
        faults: list[str] = []
        kept: list[x509.CertificateRevocationList] = []
        changed = False
        try:
            kept = _read(self.files.read_list(planned))
            kept = list(self._best(planned, kept, faults, now))
            if kept:
                with self.files.lock():
                    changed = self.files.install_list(planned, _written(kept, planned.encoding))
        except (FileFaultError, BadListError) as error:
            faults.append(str(error))
        return ListStanding(planned, *_period(kept), changed, tuple(faults))

    def _best(
        self,
        planned: PlannedList,
        present: list[x509.CertificateRevocationList],
        faults: list[str],
        now: datetime,
    ) -> Iterator[x509.CertificateRevocationList]:
        """For each CA the newer of what is in place and what the service gives."""
        for authority in self._authorities(planned):
            former = next((one for one in present if _is_signed(one, authority)), None)
            try:
                newer = self._newer(planned, authority, former, now)
            except (BadListError, ClientError) as error:
                faults.append(str(error))
                newer = None
            best = former if newer is None else newer  # not `or`: a CRL without entries is false
            if best is not None:
                yield best

    def _authorities(self, planned: PlannedList) -> list[x509.Certificate]:
        """The CAs whose CRLs the file holds, by the trust bundle on the disk."""
        bundle = self.plan.bundle_of(planned.authority)
        text = None if bundle is None else self.files.read_bundle(bundle)
        try:
            found = read_chain(text or b"")
        except ValueError as error:
            message = f"the trust bundle of the authority {planned.authority} cannot be read: {error}"
            raise BadListError(message) from None
        newest_first = sorted(found, key=lambda one: one.not_valid_before_utc, reverse=True)
        return newest_first[:1] if planned.encoding is Encoding.DER else newest_first

    def _newer(
        self,
        planned: PlannedList,
        authority: x509.Certificate,
        former: x509.CertificateRevocationList | None,
        now: datetime,
    ) -> x509.CertificateRevocationList | None:
        identifier = stated_key_identifier(authority).hex()
        place, held = (planned.name, identifier), None if former is None else _digest(former)
        known = self._given.get(place)
        # The version is of use only while the file holds what came with it.
        tag = known.tag if known is not None and known.digest == held else None
        given = self.fetch(planned.authority, identifier, tag)
        if given is None:
            return None
        newer = checked_list(given.content, authority, former, now)
        if given.tag is not None:
            self._given[place] = _Given(given.tag, _digest(newer))
        return newer


@dataclass(frozen=True, slots=True)
class _Given:
    """What the service gave last: its version, and what was in it."""

    tag: str
    digest: bytes


def _digest(found: x509.CertificateRevocationList) -> bytes:
    return found.fingerprint(SHA256())


def _is_signed(found: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    try:
        return found.issuer == authority.subject and found.is_signature_valid(authority.public_key())  # type: ignore[arg-type]  # CAs have keys that sign
    except (*UNREADABLE, TypeError):
        return False


def _read(text: bytes | None) -> list[x509.CertificateRevocationList]:
    """The CRLs of a file; what cannot be read counts for nothing, and is replaced."""
    if not text:
        return []
    try:
        if _BEGIN not in text:
            return [x509.load_der_x509_crl(text)]
        return [x509.load_pem_x509_crl(_BEGIN + part) for part in text.split(_BEGIN)[1:]]
    except UNREADABLE:
        return []


def _written(found: Sequence[x509.CertificateRevocationList], encoding: Encoding) -> bytes:
    form = Serialized.DER if encoding is Encoding.DER else Serialized.PEM
    return b"".join(one.public_bytes(form) for one in found)


def _period(found: Sequence[x509.CertificateRevocationList]) -> tuple[datetime | None, datetime | None]:
    begins = [one.last_update_utc for one in found]
    ends = [one.next_update_utc for one in found if one.next_update_utc is not None]
    return min(begins, default=None), min(ends, default=None)
