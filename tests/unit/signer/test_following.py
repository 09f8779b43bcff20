"""Lists, watches and what can go wrong with them, over HTTPS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import pytest
from tests.support.api_server import CSRS, REVOCATIONS, Answer, ApiServer, status
from tests.support.signing_requests import csr
from tests.unit.signer.conftest import SIGNER_NAMES, Bench, recorded

from trivet.signer.answers import Page
from trivet.signer.cluster import Cluster
from trivet.signer.errors import AccessError, SilentError, StatusError
from trivet.signer.informer import Informer
from trivet.signer.judging import is_open
from trivet.signer.resources import CERTIFICATE_SIGNING_REQUESTS, RENEW_REVOCATIONS, Resource

KUBELET = "kubernetes.io/kube-apiserver-client-kubelet"
NODE = csr("system:node:node-1", ("system:nodes",))


@pytest.fixture
def cluster(api: ApiServer) -> Iterator[Cluster]:
    cluster = Cluster(api.kubeconfig())
    yield cluster
    cluster.close()


@pytest.fixture
def seen() -> list[str]:
    return []


@pytest.fixture
def informer(cluster: Cluster, seen: list[str]) -> Informer:
    def concerns(found: dict[str, object]) -> bool:
        return is_open(found, SIGNER_NAMES)

    return Informer(cluster, CERTIFICATE_SIGNING_REQUESTS, concerns, seen.append, recorded(), Random(1))  # noqa: S311


@contextmanager
def following(api: ApiServer, informer: Informer, steps: int = 1) -> Iterator[Callable[[], list[float]]]:
    """Let an informer take its steps in a thread; the block's callable ends it and gives the waits."""
    waits: list[float] = []

    def follow() -> None:
        waits.extend(informer.step() for _ in range(steps))
        informer.cluster.close()

    thread = threading.Thread(target=follow)
    thread.start()
    api.wait_for(lambda: api.watching)

    def end() -> list[float]:
        thread.join(60)
        assert not thread.is_alive()
        return waits

    try:
        yield end
    finally:
        while thread.is_alive():
            api.cut()
            thread.join(0.2)


def _until(so: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(3_000):
        if so():
            return
        pause.wait(0.02)
    pytest.fail("it did not come to that")


def test_a_list_comes_in_parts(api: ApiServer, cluster: Cluster) -> None:
    for number in range(5):
        api.request(f"r{number}", NODE, KUBELET)
    page = cluster.list(CERTIFICATE_SIGNING_REQUESTS, limit=2)
    assert (len(page.items), page.version) == (2, str(api.version))
    rest = cluster.list(CERTIFICATE_SIGNING_REQUESTS, page.following, limit=2)
    assert [item["metadata"]["name"] for item in rest.items] == ["r2", "r3"]


def test_a_list_whose_snapshot_expired_is_read_in_one_part(
    api: ApiServer, informer: Informer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = informer.cluster.list

    def in_small_parts(resource: Resource, following: str | None = None, limit: int = 2) -> Page:
        return real(resource, following, limit)

    monkeypatch.setattr(informer.cluster, "list", in_small_parts)
    for number in range(5):
        api.request(f"r{number}", NODE, KUBELET)
    gone = status(
        410, "Expired", "The provided continue parameter is too old to display a consistent list result."
    )
    api.troubles.append(("GET", "continue", gone))
    informer.refresh()
    assert sorted(informer.held()) == [f"r{number}" for number in range(5)]


def test_what_concerns_nobody_is_not_held(api: ApiServer, informer: Informer, seen: list[str]) -> None:
    api.request("ours", NODE, KUBELET)
    api.request("another's", NODE, "example.com/another")
    api.request("denied", NODE, KUBELET)
    api.approve("denied", "Denied")
    informer.refresh()
    assert informer.held() == seen == ["ours"]


def test_a_watch_tells_what_comes_changes_and_goes(
    api: ApiServer, informer: Informer, seen: list[str]
) -> None:
    with following(api, informer):
        api.request("new", NODE, KUBELET)
        _until(lambda: "new" in seen)
        assert informer.held() == ["new"]
        api.approve("new")
        _until(lambda: seen.count("new") == 2)
        held = informer.get("new")
        assert held is not None
        assert [item["type"] for item in held["status"]["conditions"]] == ["Approved"]
        api.remove(CSRS, "new")
        _until(lambda: seen.count("new") == 3)
        assert informer.held() == []


def test_a_watch_that_breaks_off_goes_on_where_it_was(
    api: ApiServer, informer: Informer, seen: list[str]
) -> None:
    with following(api, informer, steps=2) as end:
        api.request("first", NODE, KUBELET)
        _until(lambda: "first" in seen)
        lists = len([path for method, path in api.asked if path.endswith(CSRS)])
        api.cut()
        api.wait_for(lambda: not api.watching)
        api.request("second", NODE, KUBELET)
        _until(lambda: "second" in seen)
        api.cut()
        waits = end()
    assert seen == ["first", "second"], "nothing is told twice"
    # One more watch, and no list.
    assert len([path for method, path in api.asked if path.endswith(CSRS)]) == lists + 1
    assert all(1 <= wait <= 60 for wait in waits)


def test_after_410_all_is_listed_and_what_went_meanwhile_is_told(
    api: ApiServer, informer: Informer, seen: list[str]
) -> None:
    api.request("gone", NODE, KUBELET)
    api.request("stays", NODE, KUBELET)
    with following(api, informer, steps=3):
        _until(lambda: {"gone", "stays"} <= set(seen))
        api.cut()
        api.wait_for(lambda: not api.watching)
        api.remove(CSRS, "gone")
        api.request("new", NODE, KUBELET)
        api.forget()
        _until(lambda: "new" in seen)
    assert sorted(informer.held()) == ["new", "stays"]
    assert seen.count("gone") == 2


def test_a_410_as_the_answer_itself_means_the_same(api: ApiServer, informer: Informer) -> None:
    informer.refresh()
    api.request("new", NODE, KUBELET)
    api.troubles.append(("GET", "watch", status(410, "Expired", "too old resource version")))
    assert informer.step() >= 1
    assert informer.held() == []
    informer.refresh()
    assert informer.held() == ["new"]


def test_a_bookmark_moves_the_version_on(api: ApiServer, informer: Informer, seen: list[str]) -> None:
    with following(api, informer, steps=2):
        api.bookmark()
        _until(lambda: informer._version == str(api.version))
        api.oldest = api.version  # what was before the bookmark is forgotten
        api.cut()
        api.wait_for(lambda: not api.watching)
        api.request("new", NODE, KUBELET)
        _until(lambda: "new" in seen)
    assert len([1 for key in informer.record.tallies.counts if key[0] == "lists"]) == 1
    assert seen == ["new"]


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (Answer(503, "no healthy upstream", {"Retry-After": "7"}), 7.0),
        (status(429, "TooManyRequests", "slow down", retryAfterSeconds=3), 3.0),
        (status(403, "Forbidden", "may not list"), None),
        (Answer(200, "<html>a proxy's page</html>"), None),
        (Answer(200, {"kind": "Status"}), None),
    ],
)
def test_what_is_held_outlives_an_api_server_that_does_not_answer(
    api: ApiServer, informer: Informer, trouble: Answer, told: float | None
) -> None:
    api.request("held", NODE, KUBELET)
    informer.refresh()
    informer._version = None
    api.troubles.append(("GET", CSRS, trouble))
    wait = informer.step()
    assert (told or 1) <= wait <= (told or 0) + 2
    assert informer.held() == ["held"]


def test_waits_grow_and_stay_bounded(api: ApiServer, informer: Informer) -> None:
    api.token = "another"
    waits = [informer.step() for _ in range(30)]
    assert all(1 <= wait <= 60 for wait in waits)
    assert max(waits[8:]) > 10
    assert len([1 for line in informer.record.journal.out.getvalue().splitlines() if "notHeard" in line]) == 1  # type: ignore[attr-defined]


def test_an_api_server_that_is_not_there_is_silent(api: ApiServer) -> None:
    path = api.kubeconfig()
    path.write_text(path.read_text().replace(api.url, "https://127.0.0.1:1"))
    with pytest.raises(SilentError, match="cannot be reached"):
        Cluster(path).list(RENEW_REVOCATIONS)


def test_an_api_server_that_is_not_known_is_not_asked(api: ApiServer, bench: Bench) -> None:
    path = api.kubeconfig()
    (path.parent / "api-ca.crt").write_bytes((bench.admin.ca_file or Path()).read_bytes())
    with pytest.raises(SilentError, match="is not trusted"):
        Cluster(path).list(RENEW_REVOCATIONS)
    assert api.asked == []


def test_a_service_account_s_token_is_read_anew_for_each_request(api: ApiServer, cluster: Cluster) -> None:
    cluster.list(RENEW_REVOCATIONS)
    api.token = "rotated"
    with pytest.raises(StatusError, match="Unauthorized"):
        cluster.list(RENEW_REVOCATIONS)
    (api.folder / "token").write_text("rotated")
    cluster.list(RENEW_REVOCATIONS)


def test_a_kubeconfig_that_changes_is_read_again(api: ApiServer, cluster: Cluster) -> None:
    cluster.list(RENEW_REVOCATIONS)
    api.token = "inline"
    api.kubeconfig(token="inline")
    cluster.list(RENEW_REVOCATIONS)
    (api.folder / "kubeconfig").unlink()
    with pytest.raises(AccessError, match="kubeconfig"):
        cluster.list(RENEW_REVOCATIONS)


def test_a_status_is_put_with_what_a_list_leaves_out(api: ApiServer, cluster: Cluster) -> None:
    api.request("one", NODE, KUBELET)
    (item,) = cluster.list(CERTIFICATE_SIGNING_REQUESTS).items
    assert "kind" not in item
    cluster.write_status(CERTIFICATE_SIGNING_REQUESTS, item | {"status": {"conditions": []}})
    with pytest.raises(StatusError) as refused:
        cluster.write_status(CERTIFICATE_SIGNING_REQUESTS, item)
    assert (refused.value.code, refused.value.reason, refused.value.name) == (409, "Conflict", "one")


def test_the_missing_object_is_named_and_the_missing_kind_is_not(api: ApiServer, cluster: Cluster) -> None:
    with pytest.raises(StatusError) as missing:
        cluster.get(RENEW_REVOCATIONS, "nothing", "default")
    assert (missing.value.code, missing.value.name) == (404, "nothing")
    api.installed = {CSRS}
    with pytest.raises(StatusError) as missing:
        cluster.get(RENEW_REVOCATIONS, "nothing", "default")
    assert (missing.value.code, missing.value.name) == (404, "")


def test_objects_of_all_namespaces_are_followed(api: ApiServer, cluster: Cluster) -> None:
    for namespace in ("default", "kube-system"):
        api.add(REVOCATIONS, {"metadata": {"name": "one", "namespace": namespace}, "spec": {}})
    seen: list[str] = []
    informer = Informer(cluster, RENEW_REVOCATIONS, lambda _: True, seen.append, recorded(), Random(1))  # noqa: S311
    informer.refresh()
    assert sorted(seen) == ["default/one", "kube-system/one"]
    with suppress(StatusError):
        cluster.get(RENEW_REVOCATIONS, "a/../b", "default")
    assert api.asked[-1][1].endswith("/namespaces/default/renewrevocations/a%2F..%2Fb")
