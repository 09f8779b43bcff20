"""The model of a plan from what was read, and the rules that hold between its fields."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from trivet.agent.plan.model import (
    CertificatePlan,
    CombinedStorage,
    Encoding,
    Hook,
    KubeconfigStorage,
    PairStorage,
    PlannedBundle,
    PlannedCertificate,
    PlannedFile,
    PlannedKubeconfig,
    PlannedList,
    Probe,
    ServiceAccountKey,
)
from trivet.agent.plan.table import NETWORKING
from trivet.client.keys import build_request, new_key
from trivet.pki.csr import parse_certificate_request
from trivet.pki.errors import Refusal
from trivet.pki.keys import KeyAlgorithm
from trivet.pki.profiles import FROM_REQUEST, AuthorityName, SanPolicy
from trivet.pki.subjects import ClusterNames, names_for, parse_host
from trivet.pki.validity import SHORTEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trivet.agent.plan.forms import PlanReader
    from trivet.agent.plan.model import EncryptionAlgorithm, Storage
    from trivet.pki.names import Names
    from trivet.pki.profiles import Profile

API_SERVER_PORT: Final = 6443
SHORTEST_INTERVAL: Final = timedelta(seconds=5)
Read = dict[str, Any]


@dataclass
class Builder:
    """Builds one plan; what is wrong goes to the reader's faults."""

    reader: PlanReader
    _spec: Read = field(default_factory=dict)
    _named: set[str] = field(default_factory=set)
    _served: set[str] = field(default_factory=set)
    _placed: dict[str, str] = field(default_factory=dict)
    _cluster_names: ClusterNames | None = None

    def plan(self, read: Read) -> CertificatePlan | None:
        """The plan; None, and faults, where something is wrong."""
        spec = self._spec = read.get("spec") or {}
        self._cluster_names = self._names_of_cluster(spec)
        certificates = list(self._certificates(spec.get("certificates") or []))
        embedded, kubeconfigs = self._kubeconfigs(spec.get("kubeconfigs") or [], certificates)
        bundles = tuple(self._bundles(spec.get("trustBundles") or []))
        lists = tuple(self._lists(spec.get("revocationLists") or [], bundles))
        account = self._service_account(spec.get("serviceAccountKey"))
        self._check_probes(certificates)
        self._check_nesting()
        if self.reader.faults:
            return None
        return CertificatePlan(
            name=(read.get("metadata") or {})["name"],
            cluster=spec["clusterName"],
            node=spec["nodeName"],
            cluster_names=self._cluster_names,
            certificates=(*certificates, *embedded),
            kubeconfigs=tuple(kubeconfigs),
            trust_bundles=bundles,
            revocation_lists=lists,
            service_account=account,
        )

    def _names_of_cluster(self, spec: Read) -> ClusterNames | None:
        networking = spec.get("networking") or NETWORKING.read(self.reader, {}, "/spec/networking") or {}
        endpoint, subnet, domain = (
            spec.get("controlPlaneEndpoint"),
            networking.get("serviceSubnet"),
            networking.get("dnsDomain"),
        )
        if endpoint is None or subnet is None or domain is None:
            return None
        return ClusterNames(parse_host(endpoint[0]), subnet, domain)

    def _certificates(self, items: list[Read | None]) -> Iterator[PlannedCertificate]:
        for index, item in enumerate(items):
            pointer = f"/spec/certificates/{index}"
            if item is not None:
                self._claim_name(item, pointer)
                self._served.add(str(item.get("name")))
                storage = self._storage(item, pointer)
                planned = self._identity(item, pointer, storage) if storage is not None else None
                if planned is not None:
                    yield planned

    def _storage(self, item: Read, pointer: str) -> Storage | None:
        certificate, key, combined = (item.get(name) for name in ("certFile", "keyFile", "combinedFile"))
        if combined is not None and certificate is None and key is None:
            return CombinedStorage(self._file(item, pointer, "combinedFile", "keyMode"))
        if combined is not None or certificate is None or key is None:
            if self._well_formed(pointer, "certFile", "keyFile", "combinedFile"):
                self.reader.fault(pointer, "needs certFile and keyFile, or combinedFile alone")
            return None
        if certificate.parent != key.parent:
            # They are switched by one link, in the one folder that a static pod mounts.
            self.reader.fault(
                f"{pointer}/keyFile", f"must be in the folder of certFile, {certificate.parent}"
            )
        return PairStorage(
            self._file(item, pointer, "certFile", "certMode"), self._file(item, pointer, "keyFile", "keyMode")
        )

    def _identity(self, item: Read, pointer: str, storage: Storage) -> PlannedCertificate | None:
        profile: Profile | None = item.get("profile")
        node = self._spec.get("nodeName")
        name = item.get("name")
        if profile is None or node is None or name is None:
            return None
        names = self._names(item, profile, node, pointer)
        validity = self._validity(item, profile, pointer)
        if names is None:
            return None
        return PlannedCertificate(
            name=name,
            profile=profile,
            node=node,
            sans=tuple(item.get("certSANs") or ()),
            common_name=item.get("commonName"),
            organizations=tuple(item.get("organizations") or ()),
            names=names,
            algorithm=self._algorithm(item),
            validity=validity,
            storage=storage,
            hook=_hook(item.get("hook")),
            probe=_probe(item.get("probe"), name),
        )

    def _names(self, item: Read, profile: Profile, node: str, pointer: str) -> Names | None:
        """All names that the certificate will hold, by the very rules of the service."""
        if not self._well_formed(pointer, "certSANs", "commonName", "organizations"):
            return None
        if profile.common_name != FROM_REQUEST and (item.get("commonName") or item.get("organizations")):
            message = f"the profile {profile.name} gives the subject; leave out commonName and organizations"
            self.reader.fault(pointer, message)
            return None
        if profile.sans is SanPolicy.API_SERVER and self._cluster_names is None:
            if self._well_formed("/spec", "controlPlaneEndpoint", "networking"):
                message = "is required: the API server's certificate is named after it"
                self.reader.fault("/spec/controlPlaneEndpoint", message)
            return None
        sans = item.get("certSANs") or ()
        try:
            request = parse_certificate_request(
                build_request(
                    new_key(KeyAlgorithm.P256),
                    common_name=item.get("commonName"),
                    organizations=item.get("organizations") or (),
                    hosts=sans,
                )
            )
            return names_for(profile, request, node, self._cluster_names)
        except (Refusal, ValueError) as refusal:
            self.reader.fault(f"{pointer}/certSANs" if sans else pointer, str(refusal))
            return None

    def _validity(self, item: Read, profile: Profile, pointer: str) -> timedelta | None:
        own: timedelta | None = item.get("certificateValidityPeriod")
        validity = own or self._spec.get("certificateValidityPeriod")
        if validity is None:
            return None
        if own is not None and own > profile.longest:
            hours = profile.longest.total_seconds() / 3600
            message = f"the profile {profile.name} grants {hours:.0f}h at most"
            self.reader.fault(f"{pointer}/certificateValidityPeriod", message)
        place = pointer if own is not None else "/spec"
        if validity < SHORTEST:
            self._fault_once(f"{place}/certificateValidityPeriod", "a certificate lives at least 10m")
        return min(validity, profile.longest)

    def _algorithm(self, item: Read) -> EncryptionAlgorithm:
        chosen: EncryptionAlgorithm = item.get("encryptionAlgorithm") or self._spec["encryptionAlgorithm"]
        return chosen

    def _kubeconfigs(
        self, items: list[Read | None], certificates: list[PlannedCertificate]
    ) -> tuple[list[PlannedCertificate], list[PlannedKubeconfig]]:
        embedded, referring = [], []
        for index, item in enumerate(items):
            pointer = f"/spec/kubeconfigs/{index}"
            if item is None:
                continue
            self._claim_name(item, pointer)
            if item.get("profile") is not None:
                self._served.add(str(item.get("name")))
            server = self._server(item, pointer)
            if item.get("file") is None or server is None:
                continue
            file = self._file(item, pointer, "file", "mode")
            profile, reference = item.get("profile"), item.get("clientCertificate")
            if (profile is None) == (reference is None):
                if self._well_formed(pointer, "profile", "clientCertificate"):
                    self.reader.fault(pointer, "needs profile or clientCertificate, and not both")
            elif profile is not None:
                planned = self._embedded(item, pointer, file, server)
                embedded += [planned] if planned is not None else []
            else:
                kubeconfig = self._referring(item, pointer, file, server, certificates)
                referring += [kubeconfig] if kubeconfig is not None else []
        return embedded, referring

    def _embedded(
        self, item: Read, pointer: str, file: PlannedFile, server: str
    ) -> PlannedCertificate | None:
        cluster, profile = self._spec.get("clusterName"), item["profile"]
        if profile.authority is not AuthorityName.CLUSTER or not profile.is_for_clients:
            message = f"the API server knows nobody by a certificate of the profile {profile.name}"
            self.reader.fault(f"{pointer}/profile", message)
            return None
        if cluster is None:
            return None
        planned = self._identity(item, pointer, KubeconfigStorage(file, server, cluster, ""))
        if planned is None:
            return None
        user = item.get("user") or planned.names.common_name
        return replace(planned, storage=KubeconfigStorage(file, server, cluster, user))

    def _referring(
        self, item: Read, pointer: str, file: PlannedFile, server: str, certificates: list[PlannedCertificate]
    ) -> PlannedKubeconfig | None:
        for name in ("commonName", "organizations", "encryptionAlgorithm", "certificateValidityPeriod"):
            if name in item:
                self.reader.fault(f"{pointer}/{name}", "goes with profile, not with clientCertificate")
        named = {certificate.name: certificate for certificate in certificates}
        certificate = named.get(item["clientCertificate"])
        if certificate is None:
            if item["clientCertificate"] not in self._named:
                message = f"names no certificate of this plan; there are {', '.join(named) or 'none'}"
                self.reader.fault(f"{pointer}/clientCertificate", message)
            return None
        cluster, user = self._spec.get("clusterName"), item.get("user") or certificate.names.common_name
        if cluster is None or item.get("name") is None:
            return None
        chain, key = certificate.files[0].path, certificate.files[-1].path
        return PlannedKubeconfig(
            item["name"], file, server, cluster, user, chain, key, _hook(item.get("hook"))
        )

    def _server(self, item: Read, pointer: str) -> str | None:
        if item.get("server") is not None:
            return str(item["server"]).removesuffix("/")
        endpoint = self._spec.get("controlPlaneEndpoint")
        if endpoint is None:
            if self._well_formed("/spec", "controlPlaneEndpoint") and self._well_formed(pointer, "server"):
                self.reader.fault(
                    f"{pointer}/server", "is required where the plan has no controlPlaneEndpoint"
                )
            return None
        host, port = endpoint
        return f"https://{f'[{host}]' if ':' in host else host}:{port or API_SERVER_PORT}"

    def _bundles(self, items: list[Read | None]) -> Iterator[PlannedBundle]:
        for index, item in enumerate(items):
            pointer = f"/spec/trustBundles/{index}"
            if item is None:
                continue
            self._claim_name(item, pointer)
            if all(item.get(name) is not None for name in ("name", "authority", "file")):
                file = self._file(item, pointer, "file", "mode")
                yield PlannedBundle(item["name"], item["authority"], file, _hook(item.get("hook")))

    def _lists(self, items: list[Read | None], bundles: tuple[PlannedBundle, ...]) -> Iterator[PlannedList]:
        trusted = {bundle.authority for bundle in bundles}
        for index, item in enumerate(items):
            pointer = f"/spec/revocationLists/{index}"
            if item is None:
                continue
            self._claim_name(item, pointer)
            if not all(item.get(name) is not None for name in ("name", "authority", "file")):
                continue
            if item["authority"] not in trusted and self._well_formed("/spec", "trustBundles"):
                message = f"needs a trust bundle of the authority {item['authority']}, to check the CRL by"
                self.reader.fault(f"{pointer}/authority", message)
            interval = item.get("refreshInterval") or SHORTEST_INTERVAL
            if interval < SHORTEST_INTERVAL:
                self.reader.fault(f"{pointer}/refreshInterval", "must be at least 5s")
            file = self._file(item, pointer, "file", "mode")
            encoding = item.get("format") or Encoding.PEM
            yield PlannedList(
                item["name"], item["authority"], file, encoding, interval, _hook(item.get("hook"))
            )

    def _service_account(self, item: Read | None) -> ServiceAccountKey | None:
        pointer = "/spec/serviceAccountKey"
        if item is None or item.get("keyFile") is None or item.get("publicKeyFile") is None:
            return None
        key = self._file(item, pointer, "keyFile", "keyMode")
        public = self._file(item, pointer, "publicKeyFile", "publicKeyMode")
        return ServiceAccountKey(key, public, self._algorithm(item), create=item.get("create") is not False)

    def _file(self, item: Read, pointer: str, member: str, mode: str) -> PlannedFile:
        path = str(item[member])
        taken = self._placed.setdefault(path, f"{pointer}/{member}")
        if taken != f"{pointer}/{member}":
            self.reader.fault(f"{pointer}/{member}", f"is the file of {taken} already; give each its own")
        return PlannedFile(item[member], item.get(mode) or 0o600, item.get("owner"), item.get("group"))

    def _check_nesting(self) -> None:
        for path, pointer in self._placed.items():
            parts = path.split("/")
            for above in ("/".join(parts[:count]) for count in range(2, len(parts))):
                if above in self._placed:
                    message = f"lies below {above}, which {self._placed[above]} says is a file"
                    self.reader.fault(pointer, message)

    def _check_probes(self, certificates: list[PlannedCertificate]) -> None:
        for index, item in enumerate(self._spec.get("certificates") or []):
            serves = ((item or {}).get("probe") or {}).get("serves")
            if serves is not None and serves not in self._served:
                names = ", ".join(certificate.name for certificate in certificates)
                message = f"names no certificate of this plan; there are {names}"
                self.reader.fault(f"/spec/certificates/{index}/probe/serves", message)

    def _claim_name(self, item: Read, pointer: str) -> None:
        name = item.get("name")
        if name in self._named:
            self.reader.fault(f"{pointer}/name", f"{name} is the name of another in this plan")
        elif name is not None:
            self._named.add(name)

    def _well_formed(self, pointer: str, *members: str) -> bool:
        """Whether nothing was found wrong with these members yet: one mistake is told once."""
        places = tuple(f"{pointer}/{member}" for member in members)
        return not any(fault.pointer.startswith(places) for fault in self.reader.faults)

    def _fault_once(self, pointer: str, message: str) -> None:
        if all(fault.pointer != pointer for fault in self.reader.faults):
            self.reader.fault(pointer, message)


def _hook(read: Read | None) -> Hook | None:
    if read is None or read.get("command") is None or read.get("timeout") is None:
        return None
    return Hook(tuple(read["command"]), read["timeout"])


def _probe(read: Read | None, own: str) -> Probe | None:
    if read is None or read.get("address") is None:
        return None
    host, port = read["address"]
    return Probe(host, port, read.get("serverName"), read.get("serves") or own)
