from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.unit.pki.golden import check_golden
from tests.unit.pki.samples import EVERY_PROFILE

from trivet.pki.keys import KeyAlgorithm
from trivet.pki.kubernetes import ALL_PROFILES, PROFILES, SERVICE_PROFILE
from trivet.pki.profiles import (
    ALL_KEYS,
    CLUSTER_AUTHORITIES,
    FROM_REQUEST,
    AuthorityName,
    Profile,
    SanPolicy,
    StatusPolicy,
)

USAGES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "server",
    ExtendedKeyUsageOID.CLIENT_AUTH: "client",
    ExtendedKeyUsageOID.OCSP_SIGNING: "OCSP signing",
}
SANS = {
    SanPolicy.NONE: "none",
    SanPolicy.HOST: "host",
    SanPolicy.API_SERVER: "API server",
    SanPolicy.ANY: "request",
}
STATUSES = {
    StatusPolicy.PUBLISHED: "published",
    StatusPolicy.NO_REV_AVAIL: "noRevAvail",
    StatusPolicy.NO_CHECK: "nocheck",
}
COLUMNS = (
    "Profile",
    "Authority",
    "Usages",
    "Subject CN",
    "O",
    "SANs",
    "Status",
    "Longest",
    "Kubernetes signerName",
)
PAGE = """\
# Profiles

What may be issued. A request names a profile; the certificate is built from it, and nothing is copied from
the request but what the profile leaves to it. This page is made from the table in the code
(`service/trivet/pki/kubernetes.py`) by a test, which also finds it out of date.

{table}

- **Usages**: the extended key usages, exactly.
- **Subject CN**: `{{node}}` stands for the node's name. *request*: the certificate request chooses; nobody
  gets the O `system:masters`, which passes by every authorizer.
- **SANs**:
{sans}
- **Status**: where whoever meets the certificate learns that it was revoked.
  - *published*: a CRL distribution point and authority information access, where the service has a
    `pki_base_url`; without one the certificate says nothing.
  - *noRevAvail*: there is no status to ask for (RFC 9608).
  - *nocheck*: whoever has it tells the status of others, so nobody asks for its own (id-pkix-ocsp-nocheck).
- **Longest**: the longest validity, which is also the default. A request may ask for less, down to
  600 seconds.
- **Keys** of every profile: {keys}; RSA has 3072 to 8192 bits.
- Wildcards are for the etcd authority's hosts and for `kube-apiserver-client`.
- No request can ask for `{service}`: it is Trivet's own HTTPS certificate, signed by an authority of no
  cluster. Nor for an OCSP responder's: Trivet makes those for itself.
"""


def row(profile: Profile) -> tuple[str, ...]:
    return (
        f"`{profile.name}`",
        profile.authority.value,
        " + ".join(USAGES[usage] for usage in profile.usages),
        "*request*" if profile.common_name == FROM_REQUEST else f"`{profile.common_name}`",
        {None: "", FROM_REQUEST: "*request*"}.get(profile.organization, f"`{profile.organization}`"),
        SANS[profile.sans],
        STATUSES[profile.status],
        f"{profile.longest // timedelta(days=1)} days",
        f"`{profile.signer_name}`" if profile.signer_name else "",
    )


def markdown(profiles: list[Profile]) -> str:
    """Render the profile table as the page of the reference."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS), *map(row, profiles)]
    return PAGE.format(
        table="\n".join(f"| {' | '.join(cells)} |".replace("  ", " ") for cells in rows),
        sans="\n".join(
            f"  - *{name}*: {policy.value}." for policy, name in SANS.items() if policy is not SanPolicy.NONE
        ),
        keys=", ".join(algorithm.value for algorithm in KeyAlgorithm),
        service=SERVICE_PROFILE.name,
    )


@pytest.mark.parametrize("path", ["tests/golden/profiles.md", "docs/reference/profiles.md"])
def test_the_page_of_profiles_tells_every_row_as_it_is(path: str) -> None:
    check_golden(path, markdown([*ALL_PROFILES.values()]))


def test_what_the_page_says_once_for_all_profiles_holds_for_all() -> None:
    assert {profile.keys for profile in EVERY_PROFILE} == {ALL_KEYS}
    assert {profile.longest for profile in EVERY_PROFILE} == {timedelta(days=4)}


def test_only_trivets_own_certificate_is_signed_by_an_authority_of_no_cluster() -> None:
    assert {profile.authority for profile in PROFILES.values()} == set(CLUSTER_AUTHORITIES)
    assert SERVICE_PROFILE.authority is AuthorityName.SERVICE
    assert SERVICE_PROFILE.name not in PROFILES


def test_no_row_grants_what_no_request_may_have() -> None:
    assert {profile.organization for profile in EVERY_PROFILE} == {
        None,
        FROM_REQUEST,
        "system:nodes",
        "kubeadm:cluster-admins",
    }


def test_a_signer_name_means_one_profile() -> None:
    signers = [profile.signer_name for profile in EVERY_PROFILE if profile.signer_name]
    assert sorted(signers) == [
        "kubernetes.io/kube-apiserver-client",
        "kubernetes.io/kube-apiserver-client-kubelet",
        "kubernetes.io/kubelet-serving",
    ]


def test_profiles_for_servers_name_hosts_and_profiles_for_nodes_name_nodes() -> None:
    servers = {profile.name for profile in EVERY_PROFILE if profile.is_for_servers}
    assert servers == {
        "apiserver",
        "etcd-apiserver",
        "kubelet-serving",
        "etcd-server",
        "etcd-peer",
        "trivet-server",
    }
    nodes = {profile.name for profile in EVERY_PROFILE if profile.is_per_node}
    assert nodes == servers - {"trivet-server"} | {"kubelet-client"}
    serving = (one for one in EVERY_PROFILE if ExtendedKeyUsageOID.SERVER_AUTH in one.usages)
    assert all(profile.is_for_servers for profile in serving)
