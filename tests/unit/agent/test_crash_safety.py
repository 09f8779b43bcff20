from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from tests.support.node_pairs import BUNDLE, COMBINED, KUBECONFIG, PAIR, pair, planned
from tests.unit.agent.crashing import Crash, CrashingDisk, as_a_component_reads, each_crash

from trivet.agent.files import Disk, FileFaultError, KeyPair, NodeFiles
from trivet.agent.plan.model import CertificatePlan, PlannedCertificate, Storage
from trivet.pki.names import parse_dns_name, parse_ip_network
from trivet.pki.subjects import ClusterNames

STORAGES: dict[str, Storage] = {"pair": PAIR, "combined": COMBINED, "kubeconfig": KUBECONFIG}
NAMES = ClusterNames(parse_dns_name("localhost"), parse_ip_network("10.96.0.0/12"), parse_dns_name("a.local"))


def plan_of(*certificates: PlannedCertificate) -> CertificatePlan:
    return CertificatePlan("test", "demo", "cp-1", NAMES, certificates)


@pytest.fixture(params=list(STORAGES))
def storage(request: pytest.FixtureRequest) -> Storage:
    return STORAGES[request.param]


@pytest.fixture
def new_root(tmp_path: Path) -> Callable[[], Path]:
    numbers = count()

    def make() -> Path:
        root = tmp_path / str(next(numbers))
        root.mkdir()
        return root

    return make


def put_regular(root: Path, certificate: PlannedCertificate, number: int) -> None:
    """What kubeadm or kubelet would have written: regular files, no links."""
    NodeFiles(root).install(certificate, pair(number), BUNDLE)
    for file in certificate.files:
        path = root / str(file.path)[1:]
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    shutil.rmtree(path.parent / ".trivet", ignore_errors=True)
    for left in path.parent.glob("*-2026-*"):
        left.unlink()


# What was there before, and which pairs a reader may find afterwards.
BEGINNINGS: dict[str, tuple[Callable[[Path, PlannedCertificate], None], set[int]]] = {
    "nothing": (lambda _root, _certificate: None, set()),
    "ours": (lambda root, certificate: NodeFiles(root).install(certificate, pair(1), BUNDLE), {1}),
    "regular": (lambda root, certificate: put_regular(root, certificate, 1), {1}),
}


@pytest.mark.parametrize("beginning", list(BEGINNINGS))
def test_after_a_crash_at_any_step_the_pair_is_the_old_or_the_new_one(
    storage: Storage, beginning: str, new_root: Callable[[], Path]
) -> None:
    certificate = planned(storage)
    begin, former = BEGINNINGS[beginning]
    seen: set[int] = set()

    def prepare() -> Path:
        root = new_root()
        begin(root, certificate)
        return root

    def check(root: Path, _steps: int) -> None:
        # Even before anything is mended: components read while we are down.
        before = as_a_component_reads(root, certificate)
        assert before in [pair_as_read(1) if former else None, pair_as_read(2)]
        files = NodeFiles(root)
        files.recover(plan_of(certificate))
        found = as_a_component_reads(root, certificate)
        assert found == (None if before is None else _Same(before.certificate.serial_number & 0xFF))
        number = 0 if found is None else found.certificate.serial_number & 0xFF
        assert number in (former or {0}) | {2}
        seen.add(number)
        assert leftovers(root) == []
        # And it goes on from there.
        files.install(certificate, pair(3), BUNDLE)
        assert as_a_component_reads(root, certificate) == pair_as_read(3)

    steps = each_crash(
        prepare, lambda root, disk: NodeFiles(root, disk).install(certificate, pair(2), BUNDLE), check
    )
    assert steps > 5
    assert seen == (former or {0}) | {2}


def pair_as_read(number: int) -> object:
    return _Same(number)


class _Same:
    """Equal to a pair by its certificate; that its key belongs to it was checked when it was read."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.certificate = pair(number).certificate

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same | KeyPair) and other.certificate == self.certificate

    def __hash__(self) -> int:
        return self.number


def leftovers(root: Path) -> list[Path]:
    """Links and files that are staged, and versions that are not whole."""
    found = [path for path in root.rglob("*") if path.name.endswith((".new", ".link", ".trivet-new"))]
    return [*found, *root.rglob("*-updated.pem")]


def test_a_crash_while_a_crash_is_mended_does_no_harm(new_root: Callable[[], Path]) -> None:
    certificate = planned(PAIR)
    whole = CrashingDisk()
    NodeFiles(new_root(), whole).install(certificate, pair(2))
    for steps in range(len(whole.done)):

        def prepare(steps: int = steps) -> Path:
            root = new_root()
            put_regular(root, certificate, 1)
            try:
                NodeFiles(root, CrashingDisk(steps)).install(certificate, pair(2))
            except Crash:
                return root
            return root

        def check(root: Path, _steps: int) -> None:
            NodeFiles(root).recover(plan_of(certificate))
            assert as_a_component_reads(root, certificate) in [pair_as_read(1), pair_as_read(2)]

        each_crash(
            prepare, lambda root, disk: _ignored(NodeFiles(root, disk).recover(plan_of(certificate))), check
        )


def _ignored(_result: object) -> None:
    pass


def test_what_a_link_leads_to_is_on_the_disk_before_the_link_is_switched(
    storage: Storage, new_root: Callable[[], Path]
) -> None:
    disk = CrashingDisk()
    NodeFiles(new_root(), disk).install(planned(storage), pair(1), BUNDLE)
    unsynced: set[Path] = set()
    for step, path in disk.done:
        if step in {"create", "write", "chmod", "chown"}:
            unsynced.add(path)
        elif step == "fsync":
            unsynced.discard(path)
        elif step == "rename":
            assert not unsynced, path
    assert disk.done[-1][0] in {"fsync folder", "unlink"}
    renames = [number for number, (step, _) in enumerate(disk.done) if step == "rename"]
    assert all(disk.done[number + 1][0] == "fsync folder" for number in renames)


def test_only_the_last_version_is_kept(new_root: Callable[[], Path]) -> None:
    for storage, pattern in ((PAIR, ".trivet/server.crt/2*"), (COMBINED, "kubelet-client-2*.pem")):
        root = new_root()
        files = NodeFiles(root)
        for number in range(1, 6):
            files.install(planned(storage), pair(number))
        folder = (root / str(planned(storage).files[0].path)[1:]).parent
        assert len(list(folder.glob(pattern))) == 2


def test_the_same_pair_can_be_put_in_place_again(storage: Storage, new_root: Callable[[], Path]) -> None:
    root = new_root()
    for _ in range(3):
        NodeFiles(root).install(planned(storage), pair(1), BUNDLE)
        assert as_a_component_reads(root, planned(storage)) == pair_as_read(1)


def test_links_are_relative_and_stay_in_their_folder(new_root: Callable[[], Path]) -> None:
    root = new_root()
    NodeFiles(root).install(planned(PAIR), pair(1))
    # etcd's static pod mounts pki/etcd alone, elsewhere.
    (root / "etc/kubernetes/pki/etcd").rename(root / "mounted")
    certificate, key = root / "mounted/server.crt", root / "mounted/server.key"
    assert str(certificate.readlink()) == ".trivet/server.crt/current/server.crt"
    assert (certificate.stat().st_mode & 0o777, key.stat().st_mode & 0o777) == (0o644, 0o600)
    assert key.read_bytes() == pair(1).key_pem


def test_kubelets_link_leads_to_a_file_named_after_its_time(new_root: Callable[[], Path]) -> None:
    root = new_root()
    NodeFiles(root).install(planned(COMBINED), pair(2))
    link = root / "var/lib/kubelet/pki/kubelet-client-current.pem"
    assert str(link.readlink()) == "kubelet-client-2026-11-24-06-42-00.pem"
    assert link.stat().st_mode & 0o777 == 0o600
    # As kubelet itself makes it: absolute, which below a root would lead out of it.
    link.unlink()
    link.symlink_to("/var/lib/kubelet/pki/kubelet-client-2026-11-24-06-42-00.pem")
    assert NodeFiles(root).read(planned(COMBINED)) == pair_as_read(2)


def test_a_pair_that_somebody_put_in_the_place_of_the_links_is_theirs(new_root: Callable[[], Path]) -> None:
    root = new_root()
    files, certificate = NodeFiles(root), planned(PAIR)
    files.install(certificate, pair(1))
    folder = root / "etc/kubernetes/pki/etcd"
    for name, text in (("server.crt", pair(5).certificates_pem), ("server.key", pair(5).key_pem)):
        (folder / name).unlink()
        (folder / name).write_bytes(text)
    assert files.recover(plan_of(certificate)) == ()
    assert files.read(certificate) == pair_as_read(5)
    files.install(certificate, pair(6))
    assert files.read(certificate) == pair_as_read(6)
    assert (folder / ".trivet/server.crt/taken-over/server.key").read_bytes() == pair(5).key_pem


def test_a_lone_key_is_kept_when_a_pair_comes(new_root: Callable[[], Path]) -> None:
    root = new_root()
    folder = root / "etc/kubernetes/pki/etcd"
    folder.mkdir(parents=True)
    (folder / "server.key").write_bytes(pair(1).key_pem)
    files, certificate = NodeFiles(root), planned(PAIR)
    with pytest.raises(FileFaultError, match="it is missing, though server"):
        files.read(certificate)
    files.install(certificate, pair(2))
    assert files.read(certificate) == pair_as_read(2)
    assert (folder / ".trivet/server.crt/taken-over/server.key").read_bytes() == pair(1).key_pem


def test_a_disk_that_refuses_leaves_the_former_pair_and_no_remains(
    storage: Storage, new_root: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = new_root()
    certificate = planned(storage)
    NodeFiles(root).install(certificate, pair(1), BUNDLE)
    before = sorted(map(str, root.rglob("*")))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    for call in ("write", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            with pytest.raises(FileFaultError, match="No space left on device") as refused:
                NodeFiles(root, Disk()).install(certificate, pair(2), BUNDLE)
        assert refused.value.reason == "noSpace"
        assert str(root) in str(refused.value.path)
        assert sorted(map(str, root.rglob("*"))) == before
        assert NodeFiles(root).read(certificate) == pair_as_read(1)


def test_folders_can_be_passed_by_an_etcd_that_is_not_root_whatever_the_umask(
    storage: Storage, new_root: Callable[[], Path]
) -> None:
    root = new_root()
    former = os.umask(0o077)  # as the systemd unit has it
    try:
        for number in (1, 2):
            NodeFiles(root).install(planned(storage), pair(number), BUNDLE)
    finally:
        os.umask(former)
    folders = [path for path in root.rglob("*") if path.is_dir() and not path.is_symlink()]
    assert folders
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o755}


def test_links_that_somebody_removed_come_back_and_never_a_key_before_its_certificate(
    new_root: Callable[[], Path],
) -> None:
    certificate = planned(PAIR)
    folder = "etc/kubernetes/pki/etcd"

    def prepare() -> Path:
        root = new_root()
        NodeFiles(root).install(certificate, pair(1))
        for name in ("server.crt", "server.key"):
            (root / folder / name).unlink()
        return root

    def check(root: Path, _steps: int) -> None:
        if (root / folder / "server.key").exists():
            assert as_a_component_reads(root, certificate) == pair_as_read(1)
        NodeFiles(root).recover(plan_of(certificate))
        assert as_a_component_reads(root, certificate) == pair_as_read(1)

    each_crash(
        prepare, lambda root, disk: _ignored(NodeFiles(root, disk).recover(plan_of(certificate))), check
    )
