from __future__ import annotations

import json
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from trivet.agent.plan import BadPlanError, CertificatePlan, parse_plan
from trivet.agent.plan.builtin import BUILT_IN, Choices, built_in_plan, needs_endpoint
from trivet.agent.plan.document import MAX_BYTES
from trivet.agent.plan.model import Encoding, EncryptionAlgorithm, KubeconfigStorage, PairStorage
from trivet.pki.profiles import AuthorityName

PEER: dict[str, Any] = {
    "name": "peer",
    "profile": "etcd-peer",
    "certFile": "/pki/peer.crt",
    "keyFile": "/pki/peer.key",
    "certSANs": ["cp-1", "10.0.0.10"],
}
CLIENT: dict[str, Any] = {"name": "kubelet", "profile": "kubelet-client", "combinedFile": "/k/current.pem"}
ADMIN: dict[str, Any] = {"name": "admin", "file": "/admin.conf", "profile": "admin"}
CA: dict[str, Any] = {"name": "ca", "authority": "cluster", "file": "/pki/ca.crt"}


def document(**spec: Any) -> dict[str, Any]:  # noqa: ANN401  any YAML
    usual = {"clusterName": "prod", "nodeName": "cp-1", "controlPlaneEndpoint": "api.example"}
    return {
        "apiVersion": "trivet.io/v1",
        "kind": "CertificatePlan",
        "metadata": {"name": "test"},
        "spec": {key: value for key, value in (usual | spec).items() if value is not ...},
    }


def read(**spec: Any) -> CertificatePlan:  # noqa: ANN401
    return parse_plan(written(document(**spec)), "plan.yaml")


def written(plan: object) -> bytes:
    # Through JSON: a list that stands in two places would be written as an alias.
    return yaml.safe_dump(json.loads(json.dumps(plan)), sort_keys=False).encode()


def faults(text: str | bytes) -> list[str]:
    with pytest.raises(BadPlanError) as refused:
        parse_plan(text if isinstance(text, bytes) else text.encode(), "plan.yaml")
    return str(refused.value).splitlines()


def faults_of(**spec: Any) -> str:  # noqa: ANN401
    return "\n".join(faults(written(document(**spec))))


def test_a_plan_is_read_with_its_defaults() -> None:
    plan = read(certificates=[PEER], kubeconfigs=[ADMIN], trustBundles=[CA])
    peer, admin = plan.certificates
    assert isinstance(peer.storage, PairStorage)
    assert (peer.storage.certificate.mode, peer.storage.key.mode) == (0o644, 0o600)
    assert peer.algorithm is EncryptionAlgorithm.P384
    assert (peer.validity, peer.hook, peer.probe) == (None, None, None)
    assert (peer.names.common_name, peer.names.dns_names) == ("cp-1", ("cp-1",))
    assert peer.authority is AuthorityName.ETCD
    assert isinstance(admin.storage, KubeconfigStorage)
    assert (admin.storage.server, admin.storage.user) == ("https://api.example:6443", "kubernetes-admin")
    assert plan.trust_bundles[0].file.path == PurePosixPath("/pki/ca.crt")


def test_what_a_plan_says_comes_before_what_it_says_for_all_and_that_before_the_profile() -> None:
    plan = read(
        encryptionAlgorithm="RSA-4096",
        certificateValidityPeriod="400h",
        certificates=[
            PEER,
            CLIENT | {"encryptionAlgorithm": "ECDSA-P384", "certificateValidityPeriod": "1h30m"},
        ],
    )
    peer, client = plan.certificates
    assert (peer.algorithm, client.algorithm) == (EncryptionAlgorithm.RSA_4096, EncryptionAlgorithm.P384)
    # No more than the profile grants; who asks for more of one certificate is told so.
    assert (peer.validity, client.validity) == (timedelta(days=4), timedelta(minutes=90))


def test_an_api_server_is_named_as_the_service_names_it() -> None:
    api = PEER | {"profile": "apiserver", "certSANs": ["10.0.0.10"]}
    (planned,) = read(
        controlPlaneEndpoint="api.example:8443",
        networking={"serviceSubnet": "172.20.0.0/16,fd00::/112", "dnsDomain": "k.local"},
        certificates=[api],
    ).certificates
    names = planned.names
    assert set(names.dns_names) >= {"kubernetes.default.svc.k.local", "cp-1", "api.example"}
    assert list(map(str, names.ip_addresses)) == ["172.20.0.1", "10.0.0.10"]


@pytest.mark.parametrize("name", list(BUILT_IN))
@pytest.mark.parametrize("addresses", [(), ("10.0.0.10",), ("2001:db8::10", "10.0.0.10")], ids=len)
def test_a_built_in_plan_is_right_as_it_is(name: str, addresses: tuple[str, ...]) -> None:
    endpoint = "api.example:8443" if needs_endpoint(name) else None
    choices = Choices(
        "prod", "cp-1.example", endpoint, addresses, EncryptionAlgorithm.RSA_4096, "10.0.0.0/16", "k"
    )
    text = built_in_plan(name, choices)
    plan = parse_plan(text.encode())
    assert (plan.name, plan.cluster, plan.node) == (name, "prod", "cp-1.example")
    assert max(map(len, text.splitlines())) <= 120
    assert {planned.algorithm for planned in plan.certificates} == {EncryptionAlgorithm.RSA_4096}


def test_the_built_in_plans_hold_kubeadms_whole_layout() -> None:
    # kubeadm's cmd/kubeadm/app/constants/constants.go, less the keys of CAs and super-admin.conf.
    plan = parse_plan(built_in_plan("control-plane", Choices("prod", "cp-1", "api.example")).encode())
    files = {str(file.path) for planned in plan.certificates for file in planned.files}
    files |= {str(bundle.file.path) for bundle in plan.trust_bundles}
    files |= {str(kubeconfig.file.path) for kubeconfig in plan.kubeconfigs}
    assert plan.service_account is not None
    files |= {str(plan.service_account.key.path), str(plan.service_account.public_key.path)}
    pairs = ("apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-client",
             "etcd/server", "etcd/peer", "etcd/healthcheck-client")  # fmt: skip
    pki = {f"{stem}.{kind}" for stem in pairs for kind in ("crt", "key")}
    pki |= {"ca.crt", "front-proxy-ca.crt", "etcd/ca.crt", "sa.key", "sa.pub"}
    kubelet = ("kubelet-client-current.pem", "kubelet.crt", "kubelet.key")
    assert files == (
        {f"/etc/kubernetes/pki/{name}" for name in pki}
        | {f"/etc/kubernetes/{name}.conf" for name in ("admin", "controller-manager", "scheduler", "kubelet")}
        | {f"/var/lib/kubelet/pki/{name}" for name in kubelet}
    )
    modes = {file.path.suffix: file.mode for planned in plan.certificates for file in planned.files}
    assert modes == {".crt": 0o644, ".key": 0o600, ".pem": 0o600, ".conf": 0o600}


def test_in_the_topology_of_aks_hybrid_the_cluster_ca_signs_what_etcd_shows_to_the_api_server() -> None:
    plan = parse_plan(built_in_plan("control-plane-aks", Choices("prod", "cp-1", "api.example")).encode())
    authorities = {planned.name: planned.authority for planned in plan.certificates}
    assert authorities["etcd-server"] is AuthorityName.CLUSTER
    assert authorities["etcd-peer"] is AuthorityName.ETCD


def test_every_fault_is_told_at_once_with_line_and_column_and_what_would_be_accepted() -> None:
    text = """\
apiVersion: trivet.io/v2
kind: CertificatePlan
metadata: {name: test}
spec:
  clusterName: prod
  nodeName: cp-1
  certificates:
  - name: peer
    profile: etcd-peeer
    certFle: /pki/peer.crt
    keyMode: 0600
"""
    assert faults(text) == [
        "plan.yaml:1:1: /apiVersion: must be one of trivet.io/v1; did you mean trivet.io/v1?",
        "plan.yaml:8:5: /spec/certificates/0: needs certFile and keyFile, or combinedFile alone",
        "plan.yaml:9:5: /spec/certificates/0/profile: " + faults(text)[2].partition("profile: ")[2],
        "plan.yaml:10:5: /spec/certificates/0/certFle: " + faults(text)[3].partition("certFle: ")[2],
        "plan.yaml:11:5: /spec/certificates/0/keyMode: must be a string (quote it)",
    ]
    assert "did you mean etcd-peer?" in faults(text)[2]
    assert "unknown field; did you mean certFile?" in faults(text)[3]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"certificates": [PEER | {"keyFile": "/other/peer.key"}]}, "must be in the folder of certFile, /pki"),
        ({"certificates": [PEER, CLIENT | {"name": "peer"}]}, "peer is the name of another in this plan"),
        (
            {"certificates": [PEER, PEER | {"name": "b", "keyFile": "/pki/b.key"}]},
            "is the file of /spec/certificates/0/certFile already",
        ),
        ({"certificates": [PEER], "trustBundles": [CA | {"file": "/pki/peer.crt/ca"}]}, "lies below /pki/peer.crt"),
        ({"certificates": [PEER | {"certSANs": []}]}, "needs a subjectAltName"),
        ({"certificates": [PEER | {"certSANs": ["a_b"]}]}, "is not a DNS name"),
        ({"certificates": [PEER | {"commonName": "x"}]}, "gives the subject; leave out commonName"),
        ({"certificates": [CLIENT | {"certSANs": ["x"]}]}, "has no subjectAltNames; leave them out"),
        ({"certificates": [CLIENT | {"certificateValidityPeriod": "97h"}]}, "grants 96h at most"),
        ({"certificates": [CLIENT | {"certificateValidityPeriod": "9m"}]}, "lives at least 10m"),
        ({"certificateValidityPeriod": "1s", "certificates": [CLIENT]}, "lives at least 10m"),
        ({"certificates": [CLIENT | {"keyMode": "0644"}]}, "a private key is for its owner and one group at most"),
        ({"certificates": [CLIENT | {"combinedFile": "/k/../x"}]}, "an absolute path without . or .."),
        ({"certificates": [CLIENT | {"combinedFile": "/k/.trivet/x"}]}, "or .trivet in it"),
        ({"certificates": [CLIENT | {"owner": "a b"}]}, "the name of a user or group"),
        (
            {"certificates": [CLIENT | {"probe": {"address": "127.0.0.1"}}]},
            "needs a port: host:port, or [address]:port for IPv6",
        ),
        ({"certificates": [CLIENT | {"probe": {"address": "a:0"}}]}, "not one of 1 to 65535"),
        (
            {"certificates": [CLIENT | {"probe": {"address": "a:1", "serves": "ca"}}], "trustBundles": [CA]},
            "names no certificate of this plan; there are kubelet",
        ),
        ({"certificates": [CLIENT | {"hook": {"command": []}}]}, "must have 1 to 100 items"),
        ({"certificates": [PEER | {"profile": "apiserver"}], "controlPlaneEndpoint": ...}, "is named after it"),
        ({"kubeconfigs": [ADMIN], "controlPlaneEndpoint": ...}, "is required where the plan has no control"),
        ({"kubeconfigs": [ADMIN | {"clientCertificate": "x"}]}, "needs profile or clientCertificate, and not both"),
        ({"kubeconfigs": [ADMIN | {"profile": "etcd-peer"}]}, "the API server knows nobody by a certificate of"),
        ({"kubeconfigs": [ADMIN | {"profile": "apiserver"}]}, "the API server knows nobody by a certificate of"),
        (
            {"kubeconfigs": [{"name": "k", "file": "/k.conf", "clientCertificate": "nobody"}]},
            "names no certificate of this plan; there are none",
        ),
        (
            {
                "certificates": [CLIENT],
                "kubeconfigs": [
                    {"name": "k", "file": "/k.conf", "clientCertificate": "kubelet", "organizations": ["x"]}
                ],
            },
            "goes with profile, not with clientCertificate",
        ),
        ({"kubeconfigs": [ADMIN | {"server": "http://x"}]}, "must be an https URL"),
        ({"kubeconfigs": [ADMIN | {"mode": None}]}, "has no value; give it one, or leave the field out"),
        ({"clusterName": "Prod"}, "a cluster's name"),
        ({"nodeName": ...}, "is required: this node"),
        ({"networking": {"serviceSubnet": "10.96.0.1/12"}}, "has host bits set"),
        ({"serviceAccountKey": {"keyFile": "/sa.key", "publicKeyFile": "/sa.pub", "create": "no"}}, "true or false"),
        ({"trustBundles": [CA | {"authority": "service"}]}, "must be one of cluster, etcd, front-proxy"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_words(spec: dict[str, Any], words: str) -> None:
    told = faults_of(**spec)
    assert words in told
    assert len(told.splitlines()) == 1, told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "plan.yaml:1:1: /: it is empty"),
        ("[1, 2]", "plan.yaml:1:1: /: must be an object with apiVersion, kind, metadata, spec"),
        ("kind: a\nkind: b\n", "plan.yaml:2:1: /kind: this field stands twice; remove one"),
        ("kind: &a x\n", "plan.yaml:1:7: /: anchors and aliases are not accepted; write it out"),
        ("kind: !!python/object:os.system x", "the tag tag:yaml.org,2002:python/object:os.system is not accepted"),
        ("kind: !!set {a}", "plan.yaml:1:7: /kind: the tag tag:yaml.org,2002:set is not accepted"),
        ("1: x\n", "plan.yaml:1:1: /1: a field's name must be text (quote it)"),
        ("kind: [a\nb", "plan.yaml:2:2: /: it is not YAML: while parsing a flow sequence"),
        ("a: b\n---\nc: d\n", "plan.yaml:2:1: /: it is not YAML: expected a single document"),
        ("kind: a\n\tb: c", "plan.yaml:2:1: /: it is not YAML"),
        ("kind: a\nx: \x00", "plan.yaml:2:4: /: it is not YAML: it holds a control character"),
        (b"kind: a\nx: \xff", "plan.yaml:2:4: /: it is not UTF-8 text"),
        ("kind: !!bool maybe", "/kind: must be one of CertificatePlan"),
        ("kind: !!int ''", "/kind: must be one of CertificatePlan"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_plan_at_all_is_refused_with_its_place(text: str | bytes, told: str) -> None:
    assert any(line.startswith(told) or told in line for line in faults(text)), faults(text)


@pytest.mark.parametrize(
    "bomb",
    [
        "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "[" * 250_000,
        "{a: " * 60_000,
        "- " * 120_000,
        "? " * 100_000,
        "x" * (MAX_BYTES + 1),
        "a: " + "9" * 250_000,
        "a: " + "1:" * 100_000 + "1",
        "a: 1e" + "9" * 100_000,
        "\n".join(f"k{number}: 1" for number in range(10_000)),
    ],
    ids=lambda bomb: bomb[:8],
)
@pytest.mark.timeout(20)
def test_a_small_file_that_asks_for_much_is_refused_soon(bomb: str) -> None:
    assert faults(bomb)[0].startswith("plan.yaml:")


def test_a_revocation_list_is_read_with_its_defaults() -> None:
    crl = {"name": "crl", "authority": "cluster", "file": "/pki/ca.crl"}
    (planned,) = read(trustBundles=[CA], revocationLists=[crl]).revocation_lists
    assert (planned.encoding, planned.interval, planned.file.mode) == (
        Encoding.PEM,
        timedelta(seconds=30),
        0o644,
    )
    as_der = crl | {"format": "DER", "refreshInterval": "5s", "hook": {"command": ["nginx", "-s", "reload"]}}
    (planned,) = read(trustBundles=[CA], revocationLists=[as_der]).revocation_lists
    assert (planned.encoding, planned.interval) == (Encoding.DER, timedelta(seconds=5))
    assert planned.hook is not None


def test_a_revocation_list_needs_a_trust_bundle_and_is_not_asked_for_without_pause() -> None:
    crl = {"name": "crl", "authority": "etcd", "file": "/pki/ca.crl", "refreshInterval": "4s"}
    told = faults_of(trustBundles=[CA], revocationLists=[crl])
    assert "/spec/revocationLists/0/authority" in told
    assert "needs a trust bundle of the authority etcd" in told
    assert "must be at least 5s" in told
    assert "is the file of" in faults_of(trustBundles=[CA], revocationLists=[crl | {"file": "/pki/ca.crt"}])


def test_the_plan_of_an_etcd_member_keeps_the_crl_that_etcd_reads() -> None:
    (planned,) = parse_plan(
        built_in_plan("etcd-member", Choices("prod", "etcd-1", addresses=("10.0.0.1",))).encode(), "x"
    ).revocation_lists
    assert (planned.authority, planned.encoding) == (AuthorityName.ETCD, Encoding.DER)
    assert planned.file.path == PurePosixPath("/etc/kubernetes/pki/etcd/ca.crl")
