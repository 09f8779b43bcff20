from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from tests.support.agent_node import COMBINED, OF_CLUSTERS, PAIR, AgentNode, free_port, turn
from tests.unit.agent.conftest import MakeNode
from tests.unit.agent.crashing import as_a_component_reads

from trivet.agent.alone import only_agent
from trivet.agent.files import Disk, FileFaultError, KeyPair
from trivet.agent.files.errors import faults_of
from trivet.agent.loop import AnswerKind, Standing
from trivet.agent.loop.aftermath import Sight
from trivet.agent.runner import Agent
from trivet.agent.service import Service
from trivet.client import Endpoint
from trivet.client.errors import UnreachableError
from trivet.client.keys import build_request, new_key
from trivet.pki.keys import KeyAlgorithm
from trivet.pki.profiles import AuthorityName

DUE = timedelta(hours=72)  # of four days
EVERY = ("etcd-server", "kubelet-client", "admin")


def has_renewed(node: AgentNode, times: int) -> bool:
    return len(node.lines("renewed")) == times


@pytest.mark.parametrize("by_message", [False, True])
def test_what_is_due_is_renewed_with_a_new_key_and_stays_as_it_was_otherwise(
    make_node: MakeNode, *, by_message: bool
) -> None:
    node = make_node()
    before = {name: node.pair(name) for name in EVERY}
    node.time.advance(timedelta(0) if by_message else DUE)
    if by_message:  # a message states the time, so that the clock must be right
        supersede(node, *EVERY)
    agent = node.agent(by_message=by_message)
    assert agent.run_once()
    for name in EVERY:
        former, pair = before[name], node.pair(name)
        assert pair.certificate.serial_number != former.certificate.serial_number
        assert pair.certificate.public_key() != former.certificate.public_key()
        assert pair.certificate.subject == former.certificate.subject
        assert as_a_component_reads(node.root, node.plan.certificate(name)) is not None
    assert [line["certificate"] for line in node.lines("renewed")] == list(EVERY)
    assert "PRIVATE KEY" not in node.out.getvalue()


def standing(agent: Agent, name: str) -> Standing:
    return agent.keeper.node.identities[name].standing


def supersede(node: AgentNode, *names: str) -> None:
    """Renew the certificates elsewhere: what is on the disk is replaced, and should be renewed at once."""
    for name in names:
        planned = node.plan.certificate(name)
        service = Service(node.endpoint, node.plan.cluster, node.time.wall)
        service.renew(planned, node.pair(name), build_request(new_key(KeyAlgorithm.P384)))


def test_what_is_not_due_is_left_alone(make_node: MakeNode) -> None:
    node = make_node()
    before = {path: path.stat().st_ino for path in node.root.rglob("*") if path.is_file()}
    assert node.agent().run_once()
    after = {path: path.stat().st_ino for path in node.root.rglob("*") if path.is_file()}
    assert {path for path in before if after.get(path) != before[path]} == set()
    assert node.lines("renewed") == []


def test_a_certificate_is_renewed_again_and_again_and_a_real_server_serves_each(
    make_node: MakeNode, tmp_path: Path
) -> None:
    with tls_server(tmp_path) as server:
        node = make_node(PAIR | {"probe": server.probe, "hook": server.hook}, validity="10m")
        server.start(node.root / "etc/kubernetes/pki/etcd")
        agent = node.agent()
        agent.begin()
        turn(agent, lambda: agent.keeper.node.aftermaths["etcd-server"].sight is Sight.NEW)
        seen = {node.serial("etcd-server")}
        for rounds in range(1, 5):
            node.time.advance(timedelta(minutes=6))
            turn(agent, partial(has_renewed, node, rounds))
            turn(agent, lambda: agent.keeper.node.aftermaths["etcd-server"].sight is Sight.NEW)
            seen.add(node.serial("etcd-server"))
        assert len(seen) == 5
        assert [line["served"] for line in node.lines("served")][1:] == [
            line["serial"] for line in node.lines("renewed")
        ]
        agent.publish_now()
        assert 'trivet_agent_certificate_served{certificate="etcd-server"} 1' in node.metrics
        assert 'trivet_agent_certificate_renewals_total{certificate="etcd-server"} 4' in node.metrics


def test_a_component_that_keeps_serving_the_old_one_gets_its_hook_once_more_and_is_told_of(
    make_node: MakeNode, tmp_path: Path
) -> None:
    with tls_server(tmp_path) as server:
        deaf = {"command": ["/bin/sh", "-c", f"echo ran >> {tmp_path}/ran"]}
        node = make_node(PAIR | {"probe": server.probe, "hook": deaf})
        server.start(node.root / "etc/kubernetes/pki/etcd")
        node.time.advance(DUE)
        agent = node.agent()
        agent.begin()
        turn(agent, lambda: node.lines("renewed"))

        def complained() -> bool:
            # Thirty seconds of patience pass with every few steps.
            node.time.advance(timedelta(seconds=3))
            return bool(node.lines("notServed"))

        turn(agent, complained)
        assert (tmp_path / "ran").read_text() == "ran\nran\n"
        agent.publish_now()
        assert 'trivet_agent_certificate_served{certificate="etcd-server"} 0' in node.metrics


class Server:
    """A TLS server in a process of its own, which reads its pair again when it gets SIGHUP."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self.running: subprocess.Popen[bytes] | None = None

    @property
    def probe(self) -> dict[str, Any]:
        return {"address": f"127.0.0.1:{self.port}", "serverName": "localhost"}

    @property
    def hook(self) -> dict[str, Any]:
        return {"command": ["/bin/sh", "-c", f"kill -HUP $(cat {self.folder}/pid)"]}

    def start(self, pairs: Path) -> None:
        script = Path(__file__).with_name("tls_server.py")
        command = [sys.executable, str(script), str(self.port), str(pairs), str(self.folder / "pid")]
        self.running = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.running.stdout is not None
        assert self.running.stdout.readline() == b"ready\n"


@contextmanager
def tls_server(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    try:
        yield server
    finally:
        if server.running is not None:
            server.running.kill()
            server.running.wait()
            assert server.running.stdout is not None
            server.running.stdout.close()


# --- answers that are not what was asked for ---


class Lying(Service):
    """A service, and somebody in between who changes what it says."""

    lie: Callable[[Any, KeyPair, bytes], str]

    def renew(self, planned: Any, pair: KeyPair, request: bytes) -> str:  # noqa: ANN401
        return type(self).lie(planned, pair, request)


def lying(node: AgentNode, lie: Callable[[Any, KeyPair, bytes], str]) -> Service:
    kind = type("Liar", (Lying,), {"lie": staticmethod(lie)})
    found = kind(node.endpoint, node.plan.cluster, node.time.wall)
    assert isinstance(found, Service)
    return found


def issued(node: AgentNode, profile: str, request: bytes, name: str = "cp-1") -> str:
    with node.administrator() as trivet:
        return trivet.certificates.issue("demo", profile, request, node=name)["certificate"]


def of_another_key(node: AgentNode, planned: Any, pair: KeyPair, request: bytes) -> str:  # noqa: ANN401
    del pair, request
    other = build_request(new_key(KeyAlgorithm.P384), hosts=planned.sans)
    return issued(node, planned.profile.name, other)


def of_other_names(node: AgentNode, planned: Any, pair: KeyPair, request: bytes) -> str:  # noqa: ANN401
    del pair
    return issued(node, planned.profile.name, request, "cp-2")


def of_another_cluster(node: AgentNode, planned: Any, pair: KeyPair, request: bytes) -> str:  # noqa: ANN401
    del pair
    with node.administrator() as trivet:
        if "other" not in {cluster["name"] for cluster in trivet.clusters.list()}:
            trivet.clusters.create("other", "127.0.0.1")
        return trivet.certificates.issue("other", planned.profile.name, request, node="cp-1")["certificate"]


def the_former(node: AgentNode, planned: Any, pair: KeyPair, request: bytes) -> str:  # noqa: ANN401
    del node, planned, request
    return pair.certificates_pem.decode()


def nothing(*_: object) -> str:
    return "<html>a proxy's welcome</html>"


LIES: dict[str, tuple[Callable[..., str], str]] = {
    "another key": (of_another_key, "the key belongs to another certificate"),
    "other names": (of_other_names, "lacks the|its CN is"),
    "another cluster": (of_another_cluster, "not signed by a CA that the trust bundle holds"),
    "the former": (the_former, "the key belongs to another certificate"),
    "nothing": (nothing, "no certificate in PEM"),
}


@pytest.mark.parametrize("lie", list(LIES))
def test_an_answer_that_is_not_what_was_asked_for_is_refused_and_the_pair_in_place_stays(
    make_node: MakeNode, lie: str
) -> None:
    node = make_node(COMBINED)
    before = node.pair("kubelet-client")
    node.time.advance(DUE)
    tell, words = LIES[lie]
    agent = node.agent(service=lying(node, lambda *asked: tell(node, *asked)))
    assert not agent.run_once()
    assert node.pair("kubelet-client").certificate == before.certificate
    (line,) = node.lines("notAsAsked")
    assert line["level"] == "error"
    assert any(part in line["message"] for part in words.split("|")), line
    assert agent.keeper.node.identities["kubelet-client"].failures == 1


# --- trust bundles ---


class OtherBundles(Service):
    """A service whose trust bundles a test makes up."""

    bundles: dict[AuthorityName, bytes]

    def bundle(self, authority: AuthorityName, pair: KeyPair) -> bytes | None:
        del pair
        return self.bundles.get(authority)


def with_bundles(node: AgentNode, **bundles: bytes) -> Service:
    kind = type(
        "Made", (OtherBundles,), {"bundles": {AuthorityName(name): pem for name, pem in bundles.items()}}
    )
    found = kind(node.endpoint, node.plan.cluster, node.time.wall)
    assert isinstance(found, Service)
    return found


def bundle_on_disk(node: AgentNode) -> bytes:
    return (node.root / "etc/kubernetes/pki/cluster.crt").read_bytes()


def test_a_new_generation_comes_into_the_bundle_and_into_kubeconfigs(make_node: MakeNode) -> None:
    node = make_node()
    with node.administrator() as trivet:
        both = bundle_on_disk(node) + trivet.clusters.bundle("demo", "front-proxy")
    assert node.agent(service=with_bundles(node, cluster=both)).run_once()
    assert bundle_on_disk(node) == both
    assert node.files.embedded_bundle(node.plan.certificate("admin")) == both
    assert {line["file"] for line in node.lines("bundleChanged")} == {"cluster-ca", "admin"}


WORSE = {
    "": "there is no certificate in PEM",
    "not PEM": "there is no certificate in PEM",
    "another CA": "it holds none of the CAs that this node trusts",
    "a leaf": "it holds a certificate that is no CA's",
    "without ours": "the CA is missing that signed the certificate",
}


@pytest.mark.parametrize("bad", list(WORSE))
def test_a_trust_bundle_never_gives_way_to_a_worse_one(make_node: MakeNode, bad: str) -> None:
    node = make_node()
    before = bundle_on_disk(node)
    with node.administrator() as trivet:
        other = trivet.clusters.bundle("demo", "front-proxy")
    leaf = node.pair("admin").certificates_pem
    made = {"another CA": other, "a leaf": before + leaf}.get(bad, bad.encode())
    if bad == "without ours":
        path = node.root / "etc/kubernetes/pki/cluster.crt"
        path.write_bytes(before + other)  # both are trusted, and the service drops the one that signed ours
        before, made = before + other, other
    node.agent(service=with_bundles(node, cluster=made)).run_once()
    assert bundle_on_disk(node) == before
    (line,) = node.lines("bundleKept")
    assert line["file"] == "cluster-ca"
    assert WORSE[bad] in line["message"]
    assert "cluster-ca" not in [line["file"] for line in node.lines("bundleChanged")]


def test_a_trust_bundle_that_somebody_emptied_comes_back(make_node: MakeNode) -> None:
    node = make_node()
    before = bundle_on_disk(node)
    (node.root / "etc/kubernetes/pki/cluster.crt").write_bytes(b"")
    assert node.agent().run_once()
    assert bundle_on_disk(node) == before


def test_bundles_are_asked_for_again_before_a_certificate_of_a_new_generation_is_refused(
    make_node: MakeNode,
) -> None:
    node = make_node()
    before = bundle_on_disk(node)
    with node.administrator() as trivet:
        other = trivet.clusters.bundle("demo", "front-proxy")
    # The node lacks the CA that signs: as if a new generation had become active.
    (node.root / "etc/kubernetes/pki/cluster.crt").write_bytes(other)
    service = with_bundles(node, cluster=before + other)
    agent = node.agent(service=service)
    agent.begin()
    node.time.advance(DUE)
    agent.keeper.renew("kubelet-client")
    assert bundle_on_disk(node) == before + other
    assert len(node.lines("renewed")) == 1


# --- disks ---


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_refuses_leaves_the_pair_and_nothing_is_asked_of_the_service(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    node = make_node()
    before = {name: node.serial(name) for name in EVERY}
    node.time.advance(DUE)

    def refuse(*_: object, **__: object) -> None:
        path = node.root / "etc"
        with faults_of(path):
            raise OSError(number, os.strerror(number))

    agent = node.agent(service=lying(node, nothing))
    with monkeypatch.context() as patch:
        patch.setattr(Disk, "write_new", refuse)
        assert not agent.run_once()
    assert {name: node.serial(name) for name in EVERY} == before
    lines = node.lines("files")
    assert len(lines) == 3
    assert os.strerror(number) in lines[0]["message"]
    assert not node.lines("notAsAsked")
    assert not list(node.root.rglob("*trivet-trial"))
    # And once there is room again, it goes on by itself.
    assert node.agent().run_once()
    assert {name: node.serial(name) for name in EVERY}.items().isdisjoint(before.items())


def test_two_agents_do_not_look_after_one_node(make_node: MakeNode) -> None:
    node = make_node()
    with only_agent(node.root):
        with (
            pytest.raises(FileFaultError, match="another trivet agent looks after this node"),
            only_agent(node.root),
        ):
            pass
        # What writes for a moment only works beside an agent.
        with node.files.lock():
            pass
    with only_agent(node.root):
        pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_an_agent_starts_on_a_disk_that_refuses_and_is_the_only_one_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with (
        only_agent(tmp_path),
        pytest.raises(FileFaultError, match="another trivet agent"),
        only_agent(tmp_path),
    ):
        pass


def test_while_somebody_else_writes_the_agent_waits(make_node: MakeNode) -> None:
    node = make_node()
    node.time.advance(DUE)
    agent = node.agent()
    with node.files.lock():
        assert not agent.run_once()
    assert {line["reason"] for line in node.lines("files")} == {"files"}
    assert agent.keeper.node.identities["admin"].last is not None
    assert agent.keeper.node.identities["admin"].last.kind is AnswerKind.FILES
    assert node.agent().run_once()


def test_what_somebody_else_put_in_place_while_the_service_was_asked_stays(make_node: MakeNode) -> None:
    node = make_node(COMBINED)
    node.time.advance(DUE)
    planned = node.plan.certificate("kubelet-client")
    asked = Service(node.endpoint, "demo", node.time.wall)
    theirs: list[KeyPair] = []

    def meanwhile(_planned: Any, pair: KeyPair, request: bytes) -> str:  # noqa: ANN401
        key = new_key(KeyAlgorithm.P384)
        other = asked.renew(planned, pair, build_request(key))
        theirs.append(KeyPair(tuple(x509.load_pem_x509_certificates(other.encode())), key))
        node.files.install(planned, theirs[0])
        return asked.renew(planned, pair, request)

    assert not node.agent(service=lying(node, meanwhile)).run_once()
    assert node.pair("kubelet-client").certificate == theirs[0].certificate
    assert "somebody else has replaced" in node.lines("notAsAsked")[0]["message"]


def test_after_a_lost_answer_it_asks_again_with_the_same_request_and_gets_the_same_certificate(
    make_node: MakeNode,
) -> None:
    # An expired certificate renews once in a repair: another key would be refused.
    node = make_node(COMBINED)
    node.time.advance(DUE)
    asked = Service(node.endpoint, "demo", node.time.wall)
    made: list[str] = []

    def deaf_once(planned: Any, pair: KeyPair, request: bytes) -> str:  # noqa: ANN401
        made.append(asked.renew(planned, pair, request))
        if len(made) == 1:
            message = "the answer was lost"
            raise UnreachableError(message)
        return made[-1]

    agent = node.agent(service=lying(node, deaf_once))
    assert not agent.run_once()
    agent.keeper.renew("kubelet-client")
    assert made[0] == made[1]
    (planned,) = node.plan.certificates
    assert node.files.read(planned) is not None
    assert node.pair("kubelet-client").certificates_pem.decode() in made[0]
    node.time.advance(DUE)
    agent.keeper.renew("kubelet-client")
    assert made[2] != made[1]


def test_a_token_in_the_settings_is_not_sent(make_node: MakeNode) -> None:
    node = make_node(COMBINED)
    service = Service(replace(node.endpoint, token="trivet_" + "x" * 43), "demo", node.time.wall)
    with service._client(node.pair("kubelet-client")) as trivet:
        assert "authorization" not in trivet._connection._http.headers


def test_what_is_missing_is_told_of_once_and_taken_up_when_it_is_there(make_node: MakeNode) -> None:
    node = make_node()
    agent = node.agent()
    agent.begin()
    link = node.root / "etc/kubernetes/pki/etcd/server.key"
    link.rename(link.with_name("away"))
    for _ in range(3):
        agent.keeper.look()
    (line,) = node.lines("missing")
    assert (line["certificate"], "trivet provision" in line["message"]) == ("etcd-server", True)
    assert standing(agent, "etcd-server") is Standing.MISSING
    link.with_name("away").rename(link)
    agent.keeper.look()
    assert standing(agent, "etcd-server") is Standing.FRESH


# --- the service refuses ---


def test_a_revoked_certificate_is_told_of_with_the_way_out(make_node: MakeNode) -> None:
    node = make_node(COMBINED)
    serial = node.serial("kubelet-client")
    with node.administrator() as trivet:
        manifest = {
            "apiVersion": "certificates.microsoft.com/v1",
            "kind": "RenewRevocation",
            "metadata": {"name": f"stolen-{serial[:8]}"},
            "spec": {"revocations": [{"kind": "SerialNumber", "serialNumber": serial}]},
        }
        trivet.revocations.create("demo", yaml.safe_dump(manifest).encode())
    agent = node.agent()
    assert not agent.run_once()
    (line,) = node.lines("revoked")
    assert line["level"] == "error"
    assert "trivet repair demo" in line["message"]
    assert "trivet repair-node" in line["message"]
    assert standing(agent, "kubelet-client") is Standing.REVOKED
    assert node.serial("kubelet-client") == serial


def test_a_service_that_is_away_is_told_of_and_outlived(make_node: MakeNode) -> None:
    node = make_node()
    node.time.advance(DUE)
    nobody = Endpoint(f"https://127.0.0.1:{free_port()}", node.endpoint.ca_file)
    agent = node.agent(service=Service(nobody, "demo", node.time.wall))
    agent.begin()
    turn(agent, lambda: node.lines("unreachable"))
    assert "cannot be reached" in node.lines("unreachable")[0]["message"]
    agent.keeper.service = replace(agent.keeper.service, endpoint=node.endpoint)
    node.time.steady_ahead += timedelta(hours=7)
    turn(agent, lambda: len(node.lines("renewed")) == 3)


def test_a_service_that_is_not_trusted_gets_nothing(make_node: MakeNode) -> None:
    node = make_node()
    node.time.advance(DUE)
    wrong = replace(node.endpoint, ca_file=node.root / "etc/kubernetes/pki/etcd.crt")
    agent = node.agent(service=Service(wrong, "demo", node.time.wall))
    assert not agent.run_once()
    assert "is not trusted by" in node.lines("unreachable")[0]["message"]


# --- what else may happen ---


def test_a_hook_that_was_left_to_run_by_a_crash_is_run(make_node: MakeNode, tmp_path: Path) -> None:
    node = make_node(PAIR | {"hook": {"command": ["/bin/sh", "-c", f"echo ran >> {tmp_path}/ran"]}})
    node.time.advance(DUE)
    first = node.agent()
    first.begin()
    first.keeper.renew("etcd-server")  # and the process ends here
    assert not (tmp_path / "ran").exists()
    node.time.wall_ahead = timedelta(0)  # what is new is not due, so that only the hook is left
    second = node.agent()
    second.begin()
    turn(second, (tmp_path / "ran").exists)
    assert (tmp_path / "ran").read_text() == "ran\n"
    third = node.agent()
    assert third.run_once()
    assert (tmp_path / "ran").read_text() == "ran\n"


def test_a_defect_in_one_task_does_not_keep_the_others_from_being_done(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_node()
    node.time.advance(DUE)
    agent = node.agent()
    real = Service.renew

    def renew(self: Service, planned: Any, pair: KeyPair, request: bytes) -> str:  # noqa: ANN401
        if planned.name == "etcd-server":
            msg = "secret -----BEGIN PRIVATE KEY-----"
            raise ZeroDivisionError(msg)
        return real(self, planned, pair, request)

    monkeypatch.setattr(Service, "renew", renew)
    assert not agent.run_once()
    assert [line["certificate"] for line in node.lines("renewed")] == ["kubelet-client", "admin"]
    (line,) = node.lines("fault")
    assert (line["certificate"], "ZeroDivisionError" in line["message"]) == ("etcd-server", True)
    assert "secret" not in node.out.getvalue()
    assert agent.keeper.tallies.faults == 1


def test_a_plan_is_read_again_and_a_bad_one_is_not(make_node: MakeNode) -> None:
    node = make_node()
    agent = node.agent()
    agent.begin()
    node.plan_file.write_text("kind: Nonsense\n")
    agent._reload()
    assert len(agent.keeper.plan.certificates) == 3
    assert "the former one holds" in node.lines("planKept")[0]["message"]
    node.plan_file.write_text(node.text.replace("name: etcd-server", "name: renamed"))
    agent._reload()
    assert set(agent.keeper.node.identities) == {"renamed", "kubelet-client", "admin"}
    assert node.lines("planRead")


def test_a_clock_that_is_set_is_told_of_and_costs_no_pair(make_node: MakeNode) -> None:
    node = make_node()
    agent = node.agent()
    agent.begin()
    before = {name: node.serial(name) for name in EVERY}
    node.time.wall_ahead = timedelta(days=-365)
    agent.keeper.look()
    assert {name: node.serial(name) for name in EVERY} == before
    assert all(standing(agent, name) is Standing.FRESH for name in EVERY)
    (line,) = node.lines("clockJumped")
    assert "set back by 315" in line["message"]
    agent.publish_now()
    assert "trivet_agent_clock_jumps_total 1" in node.metrics


def test_bundles_of_three_authorities_are_known(make_node: MakeNode) -> None:
    node = make_node()
    service = Service(node.endpoint, "demo", node.time.wall)
    for name in OF_CLUSTERS:
        pem = service.bundle(name, node.pair("admin"))
        assert pem is not None
        assert x509.load_pem_x509_certificates(pem)
