"""The plans that come with Trivet: kubeadm's layout as a table, and how a row is written as YAML.

Sources: kubeadm's `cmd/kubeadm/app/phases/certs/certlist.go` and `phases/kubeconfig/kubeconfig.go`;
Kubernetes' page "PKI certificates and requirements"; the document on AKS hybrid certificates.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

import yaml

from trivet.agent.plan.model import API_VERSION, KIND, EncryptionAlgorithm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PKI, _ETC, _KUBELET = "/etc/kubernetes/pki", "/etc/kubernetes", "/var/lib/kubelet/pki"
_COLUMNS: Final = 100  # of comments
_LOOPBACK: Final = ("127.0.0.1", "::1")
Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Choices:
    """What a built-in plan is made for.

    Attributes:
        cluster: the cluster's name in Trivet.
        node: the node's name.
        endpoint: the control plane, as `host` or `host:port`; None where the plan needs none.
        addresses: of the node.
        algorithm: of the keys.
        service_subnet: of the cluster; None for kubeadm's.
        dns_domain: of the cluster; None for kubeadm's.
    """

    cluster: str
    node: str
    endpoint: str | None = None
    addresses: tuple[str, ...] = ()
    algorithm: EncryptionAlgorithm = EncryptionAlgorithm.P384
    service_subnet: str | None = None
    dns_domain: str | None = None

    @property
    def host(self) -> list[str]:
        """The node's own names and addresses."""
        return [self.node, *self.addresses]


@dataclass(frozen=True, slots=True)
class Part:
    """One item of a plan, with the words that stand above it."""

    about: str
    item: Item


def _restart(container: str) -> Item:
    # kubelet starts the container of a static pod again; a mounted file is otherwise the former one for ever.
    script = f"crictl ps -q --name '^{container}$' | xargs -r crictl stop --timeout 10"
    return {"command": ["/bin/sh", "-c", script], "timeout": "60s"}


def _pair(name: str, profile: str, stem: str, **more: object) -> Item:
    return {
        "name": name,
        "profile": profile,
        "certFile": f"{stem}.crt",
        "keyFile": f"{stem}.key",
        **more,
    }


def _api_server(choices: Choices) -> Iterator[Part]:
    probe = {"address": "127.0.0.1:6443", "serverName": "kubernetes"}
    yield Part(
        "The API server's own certificate. The profile adds the names of the kubernetes service, the node and the"
        " endpoint; kube-apiserver reads it again when it changes.",
        _pair("apiserver", "apiserver", f"{_PKI}/apiserver", certSANs=list(choices.addresses), probe=probe),
    )
    yield Part(
        "By which the API server is known to kubelets.",
        _pair("apiserver-kubelet-client", "apiserver-kubelet-client", f"{_PKI}/apiserver-kubelet-client"),
    )
    yield Part(
        "By which the API server is known to extension API servers.",
        _pair("front-proxy-client", "front-proxy-client", f"{_PKI}/front-proxy-client"),
    )


def _etcd_client(choices: Choices) -> Iterator[Part]:
    del choices
    yield Part(
        "By which the API server is known to etcd.",
        _pair("apiserver-etcd-client", "apiserver-etcd-client", f"{_PKI}/apiserver-etcd-client"),
    )


def _etcd(choices: Choices, server_profile: str = "etcd-server") -> Iterator[Part]:
    hosts = list(dict.fromkeys([*choices.host, "localhost", *_LOOPBACK]))
    signed_by = ""
    if server_profile == "etcd-apiserver":
        signed_by = f" Signed by the Cluster CA: kube-apiserver needs --etcd-cafile={_PKI}/ca.crt."
    yield Part(
        f"What etcd shows to the API server.{signed_by} etcd reads it at each handshake.",
        _pair(
            "etcd-server",
            server_profile,
            f"{_PKI}/etcd/server",
            certSANs=hosts,
            probe={"address": "127.0.0.1:2379", "serverName": "localhost"},
        ),
    )
    yield Part(
        "What etcd's members show to each other.",
        _pair(
            "etcd-peer",
            "etcd-peer",
            f"{_PKI}/etcd/peer",
            certSANs=hosts,
            probe={"address": "127.0.0.1:2380", "serverName": "localhost"},
        ),
    )
    yield Part(
        "By which etcd's liveness probe is known to it.",
        _pair("etcd-healthcheck-client", "etcd-healthcheck-client", f"{_PKI}/etcd/healthcheck-client"),
    )


def _kubelet(choices: Choices) -> Iterator[Part]:
    yield Part(
        "By which kubelet is known to the API server; kubelet reads it again when it changes.",
        {
            "name": "kubelet-client",
            "profile": "kubelet-client",
            "combinedFile": f"{_KUBELET}/kubelet-client-current.pem",
        },
    )
    yield Part(
        "What kubelet shows to the API server: `kubectl logs` and `exec` come this way.",
        _pair(
            "kubelet-serving",
            "kubelet-serving",
            f"{_KUBELET}/kubelet",
            certSANs=choices.host,
            probe={"address": "127.0.0.1:10250", "serverName": choices.node},
            hook={"command": ["systemctl", "try-restart", "kubelet"], "timeout": "60s"},
        ),
    )


def _control_plane_kubeconfigs(choices: Choices) -> Iterator[Part]:
    own = {"server": _own_server(choices)}
    yield Part("For an administrator.", {"name": "admin", "file": f"{_ETC}/admin.conf", "profile": "admin"})
    for name in ("controller-manager", "scheduler"):
        yield Part(
            f"For kube-{name}, which reads it when it starts only.",
            {
                "name": name,
                "file": f"{_ETC}/{name}.conf",
                "profile": name,
                **own,
                "hook": _restart(f"kube-{name}"),
            },
        )
    yield from _kubelet_kubeconfig(choices)


def _own_server(choices: Choices) -> str:
    # kubeadm's, too, lets these talk to the API server beside them.
    host = next(iter(choices.addresses), choices.node)
    return f"https://{f'[{host}]' if ':' in host else host}:6443"


def _kubelet_kubeconfig(choices: Choices) -> Iterator[Part]:
    del choices
    yield Part(
        "For kubelet; it names the file above, which changes below it.",
        {
            "name": "kubelet",
            "file": f"{_ETC}/kubelet.conf",
            "clientCertificate": "kubelet-client",
            "user": "default-auth",
        },
    )


_CLUSTER_CA: Final = Part(
    "The Cluster CA.", {"name": "cluster-ca", "authority": "cluster", "file": f"{_PKI}/ca.crt"}
)
_ETCD_CA: Final = Part(
    "The etcd CA.", {"name": "etcd-ca", "authority": "etcd", "file": f"{_PKI}/etcd/ca.crt"}
)
_FRONT_PROXY_CA: Final = Part(
    "The Front Proxy CA.",
    {"name": "front-proxy-ca", "authority": "front-proxy", "file": f"{_PKI}/front-proxy-ca.crt"},
)
_ETCD_CRL: Final = Part(
    "What the etcd CA revoked, for --client-crl-file and --peer-crl-file. etcd reads it at each handshake, so it needs"
    " no hook; it refuses everybody while the file is missing.",
    {
        "name": "etcd-crl",
        "authority": "etcd",
        "file": f"{_PKI}/etcd/ca.crl",
        "format": "DER",
    },
)
_SERVICE_ACCOUNT: Final = {"keyFile": f"{_PKI}/sa.key", "publicKeyFile": f"{_PKI}/sa.pub", "create": True}


@dataclass(frozen=True, slots=True)
class Sections:
    """A built-in plan, section by section."""

    certificates: tuple[Part, ...]
    kubeconfigs: tuple[Part, ...]
    trust_bundles: tuple[Part, ...]
    revocation_lists: tuple[Part, ...] = ()
    has_service_account: bool = False


def _control_plane(choices: Choices) -> Sections:
    parts = (*_api_server(choices), *_etcd_client(choices), *_etcd(choices), *_kubelet(choices))
    bundles = (_CLUSTER_CA, _ETCD_CA, _FRONT_PROXY_CA)
    return Sections(parts, tuple(_control_plane_kubeconfigs(choices)), bundles, has_service_account=True)


def _control_plane_aks(choices: Choices) -> Sections:
    etcd = _etcd(choices, "etcd-apiserver")
    parts = (*_api_server(choices), *_etcd_client(choices), *etcd, *_kubelet(choices))
    bundles = (_CLUSTER_CA, _ETCD_CA, _FRONT_PROXY_CA)
    return Sections(parts, tuple(_control_plane_kubeconfigs(choices)), bundles, has_service_account=True)


def _worker(choices: Choices) -> Sections:
    return Sections(tuple(_kubelet(choices)), tuple(_kubelet_kubeconfig(choices)), (_CLUSTER_CA,))


def _etcd_member(choices: Choices) -> Sections:
    return Sections(tuple(_etcd(choices)), (), (_ETCD_CA,), (_ETCD_CRL,))


BUILT_IN: Final = {
    "control-plane": ("kubeadm's whole layout for a control plane with its own etcd", _control_plane),
    "control-plane-aks": (
        "the same, with etcd's certificate for the API server signed by the Cluster CA",
        _control_plane_aks,
    ),
    "worker": ("kubelet's client and serving certificates", _worker),
    "etcd-member": ("a member of an etcd cluster apart from the control plane", _etcd_member),
}
_NEED_AN_ENDPOINT: Final = frozenset({"control-plane", "control-plane-aks", "worker"})


def needs_endpoint(name: str) -> bool:
    """Whether the plan of that name cannot be written without the control plane's endpoint."""
    return name in _NEED_AN_ENDPOINT


def built_in_plan(name: str, choices: Choices) -> str:
    """A built-in plan as YAML with comments, to be edited.

    Raises:
        KeyError: there is none of that name.
    """
    about, sections = BUILT_IN[name][0], BUILT_IN[name][1](choices)
    return "\n".join([*_head(name, about, choices), *_body(sections)]) + "\n"


def _head(name: str, about: str, choices: Choices) -> Iterator[str]:
    yield f"# {name}: {about}."
    yield "# Edit it, then: trivet plan check -f FILE, trivet provision -f FILE --dry-run, trivet provision -f FILE."
    yield "# docs/reference/plans.md describes every field; those that are left out have the defaults given there."
    yield from _written({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}})
    yield "spec:"
    yield from _written({"clusterName": choices.cluster, "nodeName": choices.node}, 2)
    if choices.endpoint is not None:
        yield "  # What API servers are called, and where kubeconfigs lead: a load balancer, or the one API server."
        yield from _written({"controlPlaneEndpoint": choices.endpoint}, 2)
    networking = {"serviceSubnet": choices.service_subnet, "dnsDomain": choices.dns_domain}
    given = {key: value for key, value in networking.items() if value is not None}
    if given:
        yield from _written({"networking": given}, 2)
    yield from _written({"encryptionAlgorithm": choices.algorithm.value}, 2)
    yield "  # How long certificates live; no more than their profiles grant, which is four days."
    yield "  # certificateValidityPeriod: 96h0m0s"


def _body(sections: Sections) -> Iterator[str]:
    yield from _section("certificates", sections.certificates, _ON_FILES)
    yield from _section("kubeconfigs", sections.kubeconfigs)
    yield from _section("trustBundles", sections.trust_bundles)
    yield from _section("revocationLists", sections.revocation_lists)
    if sections.has_service_account:
        yield "  # Signs the tokens of service accounts. The control planes of a cluster share it: the first one makes"
        yield "  # it, the others get a copy before they are provisioned (create: false). It is never replaced."
        yield "  serviceAccountKey:"
        yield from _written(_SERVICE_ACCOUNT, 4)


_ON_FILES: Final = (
    'Keys have keyMode "0600", certificates certMode "0644"; owner and group are those of who writes them, unless',
    "they are named, as for an etcd that runs as a user of its own: owner: etcd.",
)


def _section(name: str, parts: Iterable[Part], remarks: tuple[str, ...] = ()) -> Iterator[str]:
    parts = tuple(parts)
    if not parts:
        return
    yield from (f"  # {remark}" for remark in remarks)
    yield f"  {name}:"
    for part in parts:
        yield from (f"  # {line}" for line in wrap(part.about, _COLUMNS))
        yield from _written([_without_empty(part.item)], 2)


def _without_empty(item: Item) -> Item:
    return {key: value for key, value in item.items() if value not in ([], None)}


def _written(value: object, indent: int = 0) -> Iterator[str]:
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    for line in text.splitlines():
        yield " " * indent + line


class _Dumper(yaml.SafeDumper):
    """Lists of text on one line, as people write them."""


def _list(dumper: yaml.SafeDumper, items: list[object]) -> yaml.SequenceNode:
    on_one_line = all(isinstance(item, str) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=on_one_line)


_Dumper.add_representer(list, _list)
