from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from tests.unit.pki.samples import (
    CLUSTER,
    EVERY_PROFILE,
    NODE,
    certificate_request,
    dn,
    plan,
    private_key,
    request_for,
    root,
    sans,
    sign,
    signed,
)

from trivet.pki.errors import InvalidError, MalformedError, RejectedIdentifierError
from trivet.pki.kubernetes import PROFILES, SERVICE_PROFILE, profile_named
from trivet.pki.names import DnsName, Names, parse_dns_name
from trivet.pki.pem import from_der
from trivet.pki.profiles import Profile, SanPolicy
from trivet.pki.subjects import ClusterNames, names_for, names_of, parse_host

HOSTS = ("node-1.blue.example", "192.0.2.7", "2001:db8::7")
SUBJECTS = {
    "apiserver": ("kube-apiserver", ()),
    "apiserver-kubelet-client": ("kube-apiserver-kubelet-client", ("kubeadm:cluster-admins",)),
    "etcd-apiserver": (NODE, ()),
    "kubelet-client": (f"system:node:{NODE}", ("system:nodes",)),
    "kubelet-serving": (f"system:node:{NODE}", ("system:nodes",)),
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "admin": ("kubernetes-admin", ("kubeadm:cluster-admins",)),
    "kube-apiserver-client": ("jane", ("team",)),
    "etcd-server": (NODE, ()),
    "etcd-peer": (NODE, ()),
    "etcd-healthcheck-client": ("kube-etcd-healthcheck-client", ()),
    "apiserver-etcd-client": ("kube-apiserver-etcd-client", ()),
    "front-proxy-client": ("front-proxy-client", ()),
    "trivet-server": ("trivet", ()),
    "cluster-ocsp-responder": ("ocsp-responder", ()),
    "etcd-ocsp-responder": ("ocsp-responder", ()),
    "front-proxy-ocsp-responder": ("ocsp-responder", ()),
}
FIXED = [profile for profile in EVERY_PROFILE if profile.name != "kube-apiserver-client"]


def having(*policies: SanPolicy) -> list[Profile]:
    return [profile for profile in EVERY_PROFILE if profile.sans in policies]


def by_name(profile: Profile) -> str:
    return profile.name


def rejection(profile: Profile, *subject: object, node: str | None = NODE) -> str:
    request = certificate_request(*subject)  # type: ignore[arg-type]
    with pytest.raises(RejectedIdentifierError) as caught:
        names_for(profile, request, node, CLUSTER)
    return caught.value.detail


@pytest.mark.parametrize("profile", EVERY_PROFILE, ids=by_name)
def test_every_profile_gives_its_own_subject(profile: Profile) -> None:
    names = names_for(profile, request_for(profile), NODE, CLUSTER)
    assert (names.common_name, names.organizations) == SUBJECTS[profile.name]


@pytest.mark.parametrize("profile", FIXED, ids=by_name)
def test_a_request_may_say_what_the_profile_grants(profile: Profile) -> None:
    hosts = HOSTS if profile.sans is SanPolicy.HOST else ()
    request = certificate_request(*SUBJECTS[profile.name], hosts)
    assert names_for(profile, request, NODE, CLUSTER).common_name == SUBJECTS[profile.name][0]


@pytest.mark.parametrize("profile", FIXED, ids=by_name)
def test_a_request_for_another_subject_is_refused(profile: Profile) -> None:
    common_name, organizations = SUBJECTS[profile.name]
    assert "has the CN" in rejection(profile, "another", (), HOSTS)
    assert "has the CN" in rejection(profile, common_name.upper(), (), HOSTS)
    for others in (["another"], [*organizations, "another"], ["system:masters"]):
        assert "ask for that or for none" in rejection(profile, common_name, others, HOSTS)


@pytest.mark.parametrize("profile", having(SanPolicy.NONE), ids=by_name)
def test_a_profile_without_subject_alt_names_refuses_them(profile: Profile) -> None:
    names = names_for(profile, certificate_request(), NODE, CLUSTER)
    assert (names.dns_names, names.ip_addresses) == ((), ())
    for host in ("a.example", "192.0.2.1"):
        assert "no subjectAltNames" in rejection(profile, "", (), [host])


@pytest.mark.parametrize("profile", having(SanPolicy.HOST), ids=by_name)
def test_a_profile_for_hosts_takes_their_names_from_the_request_and_needs_one(profile: Profile) -> None:
    names = names_for(profile, certificate_request("", (), HOSTS), NODE, CLUSTER)
    assert names.dns_names == ("node-1.blue.example",)
    assert [str(address) for address in names.ip_addresses] == ["192.0.2.7", "2001:db8::7"]
    assert "needs a subjectAltName" in rejection(profile)


@pytest.mark.parametrize("profile", having(SanPolicy.HOST, SanPolicy.API_SERVER, SanPolicy.ANY), ids=by_name)
def test_wildcards_are_for_etcd_and_for_clients_only(profile: Profile) -> None:
    subject = ("jane",) if profile.sans is SanPolicy.ANY else ("",)
    if profile.name in {"etcd-server", "etcd-peer", "kube-apiserver-client"}:
        request = certificate_request(*subject, (), ["*.etcd.example"])
        assert names_for(profile, request, NODE, CLUSTER).dns_names == ("*.etcd.example",)
    else:
        assert "no wildcards" in rejection(profile, *subject, (), ["a.example", "*.etcd.example"])


def api_server(node: str = NODE, cluster: ClusterNames = CLUSTER, *hosts: str) -> Names:
    return names_for(PROFILES["apiserver"], certificate_request("", (), hosts), node, cluster)


def test_an_api_server_is_named_as_the_service_the_node_and_the_endpoint() -> None:
    names = api_server()
    assert names.dns_names == (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster",
        "kubernetes.default.svc.cluster.local",
        NODE,
        "api.blue.example",
    )
    assert names.ip_addresses == (ipaddress.ip_address("10.96.0.1"),)


def test_an_api_server_has_the_names_of_the_request_as_well_each_once() -> None:
    names = api_server(NODE, CLUSTER, "kubernetes", "lb.blue.example", "10.96.0.1", "192.0.2.7")
    assert names.dns_names == (*api_server().dns_names, "lb.blue.example")
    assert [str(address) for address in names.ip_addresses] == ["10.96.0.1", "192.0.2.7"]


def test_an_endpoint_or_a_node_that_is_an_address_is_named_as_one() -> None:
    cluster = replace(CLUSTER, endpoint=ipaddress.ip_address("192.0.2.1"))
    names = api_server("192.0.2.7", cluster)
    assert [str(address) for address in names.ip_addresses] == ["10.96.0.1", "192.0.2.7", "192.0.2.1"]
    assert len(names.dns_names) == 5


def test_the_service_address_is_the_first_of_the_service_range() -> None:
    cluster = replace(CLUSTER, service_cidr=ipaddress.ip_network("fd00:10:96::/112"))
    assert [str(address) for address in api_server(NODE, cluster).ip_addresses] == ["fd00:10:96::1"]


@pytest.mark.parametrize("node", ["123", "rack.7"])
def test_an_api_server_on_a_node_that_is_no_host_name_is_refused_with_a_pointer(node: str) -> None:
    with pytest.raises(InvalidError, match="last label is a number") as caught:
        api_server(node)
    assert [fault.pointer for fault in caught.value.faults] == ["/node"]


@pytest.mark.parametrize(
    "cluster",
    [
        replace(CLUSTER, dns_domain=DnsName("10.example")),
        replace(CLUSTER, dns_domain=DnsName(".".join(["a" * 60] * 4))),
        replace(CLUSTER, service_cidr=ipaddress.ip_network("10.96.0.0/32")),
    ],
    ids=["numeric", "long", "narrow"],
)
def test_a_cluster_whose_own_names_cannot_be_made_gets_a_refusal(cluster: ClusterNames) -> None:
    with pytest.raises(InvalidError, match="gives no name to an API server"):
        api_server(NODE, cluster)


PER_NODE = [profile for profile in EVERY_PROFILE if "{node}" in profile.common_name]


@pytest.mark.parametrize("profile", PER_NODE, ids=by_name)
def test_the_node_is_found_in_the_common_name_where_it_is_not_given(profile: Profile) -> None:
    hosts = HOSTS if profile.sans is SanPolicy.HOST else ()
    wanted = profile.common_name.replace("{node}", "node-2")
    request = certificate_request(wanted, (), hosts)
    assert names_for(profile, request, None, CLUSTER).common_name == wanted
    assert "has the CN" in rejection(profile, wanted, (), hosts, node="node-3")


@pytest.mark.parametrize("profile", [*PER_NODE, PROFILES["apiserver"]], ids=by_name)
def test_a_profile_for_nodes_needs_the_name_of_one(profile: Profile) -> None:
    assert profile.is_per_node
    hosts = HOSTS if profile.sans is SanPolicy.HOST else ()
    for node in (None, "", "Node_1", "a b", "a/b", "*"):
        with pytest.raises(InvalidError, match="needs the name of a node") as caught:
            names_for(profile, certificate_request("", (), hosts), node, CLUSTER)
        assert [fault.pointer for fault in caught.value.faults] == ["/node"]


def test_a_common_name_of_another_kind_names_no_node() -> None:
    for common_name in ("system:node:", "node-1", "system:nodes:node-1"):
        with pytest.raises(InvalidError, match="needs the name of a node"):
            names_for(PROFILES["kubelet-client"], certificate_request(common_name), None, CLUSTER)


def test_a_user_chooses_subject_and_names() -> None:
    request = certificate_request("jane@example.com", ["dev", "ops"], ["jane.example", "192.0.2.1"])
    assert names_for(PROFILES["kube-apiserver-client"], request, None, CLUSTER) == Names(
        "jane@example.com", ("dev", "ops"), request.dns_names, request.ip_addresses
    )


def test_a_user_needs_a_common_name() -> None:
    assert rejection(PROFILES["kube-apiserver-client"], "", ["dev"]) == "the subject needs a CN"


@pytest.mark.parametrize("groups", [["system:masters"], ["dev", "system:masters"]])
def test_nobody_gets_the_group_that_passes_by_every_authorizer(groups: list[str]) -> None:
    assert "no certificate may have the O system:masters" in rejection(
        PROFILES["kube-apiserver-client"], "jane", groups
    )
    # Nor by a row of the table that would grant it.
    profile = replace(PROFILES["admin"], organization="system:masters")
    assert "system:masters" in rejection(profile)


def test_a_common_name_over_64_octets_is_refused() -> None:
    node = "n" * 52
    names = names_for(PROFILES["kubelet-client"], certificate_request(), node, CLUSTER)
    assert len(names.common_name) == 64
    assert "longer than the 64 octets" in rejection(PROFILES["kubelet-client"], node=node + "n")
    assert "longer than the 64 octets" in rejection(
        PROFILES["etcd-peer"], "", (), HOSTS, node="n" * 63 + ".nn"
    )


def test_a_profile_is_found_by_name_and_trivets_own_is_not() -> None:
    assert profile_named("admin").name == "admin"
    for name in ("nonsense", SERVICE_PROFILE.name, ""):
        with pytest.raises(InvalidError, match="choose one of apiserver, "):
            profile_named(name)


def test_a_host_is_a_name_or_an_address() -> None:
    assert parse_host("::ffff:192.0.2.1") == ipaddress.ip_address("192.0.2.1")
    assert parse_host("A.Example.") == "a.example"
    with pytest.raises(ValueError, match="not a DNS name"):
        parse_host("a b")


@pytest.mark.parametrize("profile", EVERY_PROFILE, ids=by_name)
def test_the_names_of_a_certificate_are_those_that_it_was_given(profile: Profile) -> None:
    planned = plan(profile, private_key("P-256"))
    assert names_of(from_der(signed(planned))) == planned.names


def _foreign(subject: x509.Name, *extensions: x509.ExtensionType) -> x509.Certificate:
    certificate, key = root()
    builder = (
        x509.CertificateBuilder()
        .serial_number(1)
        .issuer_name(certificate.subject)
        .subject_name(subject)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
        .public_key(key.public_key())
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return sign(builder, key)


def test_the_names_of_a_foreign_certificate_are_normalised_for_comparison() -> None:
    names = names_of(
        _foreign(dn("jane", ["b", "a"]), sans("A.Example.", "under_score.example", "::ffff:192.0.2.1"))
    )
    assert names.organizations == ("b", "a")
    assert names.dns_names == ("a.example", "under_score.example")
    assert [str(address) for address in names.ip_addresses] == ["192.0.2.1"]
    assert names_of(_foreign(dn("jane"))) == Names("jane")


def test_other_kinds_of_subject_alt_name_are_left_out() -> None:
    others = [x509.RFC822Name("a@b"), x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))]
    names = names_of(_foreign(dn("jane"), x509.SubjectAlternativeName([x509.DNSName("a"), *others])))
    assert names == Names("jane", dns_names=(parse_dns_name("a"),))


def test_of_several_common_names_the_last_counts_as_it_does_for_kubernetes() -> None:
    assert names_of(_foreign(x509.Name([*dn("jane"), *dn("joan")]))).common_name == "joan"


def test_a_certificate_whose_names_cannot_be_read_is_malformed() -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "jane")])
    der = _foreign(subject).public_bytes(Encoding.DER)
    with pytest.raises(MalformedError, match="cannot be read"):
        names_of(from_der(der.replace(b"\x0c\x04jane", b"\x01\x04jane")))
