"""THE profile table: what may be issued. A row, not a branch.

Sources: the document on AKS hybrid certificates; kubeadm's `cmd/kubeadm/app/phases/certs/certlist.go`;
Kubernetes' "PKI certificates and requirements" and "Certificate Signing Requests" (signer names).
"""

# ruff: noqa: E501  the table keeps its columns

from __future__ import annotations

from typing import Final

from cryptography.x509.oid import ExtendedKeyUsageOID

from trivet.pki.errors import Fault, InvalidError
from trivet.pki.profiles import (
    CLUSTER_AUTHORITIES,
    FROM_REQUEST,
    AuthorityName,
    Profile,
    SanPolicy,
    StatusPolicy,
)

CLUSTER, ETCD, FRONT_PROXY = AuthorityName.CLUSTER, AuthorityName.ETCD, AuthorityName.FRONT_PROXY
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
RESPONDER = (ExtendedKeyUsageOID.OCSP_SIGNING,)
NONE, HOST, API_SERVER, ANY = SanPolicy.NONE, SanPolicy.HOST, SanPolicy.API_SERVER, SanPolicy.ANY
PUBLISHED, NO_REV_AVAIL = StatusPolicy.PUBLISHED, StatusPolicy.NO_REV_AVAIL
NO_CHECK = StatusPolicy.NO_CHECK

SYSTEM_MASTERS: Final = "system:masters"  # passes by every authorizer, so no request may choose it
NODE_GROUP: Final = "system:nodes"
NODE_PREFIX: Final = "system:node:"

_ROWS = (
    #       name                        authority    usages  common name                      organization               SANs        status     signerName
    Profile("apiserver",                CLUSTER,     SERVER, "kube-apiserver",                None,                      API_SERVER, PUBLISHED),
    Profile("apiserver-kubelet-client", CLUSTER,     CLIENT, "kube-apiserver-kubelet-client", "kubeadm:cluster-admins",  NONE,       PUBLISHED),
    Profile("etcd-apiserver",           CLUSTER,     BOTH,   "{node}",                        None,                      HOST,       PUBLISHED),
    Profile("kubelet-client",           CLUSTER,     CLIENT, "system:node:{node}",            "system:nodes",            NONE,       PUBLISHED, "kubernetes.io/kube-apiserver-client-kubelet"),
    Profile("kubelet-serving",          CLUSTER,     SERVER, "system:node:{node}",            "system:nodes",            HOST,       PUBLISHED, "kubernetes.io/kubelet-serving"),
    Profile("controller-manager",       CLUSTER,     CLIENT, "system:kube-controller-manager", None,                     NONE,       PUBLISHED),
    Profile("scheduler",                CLUSTER,     CLIENT, "system:kube-scheduler",         None,                      NONE,       PUBLISHED),
    Profile("admin",                    CLUSTER,     CLIENT, "kubernetes-admin",              "kubeadm:cluster-admins",  NONE,       PUBLISHED),
    Profile("kube-apiserver-client",    CLUSTER,     CLIENT, FROM_REQUEST,                    FROM_REQUEST,              ANY,        PUBLISHED, "kubernetes.io/kube-apiserver-client"),
    Profile("etcd-server",              ETCD,        BOTH,   "{node}",                        None,                      HOST,       PUBLISHED),
    Profile("etcd-peer",                ETCD,        BOTH,   "{node}",                        None,                      HOST,       PUBLISHED),
    Profile("etcd-healthcheck-client",  ETCD,        CLIENT, "kube-etcd-healthcheck-client",  None,                      NONE,       PUBLISHED),
    Profile("apiserver-etcd-client",    ETCD,        CLIENT, "kube-apiserver-etcd-client",    None,                      NONE,       PUBLISHED),
    Profile("front-proxy-client",       FRONT_PROXY, CLIENT, "front-proxy-client",            None,                      NONE,       PUBLISHED),
)

PROFILES: Final = {profile.name: profile for profile in _ROWS}

SERVICE_PROFILE: Final = Profile("trivet-server", AuthorityName.SERVICE, SERVER, "trivet", None, HOST, NO_REV_AVAIL)
"""Trivet's own HTTPS certificate. Not in the table, so no request can ask for it.

It is replaced, never revoked: whoever fetched a CRL to check it would have to trust it already.
"""

RESPONDER_PROFILES: Final = {
    authority: Profile(f"{authority.value}-ocsp-responder", authority, RESPONDER, "ocsp-responder", None, NONE, NO_CHECK)
    for authority in CLUSTER_AUTHORITIES
}
"""The certificates by which OCSP responses are signed, by authority. No request can ask for one."""

_OWN_SIGNERS: Final = "trivet.internal/"
"""Before the names of profiles for which Kubernetes has no signer; `internal` is nobody's domain (ICANN, 2024)."""

PROFILES_BY_SIGNER: Final = {
    profile.signer_name or _OWN_SIGNERS + profile.name: profile for profile in _ROWS
}
"""The profiles by the signerName that a CertificateSigningRequest asks for them by."""

ALL_PROFILES: Final = {
    **PROFILES,
    SERVICE_PROFILE.name: SERVICE_PROFILE,
    **{profile.name: profile for profile in RESPONDER_PROFILES.values()},
}


def signer_of(profile: str) -> str:
    """The signerName by which a CertificateSigningRequest asks for a profile of the table."""
    return PROFILES[profile].signer_name or _OWN_SIGNERS + profile


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
