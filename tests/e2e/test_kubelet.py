"""A kubelet, as its wire has it: bootstraps, waits, rotates; what is denied, failed or deleted ends its wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from tests.support.kubelet import Ended, Kubelet, Pending
from tests.support.served import Served, serving, set_up

pytestmark = pytest.mark.slow
REQUESTS = "/api/v1/clusters/blue/certificate-requests"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = set_up(tmp_path_factory.mktemp("kubelet"))
    with serving(served, "--workers", "2"):
        served.make_cluster("blue")
        yield served


@pytest.fixture
def admin(served: Served) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


def kubelet(served: Served, folder: Path, node: str) -> Kubelet:
    """A new node's kubelet."""
    token = served.make_bootstrap_token("blue")
    return Kubelet("/kubernetes/blue", served.port, served.service_ca, folder, node, token)


def waiting_kubelet(served: Served, admin: httpx.Client, folder: Path, node: str) -> tuple[Kubelet, Pending]:
    """One that has to wait for a person, as its node lives already."""
    first = kubelet(served, folder, node)
    first.wait(first.bootstrap())
    again = kubelet(served, folder, node)
    pending = again.bootstrap()
    assert admin.get(f"{REQUESTS}/{pending.name}").json()["state"] == "pending"
    return again, pending


def waited(kubelet: Kubelet, pending: Pending, act: Callable[[], object], *, watch_list: bool) -> object:
    """What a wait comes to while somebody acts."""
    outcome: list[object] = []

    def wait() -> None:
        try:
            outcome.append(kubelet.wait(pending, watch_list=watch_list))
        except Ended as end:
            outcome.append(str(end))

    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive(), outcome
    act()
    waiting.join(25)
    return outcome[0]


@pytest.mark.parametrize("watch_list", [False, True], ids=["list and watch", "watch-list"])
def test_a_kubelet_bootstraps_and_rotates_with_its_own_certificate(
    served: Served, tmp_path: Path, *, watch_list: bool
) -> None:
    node = kubelet(served, tmp_path, f"new-{watch_list}".lower())
    first = node.wait(node.bootstrap(), watch_list=watch_list)
    assert first.subject.rfc4514_string() == f"CN=system:node:{node.node},O=system:nodes"
    node.token = None
    pending = node.rotate()
    assert pending.name.startswith("csr-")
    second = node.wait(pending, watch_list=watch_list)
    assert second.subject == first.subject
    assert second.public_key() == node.key().public_key() != first.public_key()
    # And once more, with the one it has just been given.
    assert node.wait(node.rotate(), watch_list=watch_list).serial_number != second.serial_number


def test_a_kubelet_that_is_started_anew_takes_up_what_it_asked_for(
    served: Served, admin: httpx.Client, tmp_path: Path
) -> None:
    node, pending = waiting_kubelet(served, admin, tmp_path, "restarted")
    again = node.bootstrap(key=pending.key)
    assert (again.name, again.uid) == (pending.name, pending.uid)
    assert admin.post(f"{REQUESTS}/{pending.name}/approve", json={}).status_code == 200
    assert node.wait(again).public_key() == pending.key.public_key()


@pytest.mark.parametrize("watch_list", [False, True], ids=["list and watch", "watch-list"])
def test_a_kubelet_that_waits_gets_its_certificate_once_it_is_approved(
    served: Served, admin: httpx.Client, tmp_path: Path, *, watch_list: bool
) -> None:
    node, pending = waiting_kubelet(served, admin, tmp_path, f"waiting-{watch_list}".lower())
    made = waited(
        node,
        pending,
        lambda: admin.post(f"{REQUESTS}/{pending.name}/approve", json={}).raise_for_status(),
        watch_list=watch_list,
    )
    assert isinstance(made, x509.Certificate), made
    assert made.public_key() == pending.key.public_key()


@pytest.mark.parametrize("watch_list", [False, True], ids=["list and watch", "watch-list"])
def test_what_is_denied_failed_or_deleted_ends_the_wait(
    served: Served, admin: httpx.Client, tmp_path: Path, *, watch_list: bool
) -> None:
    def deny(name: str) -> None:
        admin.post(f"{REQUESTS}/{name}/deny", json={"reason": "unknown"}).raise_for_status()

    def fail(name: str) -> None:
        entry = {"kind": "CommonName", "commonName": f"system:node:fail-{watch_list}".lower()}
        manifest = {
            "apiVersion": "certificates.microsoft.com/v1",
            "kind": "RenewRevocation",
            "metadata": {"name": f"fail-{watch_list}".lower()},
            "spec": {"revocations": [entry]},
        }
        admin.post("/api/v1/clusters/blue/renew-revocations", json=manifest).raise_for_status()
        admin.post(f"{REQUESTS}/{name}/approve", json={}).raise_for_status()

    def delete(name: str) -> None:
        admin.delete(f"{REQUESTS}/{name}").raise_for_status()

    ends = {
        "deny": (deny, "certificate signing request is denied, reason: DeniedByPerson"),
        "fail": (fail, "certificate signing request is failed, reason: SignerValidationFailure"),
        "delete": (delete, 'csr "{}" was deleted'),
    }
    for what, (act, told) in ends.items():
        node, pending = waiting_kubelet(served, admin, tmp_path, f"{what}-{watch_list}".lower())
        end = waited(node, pending, lambda act=act, name=pending.name: act(name), watch_list=watch_list)  # type: ignore[misc]
        assert end == told.format(pending.name)


def test_a_kubelet_is_told_why_where_its_request_is_refused(served: Served, tmp_path: Path) -> None:
    node = kubelet(served, tmp_path, "Not_A_Name")
    with pytest.raises(Ended, match="name of a node"):
        node.bootstrap()
