"""The files of a node below a root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from trivet.agent.files import kubeconfig, singles
from trivet.agent.files.attributes import difference, owner_ids
from trivet.agent.files.combined import CombinedFile
from trivet.agent.files.disk import Disk
from trivet.agent.files.errors import FileFaultError, FileReason
from trivet.agent.files.lock import only_writer
from trivet.agent.files.pairs import checked, read_private_key
from trivet.agent.files.reading import content
from trivet.agent.files.versions import VersionedPair
from trivet.agent.plan.model import CombinedStorage, KubeconfigStorage, PairStorage, PlannedKubeconfig
from trivet.client.keys import key_pem, new_key

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path, PurePosixPath

    from trivet.agent.files.pairs import KeyPair
    from trivet.agent.plan.model import (
        CertificatePlan,
        PlannedBundle,
        PlannedCertificate,
        PlannedFile,
        PlannedList,
        ServiceAccountKey,
    )
    from trivet.client.keys import PrivateKey

_REHEARSAL = b"\0" * 32 * 1024  # more than a version with an RSA key and a chain takes


class NodeFiles:
    """Reads and replaces what a plan lists, below a root.

    One writer at a time: `lock` keeps a second one away. All methods raise `FileFaultError`.
    """

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        """Take the root: `/`, or a folder that stands in for it."""
        self.root = root
        self._disk = disk or Disk()

    def lock(self) -> AbstractContextManager[None]:
        """Be the only writer while in a block.

        Raises:
            FileFaultError: BUSY, another process is.
        """
        return only_writer(self.root)

    def place(self, path: PurePosixPath) -> Path:
        """Where a path of the plan lies below the root.

        Raises:
            FileFaultError: OUTSIDE_ROOT, a symbolic link leads its folder out of the root.
        """
        placed = self.root.joinpath(*path.parts[1:])
        if not placed.parent.resolve().is_relative_to(self.root.resolve()):
            message = f"its folder is a symbolic link that leads out of {self.root}"
            raise FileFaultError(placed, FileReason.OUTSIDE_ROOT, message)
        return placed

    def read(self, planned: PlannedCertificate) -> KeyPair | None:
        """The pair that is in place; None where nothing is.

        Raises:
            FileFaultError: UNREADABLE, MISMATCH (the key is another's), INCOMPLETE (one of two files is missing),
                or the disk's own reason.
        """
        if isinstance(planned.storage, KubeconfigStorage):
            document = self._kubeconfig(planned.storage.file)
            path = self.place(planned.storage.file.path)
            return None if document is None else kubeconfig.embedded_pair(document, path)
        return self._layout(planned.storage).read()

    def lone_key(self, planned: PlannedCertificate) -> PrivateKey | None:
        """A private key that somebody put there for a certificate that is not there yet; None for none."""
        if not isinstance(planned.storage, PairStorage):
            return None
        certificate, key = self.place(planned.storage.certificate.path), self.place(planned.storage.key.path)
        text = content(key) if content(certificate) is None else None
        try:
            return None if text is None else read_private_key(text)
        except ValueError:
            return None

    def differences(self, planned: PlannedCertificate) -> list[str]:
        """How modes and owners of the files that are there differ from the plan, in words."""
        return self._differences(planned.files)

    def _differences(self, files: tuple[PlannedFile, ...]) -> list[str]:
        places = [(file, self.place(file.path)) for file in files]
        found = [difference(file, path) for file, path in places if path.exists()]
        return [words for words in found if words is not None]

    def check_owners(self, *files: PlannedFile) -> None:
        """See that this machine knows whom files shall belong to.

        Raises:
            FileFaultError: UNKNOWN_OWNER, or OUTSIDE_ROOT.
        """
        for file in files:
            owner_ids(file, self.place(file.path))

    def rehearse(self, planned: PlannedCertificate) -> None:
        """Try whether `install` would find space and permission, before anything is asked for that must not be lost.

        Raises:
            FileFaultError: what `install` would raise.
        """
        self.check_owners(*planned.files)
        for file in planned.files:
            path = self.place(file.path)
            self._disk.make_directories(path.parent)
            trial = path.with_name(f".{path.name}.trivet-trial")
            with self._disk.tidied(trial):
                self._disk.discard(trial)
                self._disk.write_new(trial, _REHEARSAL, 0o600)
                self._disk.discard(trial)

    def install(self, planned: PlannedCertificate, pair: KeyPair, bundle: bytes | None = None) -> None:
        """Put a new pair in place; a crash at any step leaves the former or the new one, whole.

        Args:
            planned: which files, in which layout.
            pair: certificate, chain and key.
            bundle: the PEM of the cluster's CA that a kubeconfig embeds; None keeps the one that is there.

        Raises:
            FileFaultError: the former pair is in place still (or nothing, where there was none).
            ValueError: the key belongs to another certificate; nothing was done.
        """
        checked(pair)
        if isinstance(planned.storage, KubeconfigStorage):
            self._write_embedded(planned.storage, pair, bundle)
        else:
            self._layout(planned.storage).install(pair)

    def refresh_kubeconfig(self, planned: PlannedCertificate, bundle: bytes) -> bool:
        """Give a kubeconfig that holds a pair another trust bundle or server. Returns whether it changed."""
        pair = self.read(planned)
        if pair is None or not isinstance(planned.storage, KubeconfigStorage):
            return False
        return self._write_embedded(planned.storage, pair, bundle)

    def read_bundle(self, planned: PlannedBundle) -> bytes | None:
        """The trust bundle that is in place, PEM; None where there is none."""
        return content(self.place(planned.file.path))

    def bundle_differences(self, planned: PlannedBundle) -> list[str]:
        """How mode and owner of a trust bundle that is there differ from the plan, in words."""
        return self._differences((planned.file,))

    def install_bundle(self, planned: PlannedBundle, pem: bytes) -> bool:
        """Put a trust bundle in place. Returns whether anything changed."""
        return self._replace(planned.file, pem)

    def read_list(self, planned: PlannedList) -> bytes | None:
        """The CRL that is in place; None where there is none."""
        return content(self.place(planned.file.path))

    def install_list(self, planned: PlannedList, text: bytes) -> bool:
        """Put a CRL in place. Returns whether anything changed."""
        return self._replace(planned.file, text)

    def embedded_bundle(self, planned: PlannedCertificate | PlannedKubeconfig) -> bytes | None:
        """The trust bundle that a kubeconfig holds, PEM; None where there is none."""
        document = self._kubeconfig(_kubeconfig_file(planned))
        return None if document is None else kubeconfig.embedded_bundle(document)

    def server(self, planned: PlannedCertificate | PlannedKubeconfig) -> str | None:
        """The API server's URL in a kubeconfig; None where there is no kubeconfig."""
        document = self._kubeconfig(_kubeconfig_file(planned))
        return None if document is None else kubeconfig.server_of(document)

    def install_kubeconfig(self, planned: PlannedKubeconfig, bundle: bytes) -> bool:
        """Write a kubeconfig that names a certificate's files. Returns whether anything changed."""
        document = kubeconfig.with_references(self._former(planned.file), planned, bundle)
        return self._replace(planned.file, kubeconfig.dump(document))

    def kubeconfig_is_current(self, planned: PlannedKubeconfig, bundle: bytes | None) -> bool:
        """Whether `install_kubeconfig` would change nothing; where the bundle is None, but perhaps for that."""
        text = content(self.place(planned.file.path))
        if text is None or self._differences((planned.file,)):
            return False
        former = self._former(planned.file)
        known = bundle or (None if former is None else kubeconfig.embedded_bundle(former))
        return known is not None and text == kubeconfig.dump(
            kubeconfig.with_references(former, planned, known)
        )

    def install_service_account(self, planned: ServiceAccountKey) -> bool:
        """Make the pair for service accounts' tokens, if there is none; a key that is there is never replaced.

        A missing public key is made from the private one. Returns whether anything changed.

        Raises:
            FileFaultError: UNREADABLE, the key that is there is none; INCOMPLETE, there is only the public key, or the
                plan says that the key comes from another control plane.
        """
        path = self.place(planned.key.path)
        key = self.service_account_key(planned)
        made = key is None
        if key is None:
            self._check_creation(planned)
            key = new_key(planned.algorithm.key_algorithm)
            # The private key first: from it the public one can be made again.
            singles.replace(self._disk, path, key_pem(key), planned.key)
        elif self._differences((planned.key,)):
            self._replace(planned.key, content(path) or b"")  # the same key, with the planned mode and owner
            made = True
        return self._replace(planned.public_key, _public_pem(key)) or made

    def service_account_fault(self, planned: ServiceAccountKey) -> str | None:
        """What `install_service_account` would mend, in words; None where nothing is to be done.

        Raises:
            FileFaultError: what it would raise.
        """
        key = self.service_account_key(planned)
        if key is None:
            self._check_creation(planned)
            return "it is missing"
        if content(self.place(planned.public_key.path)) != _public_pem(key):
            return f"{planned.public_key.path} is missing, or belongs to another key"
        return next(iter(self._differences((planned.key, planned.public_key))), None)

    def service_account_key(self, planned: ServiceAccountKey) -> PrivateKey | None:
        """The private key for service accounts' tokens; None where there is none.

        Raises:
            FileFaultError: UNREADABLE.
        """
        path = self.place(planned.key.path)
        text = content(path)
        if text is None:
            return None
        try:
            return read_private_key(text)
        except ValueError as error:
            message = f"{error}; all tokens depend on this key, so it is left as it is"
            raise FileFaultError(path, FileReason.UNREADABLE, message) from None

    def _check_creation(self, planned: ServiceAccountKey) -> None:
        key, public = self.place(planned.key.path), self.place(planned.public_key.path)
        if not planned.create:
            message = "it is missing; copy it from another control plane of this cluster, or set create: true"
            raise FileFaultError(key, FileReason.INCOMPLETE, message)
        if public.exists():
            message = (
                f"it is missing, though {public} is there; copy it from another control plane, or remove that"
            )
            raise FileFaultError(key, FileReason.INCOMPLETE, message)

    def recover(self, plan: CertificatePlan) -> tuple[str, ...]:
        """Mend what a crash left: versions half written, links not switched. Returns what was done, in words."""
        done: list[str] = []
        for planned in plan.certificates:
            if isinstance(planned.storage, KubeconfigStorage):
                done += singles.recover(self._disk, self.place(planned.storage.file.path))
            else:
                done += self._layout(planned.storage).recover()
        files = [kubeconfig.file for kubeconfig in plan.kubeconfigs]
        files += [bundle.file for bundle in plan.trust_bundles]
        files += [planned.file for planned in plan.revocation_lists]
        if plan.service_account is not None:
            files += [plan.service_account.key, plan.service_account.public_key]
        for file in files:
            done += singles.recover(self._disk, self.place(file.path))
        return tuple(done)

    def _layout(self, storage: PairStorage | CombinedStorage) -> VersionedPair | CombinedFile:
        if isinstance(storage, CombinedStorage):
            return CombinedFile(self._disk, self.place(storage.file.path), storage.file)
        certificate, key = self.place(storage.certificate.path), self.place(storage.key.path)
        return VersionedPair(self._disk, certificate, key, (storage.certificate, storage.key))

    def _kubeconfig(self, file: PlannedFile) -> kubeconfig.Document | None:
        path = self.place(file.path)
        text = content(path)
        return None if text is None else kubeconfig.load(text, path)

    def _former(self, file: PlannedFile) -> kubeconfig.Document | None:
        # A torn kubeconfig is made anew; nothing can be kept of it.
        try:
            return self._kubeconfig(file)
        except FileFaultError as fault:
            if fault.reason is FileReason.UNREADABLE:
                return None
            raise

    def _write_embedded(self, storage: KubeconfigStorage, pair: KeyPair, bundle: bytes | None) -> bool:
        former = self._former(storage.file)
        known = bundle or (None if former is None else kubeconfig.embedded_bundle(former))
        if known is None:
            path = self.place(storage.file.path)
            message = "a new kubeconfig needs the cluster's trust bundle; provision the trust bundles first"
            raise FileFaultError(path, FileReason.INCOMPLETE, message)
        return self._replace(
            storage.file, kubeconfig.dump(kubeconfig.with_embedded(former, storage, pair, known))
        )

    def _replace(self, file: PlannedFile, text: bytes) -> bool:
        return singles.replace(self._disk, self.place(file.path), text, file)


def _public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _kubeconfig_file(planned: PlannedCertificate | PlannedKubeconfig) -> PlannedFile:
    if isinstance(planned, PlannedKubeconfig):
        return planned.file
    if isinstance(planned.storage, KubeconfigStorage):
        return planned.storage.file
    message = f"{planned.name} is no kubeconfig"
    raise TypeError(message)
