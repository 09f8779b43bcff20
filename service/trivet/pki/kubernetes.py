"""THE profile table: what may be issued. A row, not a branch.

Sources: the document on AKS hybrid certificates; kubeadm's `cmd/kubeadm/app/phases/certs/certlist.go`;
Kubernetes' "PKI certificates and requirements" and "Certificate Signing Requests" (signer names).
"""

# ruff: noqa: E501  the table keeps its columns

from __future__ import annotations

from typing import Final

from cryptography.x509.oid import ExtendedKeyUsageOID

from trivet.pki.errors import Fault, InvalidError
from trivet.pki.profiles import FROM_REQUEST, AuthorityName, Profile, SanPolicy

CLUSTER, ETCD, FRONT_PROXY = AuthorityName.CLUSTER, AuthorityName.ETCD, AuthorityName.FRONT_PROXY
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
NONE, HOST, API_SERVER, ANY = SanPolicy.NONE, SanPolicy.HOST, SanPolicy.API_SERVER, SanPolicy.ANY

SYSTEM_MASTERS: Final = "system:masters"  # passes by every authorizer, so no request may choose it
NODE_GROUP: Final = "system:nodes"
NODE_PREFIX: Final = "system:node:"

_ROWS = (
    #       name                        authority    usages  common name                      organization               SANs        signerName
    Profile("apiserver",                CLUSTER,     SERVER, "kube-apiserver",                None,                      API_SERVER),
    Profile("apiserver-kubelet-client", CLUSTER,     CLIENT, "kube-apiserver-kubelet-client", "kubeadm:cluster-admins",  NONE),
    Profile("etcd-apiserver",           CLUSTER,     BOTH,   "{node}",                        None,                      HOST),
    Profile("kubelet-client",           CLUSTER,     CLIENT, "system:node:{node}",            "system:nodes",            NONE,       "kubernetes.io/kube-apiserver-client-kubelet"),
    Profile("kubelet-serving",          CLUSTER,     SERVER, "system:node:{node}",            "system:nodes",            HOST,       "kubernetes.io/kubelet-serving"),
    Profile("controller-manager",       CLUSTER,     CLIENT, "system:kube-controller-manager", None,                     NONE),
    Profile("scheduler",                CLUSTER,     CLIENT, "system:kube-scheduler",         None,                      NONE),
    Profile("admin",                    CLUSTER,     CLIENT, "kubernetes-admin",              "kubeadm:cluster-admins",  NONE),
    Profile("kube-apiserver-client",    CLUSTER,     CLIENT, FROM_REQUEST,                    FROM_REQUEST,              ANY,        "kubernetes.io/kube-apiserver-client"),
    Profile("etcd-server",              ETCD,        BOTH,   "{node}",                        None,                      HOST),
    Profile("etcd-peer",                ETCD,        BOTH,   "{node}",                        None,                      HOST),
    Profile("etcd-healthcheck-client",  ETCD,        CLIENT, "kube-etcd-healthcheck-client",  None,                      NONE),
    Profile("apiserver-etcd-client",    ETCD,        CLIENT, "kube-apiserver-etcd-client",    None,                      NONE),
    Profile("front-proxy-client",       FRONT_PROXY, CLIENT, "front-proxy-client",            None,                      NONE),
)

PROFILES: Final = {profile.name: profile for profile in _ROWS}

SERVICE_PROFILE: Final = Profile("trivet-server", AuthorityName.SERVICE, SERVER, "trivet", None, HOST)
"""Trivet's own HTTPS certificate. Not in the table, so no request can ask for it."""

ALL_PROFILES: Final = {**PROFILES, SERVICE_PROFILE.name: SERVICE_PROFILE}


def profile_named(name: str) -> Profile:
    """Find a profile that a request may ask for.

    Raises:
        InvalidError: there is none of that name; the message lists those that there are.
    """
    try:
        return PROFILES[name]
    except KeyError:
        message = f"there is no profile {name[:80]!r}; choose one of {', '.join(PROFILES)}"
        raise InvalidError(message, Fault("/profile", message)) from None
