"""What a node holds: keys, certificates, kubeconfigs, trust bundles, CRLs. Values only; nothing here touches a disk.

    CertificatePlan
    ├── certificates: PlannedCertificate…     every identity of the node, those in kubeconfigs included
    │   └── storage: PairStorage | CombinedStorage | KubeconfigStorage
    ├── kubeconfigs: PlannedKubeconfig…       those that name the files of a certificate
    ├── trust_bundles: PlannedBundle…
    ├── revocation_lists: PlannedList…        for programs that read CRLs
    └── service_account: ServiceAccountKey

Paths are absolute, as on the node; `agent.files` puts them below a root.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from trivet.pki.keys import KeyAlgorithm
from trivet.pki.kubernetes import PROFILES

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from trivet.pki.names import Names
    from trivet.pki.profiles import AuthorityName, Profile
    from trivet.pki.subjects import ClusterNames

API_VERSION: Final = "trivet.io/v1"
KIND: Final = "CertificatePlan"
DEFAULT_HOOK_TIMEOUT: Final = timedelta(seconds=30)


class EncryptionAlgorithm(StrEnum):
    """Kinds of key by kubeadm's names (kubeadm.k8s.io/v1beta4, `encryptionAlgorithm`)."""

    P384 = "ECDSA-P384"
    RSA_4096 = "RSA-4096"

    @property
    def key_algorithm(self) -> KeyAlgorithm:
        """What `client.keys.new_key` makes for it."""
        return KeyAlgorithm.RSA if self is EncryptionAlgorithm.RSA_4096 else KeyAlgorithm.P384


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file: where, whose, and who may read it.

    Attributes:
        path: absolute, on the node.
        mode: the permission bits.
        owner: a user's name or number; None for whoever writes it.
        group: a group's name or number; None for the writer's.
    """

    path: PurePosixPath
    mode: int
    owner: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Hook:
    """What to run once a file has changed. No shell: the first of `command` is a program."""

    command: tuple[str, ...]
    timeout: timedelta = DEFAULT_HOOK_TIMEOUT


@dataclass(frozen=True, slots=True)
class Probe:
    """Where a live endpoint shows whether the component really serves the new certificate.

    Attributes:
        host: name or address to connect to.
        port: of TCP.
        server_name: the TLS server name to ask for; None for none.
        serves: the name of the planned certificate whose serial number must be seen there.
    """

    host: str
    port: int
    server_name: str | None
    serves: str


@dataclass(frozen=True, slots=True)
class PairStorage:
    """kubeadm's layout: a certificate and a key, two files."""

    certificate: PlannedFile
    key: PlannedFile


@dataclass(frozen=True, slots=True)
class CombinedStorage:
    """kubelet's layout: `kubelet-client-current.pem` leads to a file with the certificate and the key."""

    file: PlannedFile


@dataclass(frozen=True, slots=True)
class KubeconfigStorage:
    """A kubeconfig that holds certificate, key and the cluster's trust bundle.

    Attributes:
        file: the kubeconfig.
        server: the API server's URL.
        cluster: the name of the cluster in the file.
        user: the name of the user in the file.
    """

    file: PlannedFile
    server: str
    cluster: str
    user: str


Storage = PairStorage | CombinedStorage | KubeconfigStorage


@dataclass(frozen=True, slots=True)
class PlannedCertificate:
    """One identity: a certificate that the node holds and renews again and again.

    Attributes:
        name: unique within the plan, for people and logs: `apiserver`, `admin.conf`.
        profile: what kind of certificate.
        node: the node that holds it; the service notes it where the profile does not name it, for budgets and repairs.
        sans: DNS names and addresses to ask for.
        common_name: to ask for, where the profile leaves it to the request.
        organizations: the same.
        names: all the names that the certificate will hold, those that the profile adds included.
        algorithm: of its key.
        validity: how long it shall live; None for as long as the profile grants.
        storage: which files hold it, in which layout.
        hook: to run after a change.
        probe: where to see that it is served.
    """

    name: str
    profile: Profile
    node: str
    sans: tuple[str, ...]
    common_name: str | None
    organizations: tuple[str, ...]
    names: Names
    algorithm: EncryptionAlgorithm
    validity: timedelta | None
    storage: Storage
    hook: Hook | None = None
    probe: Probe | None = None

    @property
    def authority(self) -> AuthorityName:
        """Which authority of the cluster signs it."""
        return PROFILES[self.profile.name].authority

    @property
    def files(self) -> tuple[PlannedFile, ...]:
        """Every file that holds it; the certificate first."""
        match self.storage:
            case PairStorage(certificate, key):
                return (certificate, key)
            case CombinedStorage(file) | KubeconfigStorage(file=file):
                return (file,)


@dataclass(frozen=True, slots=True)
class PlannedKubeconfig:
    """A kubeconfig that names the files of a planned certificate, as kubelet.conf does.

    Attributes:
        name: unique within the plan.
        file: the kubeconfig.
        server: the API server's URL.
        cluster: the name of the cluster in the file.
        user: the name of the user in the file.
        client_certificate: the path that it names as `client-certificate`.
        client_key: the path that it names as `client-key`.
        hook: to run after a change.
    """

    name: str
    file: PlannedFile
    server: str
    cluster: str
    user: str
    client_certificate: PurePosixPath
    client_key: PurePosixPath
    hook: Hook | None = None


@dataclass(frozen=True, slots=True)
class PlannedBundle:
    """A file with the certificates of an authority that are to be trusted."""

    name: str
    authority: AuthorityName
    file: PlannedFile
    hook: Hook | None = None


class Encoding(StrEnum):
    """How a file holds CRLs."""

    DER = "DER"
    PEM = "PEM"


@dataclass(frozen=True, slots=True)
class PlannedList:
    """A file with the CRL of an authority, for a program that reads one.

    Attributes:
        name: unique within the plan.
        authority: whose revocations.
        file: where they go.
        encoding: DER holds one CRL, that of the newest CA in the trust bundle; PEM one for each CA.
        interval: how often to ask whether there is a newer one.
        hook: to run after a change.
    """

    name: str
    authority: AuthorityName
    file: PlannedFile
    encoding: Encoding
    interval: timedelta
    hook: Hook | None = None


@dataclass(frozen=True, slots=True)
class ServiceAccountKey:
    """The key pair that signs service accounts' tokens. All control planes of a cluster share it; never renewed.

    Attributes:
        key: the private key.
        public_key: the public key.
        algorithm: of a new key.
        create: whether a missing key is made; else it must come from another control plane.
    """

    key: PlannedFile
    public_key: PlannedFile
    algorithm: EncryptionAlgorithm
    create: bool = True


@dataclass(frozen=True, slots=True)
class CertificatePlan:
    """All that a node holds.

    Attributes:
        name: of the plan.
        cluster: the cluster's name in Trivet.
        node: the node's name.
        cluster_names: what the API server's certificate is named after, where the plan says so.
        certificates: every identity, those in kubeconfigs included.
        kubeconfigs: those that name a certificate's files.
        trust_bundles: whom to trust.
        revocation_lists: what was revoked, for programs that read CRLs.
        service_account: the pair for service accounts' tokens, on a control plane.
    """

    name: str
    cluster: str
    node: str
    cluster_names: ClusterNames | None
    certificates: tuple[PlannedCertificate, ...] = ()
    kubeconfigs: tuple[PlannedKubeconfig, ...] = ()
    trust_bundles: tuple[PlannedBundle, ...] = ()
    revocation_lists: tuple[PlannedList, ...] = ()
    service_account: ServiceAccountKey | None = None

    def bundle_of(self, authority: AuthorityName) -> PlannedBundle | None:
        """The file on this node that says whom of this authority to trust."""
        return next((bundle for bundle in self.trust_bundles if bundle.authority is authority), None)

    def certificate(self, name: str) -> PlannedCertificate:
        """The planned certificate of that name.

        Raises:
            KeyError: there is none.
        """
        for planned in self.certificates:
            if planned.name == name:
                return planned
        raise KeyError(name)
