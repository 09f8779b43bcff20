"""Mirroring between an API server with a real one's rules and a real Trivet, both over HTTPS."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.support.api_server import CSRS, REVOCATIONS, status
from tests.support.signing_requests import csr
from tests.unit.signer.conftest import Bench

from trivet.client.errors import ProblemError
from trivet.pki.manifest import MIRRORED_FROM
from trivet.signer.runner import Controller, Signer

KEY = "kube-system/laptop"
NODE = csr("system:node:node-1", ("system:nodes",))


def spec(*names: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "revocations": [
            {"kind": "commonname", "commonName": name} for name in names or ("system:node:node-1",)
        ],
        **more,
    }


def add(bench: Bench, key: str = KEY, **more: Any) -> None:  # noqa: ANN401
    namespace, _, name = key.partition("/")
    metadata = {"name": name, "namespace": namespace, **more.pop("metadata", {})}
    bench.api.add(REVOCATIONS, {"metadata": metadata, "spec": more.pop("spec", spec()), **more})


def in_trivet(bench: Bench, key: str = KEY) -> dict[str, Any] | None:
    namespace, _, name = key.partition("/")
    with bench.trivet() as trivet:
        held = [one for one in trivet.revocations.list(bench.cluster) if one["metadata"]["name"] == name]
    assert all(one["metadata"]["namespace"] == namespace for one in held)
    return dict(held[0]) if held else None


def make_in_trivet(bench: Bench, key: str = KEY, mark: str = "") -> None:
    namespace, _, name = key.partition("/")
    manifest = {
        "apiVersion": "certificates.microsoft.com/v1",
        "kind": "RenewRevocation",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {MIRRORED_FROM: mark} if mark else {},
        },
        "spec": {"revocations": [{"kind": "CommonName", "commonName": "made in Trivet"}]},
    }
    with bench.trivet() as trivet:
        trivet.revocations.create(bench.cluster, json.dumps(manifest).encode())


def conditions(bench: Bench, key: str = KEY) -> dict[str, dict[str, Any]]:
    told = bench.api.get(REVOCATIONS, key).get("status", {}).get("conditions", [])
    return {item["type"]: item for item in told}


def mirror(signer: Signer) -> Controller:
    return next(one for one in signer.controllers if one.sweeps)


def settle(bench: Bench, controller: Controller) -> None:
    for _ in range(4):
        while controller.attend_next():
            pass
        bench.steady += 300


def test_what_is_made_in_the_cluster_holds_in_trivet_at_once(bench: Bench) -> None:
    with bench.trivet() as trivet:
        trivet.certificates.issue(bench.cluster, "kubelet-client", NODE)
    add(
        bench,
        metadata={
            "labels": {"team": "blue"},
            "annotations": {"why": "stolen", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
        },
    )
    assert bench.run()
    held = in_trivet(bench)
    assert held is not None
    assert held["metadata"]["labels"] == {"team": "blue"}
    assert held["metadata"]["annotations"] == {"why": "stolen", MIRRORED_FROM: bench.api.cluster_uid}
    with bench.trivet() as trivet:
        (stored,) = trivet.certificates.list(bench.cluster)
        assert stored["status"] == "revoked"
        with pytest.raises(ProblemError, match="names this request"):
            trivet.certificates.issue(bench.cluster, "kubelet-client", NODE)
    mirrored = conditions(bench)["Mirrored"]
    assert (mirrored["status"], mirrored["reason"], mirrored["observedGeneration"]) == ("True", "Mirrored", 1)
    assert bench.api.get(REVOCATIONS, KEY)["status"]["observedGeneration"] == 1
    (line,) = bench.log("mirrored")
    assert (line["object"], line["change"], line["marked"]) == (KEY, "created", 1)
    assert 'trivet_signer_mirrored{reason="Mirrored"} 1' in bench.shown


def test_the_second_time_there_is_nothing_to_write(bench: Bench) -> None:
    add(bench, spec=spec(description="a stolen laptop"))
    bench.run()
    cluster, trivet = bench.api.get(REVOCATIONS, KEY), in_trivet(bench)
    bench.api.asked.clear()
    assert bench.run()
    assert [asked for asked in bench.api.asked if asked[0] != "GET"] == []
    assert (bench.api.get(REVOCATIONS, KEY), in_trivet(bench)) == (cluster, trivet)


def test_a_change_is_followed(bench: Bench) -> None:
    add(bench)
    bench.run()
    bench.api.change(REVOCATIONS, KEY, spec=spec("jane", "joe"))
    assert bench.run()
    held = in_trivet(bench)
    assert held is not None
    assert [item["commonName"] for item in held["spec"]["revocations"]] == ["jane", "joe"]
    assert bench.api.get(REVOCATIONS, KEY)["status"]["observedGeneration"] == 2


def test_a_lock_out_is_told_in_the_objects_status(bench: Bench) -> None:
    with bench.trivet() as trivet:
        trivet.certificates.issue(bench.cluster, "apiserver", csr(key=3), node="cp-1")
    add(bench, spec=spec("kube-apiserver"))
    assert bench.run()
    told = conditions(bench)["LockOut"]
    assert (told["status"], told["reason"]) == ("True", "LocksOut")
    assert "API server" in told["message"] or "apiserver" in told["message"]
    assert conditions(bench)["Mirrored"]["status"] == "True"
    assert bench.log("lockOut")
    bench.api.change(REVOCATIONS, KEY, spec=spec("jane"))
    bench.run()
    assert conditions(bench)["LockOut"]["status"] == "False"


def test_a_lock_out_is_told_also_where_a_crash_lost_the_first_answer(bench: Bench) -> None:
    with bench.trivet() as trivet:
        trivet.certificates.issue(bench.cluster, "apiserver", csr(key=3), node="cp-1")
    add(bench, spec=spec("kube-apiserver"))
    bench.api.troubles.append(("PUT", "status", status(500, "InternalError", "etcd")))
    assert not bench.run()
    assert conditions(bench) == {}
    assert bench.run()
    assert conditions(bench)["LockOut"]["status"] == "True"


@pytest.mark.parametrize("confirmed", [False, True])
def test_the_guard_is_heeded_and_can_be_answered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, confirmed: bool
) -> None:
    add(bench, metadata={"annotations": {"signer.trivet/confirm": "a token"}} if confirmed else {})
    signer = bench.signer()
    asking = mirror(signer).work.asking  # type: ignore[attr-defined]
    real, given = asking.create, []

    def guarded(manifest: bytes, confirm: str | None) -> Any:  # noqa: ANN401
        given.append(confirm)
        if confirm is None:
            raise ProblemError(
                "confirmationRequired", "Confirmation required", 409, "this would lock out a control plane."
            )
        return real(manifest, confirm)

    monkeypatch.setattr(asking, "create", guarded)
    assert signer.run_once()
    told = conditions(bench)["Mirrored"]
    if confirmed:
        assert (given, told["status"]) == (["a token"], "True")
        held = in_trivet(bench)
        assert held is not None
        assert held["metadata"]["annotations"].keys() == {MIRRORED_FROM}
    else:
        assert (told["status"], told["reason"]) == ("False", "ConfirmationRequired")
        assert "signer.trivet/confirm" in told["message"]
        assert in_trivet(bench) is None


def test_what_trivet_cannot_read_is_told_with_the_place(bench: Bench) -> None:
    add(bench, spec={"revocations": [{"kind": "IP", "ip": "nonsense"}]})
    assert bench.run()
    told = conditions(bench)["Mirrored"]
    assert (told["status"], told["reason"]) == ("False", "Refused")
    assert "/spec/revocations/0" in told["message"]
    assert [line["reason"] for line in bench.log("notMirrored")] == ["Refused"]
    bench.api.change(REVOCATIONS, KEY, spec=spec())
    assert bench.run()
    assert conditions(bench)["Mirrored"]["status"] == "True"


# --- what somebody else made ---


@pytest.mark.parametrize("mark", ["", "another cluster"])
def test_a_name_that_is_taken_is_not_touched(bench: Bench, mark: str) -> None:
    make_in_trivet(bench, mark=mark)
    before = in_trivet(bench)
    add(bench)
    assert bench.run()
    assert in_trivet(bench) == before
    told = conditions(bench)["Mirrored"]
    assert (told["status"], told["reason"]) == ("False", "NameTaken")
    bench.api.remove(REVOCATIONS, KEY)
    assert bench.run()
    assert in_trivet(bench) == before, "its end in the cluster is not its end in Trivet"


def test_what_was_made_in_trivet_is_not_lifted(bench: Bench) -> None:
    make_in_trivet(bench)
    make_in_trivet(bench, "kube-system/foreign", mark="another cluster")
    assert bench.run()
    assert in_trivet(bench) is not None
    assert in_trivet(bench, "kube-system/foreign") is not None


# --- the end of an object ---


def test_what_goes_in_the_cluster_is_lifted(bench: Bench) -> None:
    add(bench)
    signer = bench.signer()
    signer.run_once()
    controller = mirror(signer)
    bench.api.remove(REVOCATIONS, KEY)
    controller.informer.refresh()
    settle(bench, controller)
    assert in_trivet(bench) is None
    assert [line["object"] for line in bench.log("lifted")] == [KEY]


def test_what_went_while_no_signer_ran_is_lifted_by_the_next(bench: Bench) -> None:
    add(bench)
    add(bench, "default/other", spec=spec("jane"))
    bench.run()
    bench.api.remove(REVOCATIONS, KEY)
    assert bench.run()
    assert in_trivet(bench) is None
    assert in_trivet(bench, "default/other") is not None


def test_an_empty_list_of_another_cluster_lifts_nothing(bench: Bench) -> None:
    add(bench)
    bench.run()
    bench.api.remove(REVOCATIONS, KEY)
    bench.api.cluster_uid = "another cluster's"
    assert bench.run()
    assert in_trivet(bench) is not None


def test_another_cluster_behind_the_same_kubeconfig_lifts_nothing(bench: Bench) -> None:
    add(bench)
    signer = bench.signer()
    signer.run_once()
    controller = mirror(signer)
    bench.api.remove(REVOCATIONS, KEY)
    bench.api.cluster_uid = "another cluster's"
    controller.informer.refresh()
    settle(bench, controller)
    assert in_trivet(bench) is not None


def test_an_object_of_another_cluster_behind_the_same_kubeconfig_replaces_nothing(bench: Bench) -> None:
    add(bench)
    signer = bench.signer()
    signer.run_once()
    before, controller = in_trivet(bench), mirror(signer)
    bench.api.remove(REVOCATIONS, KEY)
    bench.api.cluster_uid = "another cluster's"
    add(bench, spec=spec("jane"))
    controller.informer.refresh()
    controller.work.attend(KEY)  # before the sweep
    assert in_trivet(bench) == before
    assert conditions(bench)["Mirrored"]["reason"] == "NameTaken"


@pytest.mark.parametrize("has_its_like", [False, True])
def test_what_is_known_from_the_cluster_before_is_not_mirrored_as_the_next_ones(
    bench: Bench, *, has_its_like: bool
) -> None:
    add(bench)
    controller = mirror(bench.signer())
    controller.informer.refresh()
    bench.api.remove(REVOCATIONS, KEY)
    bench.api.cluster_uid = "another cluster's"
    if has_its_like:
        add(bench, spec=spec("jane"))
    settle(bench, controller)
    assert in_trivet(bench) is None
    assert {line["reason"] for line in bench.log("putOff")} == {"conflict"}
    controller.informer.refresh()
    settle(bench, controller)
    assert (in_trivet(bench) is not None) is has_its_like


def test_a_cluster_that_changes_while_an_object_is_looked_at_gets_no_mark(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(bench)
    controller = mirror(bench.signer())
    controller.informer.refresh()
    cluster = controller.work.cluster  # type: ignore[attr-defined]
    real = cluster.get

    def switched(resource: Any, *named: str) -> Any:  # noqa: ANN401
        found = real(resource, *named)
        bench.api.cluster_uid = "another cluster's"
        return found

    with monkeypatch.context() as between:
        between.setattr(cluster, "get", switched)
        later = controller.work.attend(KEY)
    assert later is not None
    assert later.reason == "conflict"
    assert in_trivet(bench) is None


def test_where_the_kind_itself_is_gone_nothing_is_lifted(bench: Bench) -> None:
    add(bench)
    signer = bench.signer()
    signer.run_once()
    controller = mirror(signer)
    bench.api.remove(REVOCATIONS, KEY)
    bench.api.installed = {CSRS}
    controller.informer.drop(KEY)
    controller.queue.add(KEY)
    settle(bench, controller)
    assert in_trivet(bench) is not None
    assert {line["reason"] for line in bench.log("putOff")} == {"notConfirmed"}
    assert not bench.run()
    assert in_trivet(bench) is not None


def test_an_object_that_the_watch_has_not_told_yet_is_not_lifted(bench: Bench) -> None:
    add(bench)
    bench.run()
    signer = bench.signer()
    controller = mirror(signer)
    controller.informer.put(bench.api.get(REVOCATIONS, KEY))
    controller.informer.drop(KEY)
    controller.queue.add(KEY)
    settle(bench, controller)
    assert in_trivet(bench) is not None
    assert conditions(bench)["Mirrored"]["status"] == "True"


# --- without an answer ---


def test_while_trivet_is_away_an_object_waits_and_its_status_says_nothing_wrong(bench: Bench) -> None:
    add(bench)
    there = bench.endpoint
    bench.away()
    signer = bench.signer()
    assert not signer.run_once()
    assert conditions(bench) == {}
    bench.endpoint = there
    bench.steady += 300
    settle(bench, mirror(signer))
    assert in_trivet(bench) is not None
    assert conditions(bench)["Mirrored"]["status"] == "True"


def test_two_mirrors_make_one_object(bench: Bench) -> None:
    add(bench)
    first, second = bench.signer(), bench.signer()
    mirror(second).informer.refresh()
    first.run_once()
    settle(bench, mirror(second))
    assert in_trivet(bench) is not None
    assert len(bench.log("mirrored")) == 1
    assert len(mirror(second).queue) == 0


def test_two_mirrors_lift_an_object_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    add(bench)
    signer = bench.signer()
    signer.run_once()
    controller = mirror(signer)
    bench.api.remove(REVOCATIONS, KEY)
    asking = controller.work.asking  # type: ignore[attr-defined]
    real = asking.delete

    def second(namespace: str, name: str, etag: str | None) -> None:
        real(namespace, name, etag)
        real(namespace, name, etag)

    with monkeypatch.context() as late:
        late.setattr(asking, "delete", second)
        controller.informer.refresh()
        while controller.attend_next():
            pass
    assert [line["reason"] for line in bench.log("putOff")] == ["conflict"]
    bench.steady += 300
    settle(bench, controller)
    assert len(controller.queue) == 0


def test_a_cluster_that_trivet_does_not_have_is_told_in_the_log_and_nowhere_else(bench: Bench) -> None:
    add(bench)
    bench.endpoint, bench.cluster = bench.admin, "nowhere"
    assert not bench.run()
    assert conditions(bench) == {}
    assert "there is no cluster 'nowhere'" in bench.log("putOff")[-1]["message"]


def test_an_auditor_s_token_mirrors_nothing_and_fails_nothing(bench: Bench) -> None:
    add(bench)
    with bench.trivet() as trivet:
        secret = trivet.tokens.create("auditor", cluster=bench.cluster)["secret"]
    bench.endpoint = replace(bench.endpoint, token=secret)
    assert not bench.run()
    assert conditions(bench) == {}
    assert bench.log("putOff")[-1]["reason"] == "unauthorized"
