from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from tests.support import kubeadm
from tests.support.world import CLUSTER_NAMES, World
from tests.unit.pki.samples import private_key

from trivet.authority.create import ImportedRoot, create_cluster
from trivet.authority.install import OPERATOR
from trivet.authority.record import list_changes
from trivet.authority.search import list_generations
from trivet.pki.errors import ConflictError, InvalidError, MalformedError, Refusal
from trivet.pki.pem import from_der, to_pem
from trivet.pki.profiles import AuthorityName
from trivet.pki.roots import RootAlgorithm
from trivet.store import clusters

CLUSTER, ETCD = AuthorityName.CLUSTER, AuthorityName.ETCD
OTHER_CURVE = ("ecparam", "-genkey", "-noout", "-name", "brainpoolP160r1")
Roots = Mapping[AuthorityName, ImportedRoot]


@pytest.fixture(scope="session", params=["P-384", "RSA-2048", "P-256"])
def pki(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    require_tool: Callable[[str], str],
) -> Path:
    require_tool("openssl")
    return kubeadm.make_pki(tmp_path_factory.mktemp("pki"), request.param)


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str]) -> Roots:
    require_tool("openssl")
    return kubeadm.read_pki(kubeadm.make_pki(tmp_path_factory.mktemp("roots")))


@pytest.fixture
def today(world: World) -> World:
    """Give a world whose clock is a little ahead of openssl's, which makes roots while the test runs."""
    world.clock.now = datetime.now(UTC) + timedelta(minutes=1)
    return world


def _import(world: World, roots: Roots, name: str = "green") -> clusters.Cluster:
    return create_cluster(world.authority, OPERATOR, name, CLUSTER_NAMES, imported=roots)


def _refused(world: World, roots: Roots, kind: type[Refusal] = InvalidError) -> Refusal:
    with pytest.raises(kind) as caught:
        _import(world, roots)
    with world.authority.database.read() as connection:
        assert clusters.find(connection, "green") is None
    return caught.value


class TestCreate:
    def test_a_cluster_gets_three_roots_of_its_own(self, world: World) -> None:
        world.make_cluster("green")
        blue, green = (list_generations(world.authority, OPERATOR, name) for name in ("blue", "green"))
        certificates = [from_der(generation.certificate) for generation in (*blue, *green)]
        assert len({certificate.subject.public_bytes() for certificate in certificates}) == 6
        keys = {certificate.public_key().public_numbers() for certificate in certificates}  # type: ignore[union-attr]
        assert len(keys) == 6
        for certificate in certificates:
            certificate.verify_directly_issued_by(certificate)
            assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)

    def test_rsa_4096_may_be_chosen(self, world: World) -> None:
        create_cluster(world.authority, OPERATOR, "green", CLUSTER_NAMES, algorithm=RootAlgorithm.RSA_4096)
        for generation in list_generations(world.authority, OPERATOR, "green"):
            key = from_der(generation.certificate).public_key()
            assert isinstance(key, rsa.RSAPublicKey)
            assert key.key_size == 4096
        world.issue(cluster="green")

    def test_a_second_cluster_of_the_name_is_refused(self, world: World) -> None:
        before = list_generations(world.authority, OPERATOR, "blue")
        with pytest.raises(ConflictError):
            world.make_cluster("blue")
        assert list_generations(world.authority, OPERATOR, "blue") == before

    @pytest.mark.parametrize("name", ["", "Blue", "a.b", "-a", "../x", "a\x00", "\ud800", "a" * 64, "a b"])
    def test_a_name_is_an_rfc_1123_label(self, world: World, name: str) -> None:
        with pytest.raises(InvalidError) as caught:
            world.make_cluster(name)
        assert [fault.pointer for fault in caught.value.faults] == ["/name"]

    def test_the_longest_name_is_accepted(self, world: World) -> None:
        world.make_cluster("a" * 63)
        world.issue(cluster="a" * 63)

    def test_making_a_cluster_leaves_a_record(self, world: World) -> None:
        world.clock.advance(seconds=1)
        green = world.make_cluster("green")
        change = list_changes(world.authority, OPERATOR, None, 1)[0]
        assert (change.action, change.object, change.cluster_id) == ("cluster.create", "green", green.id)

    def test_the_same_key_gives_the_same_cluster(self, world: World) -> None:
        def create(name: str) -> clusters.Cluster:
            return create_cluster(world.authority, OPERATOR, name, CLUSTER_NAMES, idempotency_key="key")

        assert create("green") == create("green")
        with pytest.raises(Refusal, match="different request"):
            create("red")


class TestImport:
    """A kubeadm `pki/` folder made by openssl."""

    @pytest.mark.parametrize(
        ("authority", "profile"),
        [(CLUSTER, "apiserver"), (ETCD, "etcd-peer"), (AuthorityName.FRONT_PROXY, "front-proxy-client")],
    )
    def test_a_leaf_of_an_imported_root_verifies_against_the_old_certificate(
        self, today: World, pki: Path, tmp_path: Path, authority: AuthorityName, profile: str
    ) -> None:
        _import(today, kubeadm.read_pki(pki))
        issued = today.issue(profile, "node-1", cluster="green")
        name, common_name = kubeadm.FILES[authority]
        (tmp_path / "leaf.pem").write_bytes(to_pem([from_der(issued.stored.der)]))
        root = str(pki / f"{name}.crt")
        verify = ("verify", "-CAfile", root, "leaf.pem")
        assert kubeadm.openssl(*verify, cwd=tmp_path) == "leaf.pem: OK\n"
        assert from_der(issued.stored.der).issuer.rfc4514_string() == f"CN={common_name}"
        assert issued.issuer == x509.load_pem_x509_certificate(Path(root).read_bytes()).public_bytes(
            Encoding.DER
        )

    def test_importing_leaves_a_record(self, today: World, roots: Roots) -> None:
        _import(today, roots)
        actions = {
            change.object: change.action for change in list_changes(today.authority, OPERATOR, None, 9)
        }
        assert actions == {"blue": "cluster.create", "green": "cluster.import", "chain 1": "proof.begin"}

    def test_a_folder_is_imported_once(self, today: World, roots: Roots) -> None:
        # Certificates of one cluster must mean nothing in another.
        _import(today, roots)
        with pytest.raises(ConflictError) as caught:
            _import(today, roots, "red")
        assert caught.value.faults[0].pointer == "/import/cluster"
        with today.authority.database.read() as connection:
            assert clusters.find(connection, "red") is None

    def test_a_key_that_is_hosted_already_is_refused_under_a_new_certificate(
        self, today: World, roots: Roots, tmp_path: Path
    ) -> None:
        _import(today, roots)
        kubeadm.make_pki(tmp_path)
        (tmp_path / "etcd/ca.key").write_bytes(roots[ETCD].private_key)
        again = (
            "req",
            "-x509",
            "-new",
            "-key",
            "etcd/ca.key",
            "-config",
            "etcd/ca.cnf",
            "-out",
            "etcd/ca.crt",
        )
        kubeadm.openssl(*again, cwd=tmp_path)
        with pytest.raises(ConflictError) as caught:
            _import(today, kubeadm.read_pki(tmp_path), "red")
        assert caught.value.faults[0].pointer == "/import/etcd"

    @pytest.mark.parametrize("missing", kubeadm.FILES)
    def test_all_three_roots_are_needed(self, today: World, roots: Roots, missing: AuthorityName) -> None:
        others = {name: root for name, root in roots.items() if name != missing}
        refusal = _refused(today, others)
        assert [fault.pointer for fault in refusal.faults] == [f"/import/{missing}"]
        assert _refused(today, {}).faults

    def test_the_wrong_key_is_refused(self, today: World, roots: Roots) -> None:
        mixed = replace(roots[CLUSTER], private_key=roots[ETCD].private_key)
        refusal = _refused(today, {**roots, CLUSTER: mixed})
        assert "does not belong" in refusal.detail
        assert [fault.pointer for fault in refusal.faults] == ["/import/cluster"]

    @pytest.mark.parametrize("days", [-1, 3651])
    def test_a_root_outside_of_its_validity_is_refused(self, today: World, roots: Roots, days: int) -> None:
        today.clock.advance(days=days)
        assert "valid from" in _refused(today, roots).detail

    def test_one_root_for_two_authorities_is_refused(self, today: World, roots: Roots) -> None:
        assert "three different keys" in _refused(today, {**roots, CLUSTER: roots[ETCD]}).detail

    def test_what_is_no_ca_is_refused(self, today: World, roots: Roots, tmp_path: Path) -> None:
        kubeadm.make_root(tmp_path, "ca", "kubernetes", is_ca=False)
        assert "not a CA" in _refused(today, {**roots, CLUSTER: kubeadm.read_root(tmp_path, "ca")}).detail

    @pytest.mark.parametrize("key", ["RSA-1024", "Ed25519"])
    def test_a_key_of_no_accepted_kind_is_refused(
        self, today: World, roots: Roots, tmp_path: Path, key: str
    ) -> None:
        kubeadm.make_root(tmp_path, "ca", "kubernetes", key)
        _refused(today, {**roots, CLUSTER: kubeadm.read_root(tmp_path, "ca")})

    def test_an_intermediate_is_refused(self, today: World, roots: Roots, tmp_path: Path) -> None:
        kubeadm.make_pki(tmp_path)
        request = ("req", "-new", "-key", "ca.key", "-config", "ca.cnf", "-out", "ca.csr")
        kubeadm.openssl(*request, cwd=tmp_path)
        sign = ("x509", "-req", "-in", "ca.csr", "-CA", "etcd/ca.crt", "-CAkey", "etcd/ca.key", "-days", "9")
        extensions = ("-extfile", "ca.cnf", "-extensions", "root", "-out", "ca.crt")
        kubeadm.openssl(*sign, *extensions, cwd=tmp_path)
        refusal = _refused(today, {**roots, CLUSTER: kubeadm.read_root(tmp_path, "ca")})
        assert "not self-signed" in refusal.detail

    @pytest.mark.parametrize(
        "text", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    )
    def test_garbage_for_a_certificate_is_refused(self, today: World, roots: Roots, text: bytes) -> None:
        _refused(today, {**roots, CLUSTER: replace(roots[CLUSTER], certificate=text)}, MalformedError)

    def test_two_certificates_are_refused(self, today: World, roots: Roots) -> None:
        both = roots[CLUSTER].certificate + roots[ETCD].certificate
        _refused(today, {**roots, CLUSTER: replace(roots[CLUSTER], certificate=both)})

    @pytest.mark.parametrize("kind", ["empty", "garbage", "encrypted", "another curve", "a certificate"])
    def test_garbage_for_a_key_is_refused_and_not_repeated(
        self, today: World, roots: Roots, tmp_path: Path, kind: str
    ) -> None:
        secret = private_key("P-384")
        text = {
            "empty": b"",
            "garbage": b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
            "encrypted": secret.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
            ),
            "another curve": kubeadm.openssl(*OTHER_CURVE, cwd=tmp_path).encode(),
            "a certificate": roots[CLUSTER].certificate,
        }[kind]
        refusal = _refused(today, {**roots, CLUSTER: replace(roots[CLUSTER], private_key=text)})
        assert "c2VjcmV0" not in repr((refusal, refusal.faults, refusal.__cause__))

    def test_the_private_key_is_not_in_the_repr(self, roots: Roots) -> None:
        assert "PRIVATE" not in repr(roots)

    def test_what_is_issued_does_not_outlive_the_imported_root(self, today: World, roots: Roots) -> None:
        _import(today, roots)
        root = x509.load_pem_x509_certificate(roots[CLUSTER].certificate)
        today.clock.now = root.not_valid_after_utc - timedelta(days=1)
        assert today.issue(cluster="green").stored.not_after == root.not_valid_after_utc
