"""Unmodified kubectls against a real `trivet serve`: what they print is compared with what was agreed upon.

`TRIVET_UPDATE_GOLDEN=1` writes the transcripts anew; a version that differs has one of its own.
"""

from __future__ import annotations

import base64
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.kubectl import Kubectl, found_kubectls, make_kubectl, steady
from tests.support.request_stories import DETAILED_REQUESTS, REQUESTS, write_files
from tests.support.served import Served, serving, set_up

GOLDEN = Path(__file__).parents[1] / "golden/kubectl"
SAMPLE = Path(__file__).parents[1] / "vectors/renew-revocation.yaml"
PAIR = {"client-certificate": "crt", "client-key": "key"}
WATCHED = "custom-columns=NAME:.metadata.name,CONDITION:.status.conditions[*].type"
KUBECTLS = found_kubectls()
NEWEST = max(KUBECTLS, default=(0, 0))

pytestmark = pytest.mark.slow

OBJECT = """\
apiVersion: certificates.microsoft.com/v1
kind: RenewRevocation
metadata:
  name: laptop
  labels: {team: blue}
spec:
  description: a stolen laptop
  revocations:
  - {kind: Group, group: nobody}
"""
FILES = {
    "laptop.yaml": OBJECT,
    "changed.yaml": OBJECT.replace("nobody", "anybody").replace("stolen", "found"),
    "unknown.yaml": OBJECT.replace("kind: Group", "kind: Group, colour: red"),
    "invalid.yaml": OBJECT.replace("kind: Group, group: nobody", "kind: IP, ip: nonsense"),
    "generated.yaml": OBJECT.replace("name: laptop", "generateName: laptop-"),
    "patch.yaml": """\
- {op: test, path: /spec/description, value: patched}
- {op: replace, path: /spec/description, value: again}
""",
    "desk.yaml": OBJECT.replace("name: laptop", "name: desk"),
}

# One command a line; `!` before it says that it fails. Its lines are shown in the transcript.
SHORT = """
--context=node auth whoami
! --context=node get rr
api-resources
apply -f sample.yaml
apply -f sample.yaml
get renewrevocations -A
get rr my-renew-revocation -o yaml --show-managed-fields
! diff -f sample-changed.yaml
apply -f sample-changed.yaml
! patch rr my-renew-revocation -p '{"spec":{"description":"x"}}'
apply --server-side -f laptop.yaml
! apply --server-side -f changed.yaml --field-manager=other
auth whoami
auth can-i create renewrevocations
explain renewrevocation.spec
wait rr laptop --for=jsonpath='{.spec.description}'='a stolen laptop' --timeout=10s
delete rr my-renew-revocation laptop
! get rr laptop
"""
DETAILED = """
version
api-versions
auth can-i --list
! auth can-i delete pods
create -f laptop.yaml --dry-run=server
! get rr laptop
create -f laptop.yaml
! create -f laptop.yaml
get rr
get rr -o wide
get rr laptop -o name
get rr laptop -o jsonpath={.spec.revocations[0].group}
get rr -l team=blue
get rr -l 'team notin (blue, red)'
get rr -l '!team'
! get rr -l 'team=a=b'
get rr --field-selector metadata.name=laptop
! get rr --field-selector spec.description=x
describe rr laptop
! diff -f changed.yaml
apply -f changed.yaml
apply -f changed.yaml
get rr laptop -o yaml --show-managed-fields
apply --server-side -f changed.yaml
get rr laptop -o yaml --show-managed-fields
! apply --server-side -f laptop.yaml --field-manager=other
apply --server-side -f laptop.yaml --field-manager=other --force-conflicts
get rr laptop -o yaml --show-managed-fields
! apply -f unknown.yaml
apply -f unknown.yaml --validate=warn
! create -f unknown.yaml
! apply -f invalid.yaml
! create -f invalid.yaml
label rr laptop owner=jane
label rr laptop owner=jane
label rr laptop owner-
annotate rr laptop note=hello
patch rr laptop --type=merge -p '{"spec":{"description":"patched"}}'
patch rr laptop --type=merge -p '{"spec":{"description":"patched"}}'
patch rr laptop --type=json --patch-file=patch.yaml
! patch rr laptop --type=json -p '[{"op":"test","path":"/spec/description","value":"patched"}]'
! patch rr laptop -p '{"spec":{"description":"x"}}'
! patch rr laptop --type=merge -p '{"metadata":{"resourceVersion":"1"},"spec":{"description":"x"}}'
! patch rr laptop --type=merge -p '{"spec":{"revocations":[]}}'
edit rr laptop
replace -f laptop.yaml
! replace -f desk.yaml
create -f generated.yaml
get rr --chunk-size=1 -o name --sort-by=.metadata.creationTimestamp
! create -f laptop.yaml -n nowhere
create -f laptop.yaml -n default
get rr -A -o custom-columns=NAMESPACE:.metadata.namespace,GENERATION:.metadata.generation
get namespaces
! get namespace nowhere
get events
! create namespace mine
! get pods
! wait rr laptop --for=jsonpath='{.spec.description}'=never --timeout=1s
delete rr laptop --dry-run=server
delete rr laptop
! delete rr laptop
delete rr laptop --ignore-not-found
delete rr --all -A
get rr -A
get --raw /kubernetes/CLUSTER/healthz
get --raw /kubernetes/CLUSTER/apis/certificates.microsoft.com
! get --raw /kubernetes/CLUSTER/nothing
! --context=stranger get rr
--context=auditor get rr -A
--context=auditor create -f laptop.yaml --dry-run=server
! --context=auditor create -f laptop.yaml
--context=auditor auth whoami
! --context=auditor auth can-i create rr
! --context=node auth whoami
! --context=elsewhere get rr
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = set_up(tmp_path_factory.mktemp("kubectl"))
    with serving(served, "--workers", "2"):
        yield served


def cluster_of(version: tuple[int, int], served: Served) -> str:
    name = "v{}-{}".format(*version)
    served.make_cluster(name)
    return name


def kubectl_for(version: tuple[int, int], served: Served, cluster: str) -> Kubectl:
    folder = served.folder / cluster
    folder.mkdir()
    other = f"{cluster}-other"
    served.make_cluster(other)
    users = {
        "admin": {"token": served.admin_token},
        "auditor": {"token": served.make_token("auditor", cluster)},
        "approver": {"token": served.make_token("approver", cluster)},
        "bootstrap": {"token": served.make_bootstrap_token(cluster)},
        "elsewhere": {"token": served.make_token("admin", other)},
        "stranger": {"token": "trivet_" + "x" * 43},
        "node": node_credentials(served, cluster, folder, "node"),
        "kubelet": {name: str(folder / f"kubelet.{end}") for name, end in PAIR.items()},
    }
    server = f"{served.url}/kubernetes/{cluster}"
    kubectl = make_kubectl(KUBECTLS[version], folder, server, served.service_ca, users)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    sample = SAMPLE.read_text()
    (folder / "sample.yaml").write_text(sample)
    (folder / "sample-changed.yaml").write_text(sample.replace("My list", "Our list"))
    return kubectl


def node_credentials(served: Served, cluster: str, folder: Path, name: str) -> dict[str, str]:
    """Issue a kubelet's certificate, and name it in the kubeconfig."""
    key, request = folder / f"{name}.key", folder / f"{name}.csr"
    command = "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj"
    subject = "/O=system:nodes/CN=system:node:node-1"
    subprocess.run(
        [*command.split(), subject, "-keyout", key, "-out", request], check=True, capture_output=True
    )
    with served.client() as client:
        body = {"profile": "kubelet-client", "node": "node-1", "csr": request.read_text()}
        made = client.post(f"/api/v1/clusters/{cluster}/certificates", json=body)
    assert made.status_code == 201, made.text
    (folder / f"{name}.crt").write_text(made.json()["certificate"])
    return {"client-certificate": str(folder / f"{name}.crt"), "client-key": str(key)}


def transcript(kubectl: Kubectl, commands: str, cluster: str) -> str:
    """Run each command and write down what it printed; whether it may fail is part of the command."""
    kubectl.environment["EDITOR"] = "sed -i s/again/edited/"
    told = []
    for line in commands.strip().splitlines():
        fails, command = line.startswith("! "), line.removeprefix("! ")
        arguments = shlex.split(command.replace("CLUSTER", cluster))
        status, printed = kubectl.run(*arguments)
        shown = steady(printed).replace(cluster, "CLUSTER")
        assert (status != 0) is fails, f"{command}: exit status {status}\n{printed}"
        told.append(f"$ kubectl {command}\n{shown}")
    return "\n".join(told)


def compare(story: str, version: tuple[int, int], told: str) -> None:
    """Compare with the transcript of this version, else with that of all."""
    own, of_all = GOLDEN / f"{story}.{version[0]}.{version[1]}.txt", GOLDEN / f"{story}.txt"
    if os.environ.get("TRIVET_UPDATE_GOLDEN"):
        if version == NEWEST:
            of_all.write_text(told)
        elif told != of_all.read_text():
            own.write_text(told)
        elif own.exists():
            own.unlink()
    expected = own if own.exists() else of_all
    assert told == expected.read_text(), f"not as in {expected.name}"


@pytest.mark.parametrize("version", sorted(KUBECTLS, reverse=True), ids="{0[0]}.{0[1]}".format)
def test_every_kubectl_finds_an_api_server_that_it_knows(version: tuple[int, int], served: Served) -> None:
    cluster = cluster_of(version, served)
    kubectl = kubectl_for(version, served, cluster)
    compare("short", version, transcript(kubectl, SHORT, cluster))
    if version == NEWEST:
        compare("detailed", version, transcript(kubectl, DETAILED, cluster))
    write_files(kubectl.folder)
    node_credentials(served, cluster, kubectl.folder, "kubelet")  # the node's own is revoked by now
    compare("requests", version, transcript(kubectl, REQUESTS, cluster))
    if version == NEWEST:
        compare("requests-detailed", version, transcript(kubectl, DETAILED_REQUESTS, cluster))


def test_there_is_a_kubectl_to_test_with(require_tool: object) -> None:
    assert callable(require_tool)
    require_tool("kubectl")
    assert KUBECTLS, "the kubectl that is installed is older than 1.29"


@pytest.mark.skipif(not KUBECTLS, reason="kubectl is not installed")
def test_a_watch_tells_of_each_change_and_what_rest_changes_and_ends_with_the_service(
    tmp_path: Path,
) -> None:
    served = set_up(tmp_path)
    with serving(served, "--workers", "2") as process:
        served.make_cluster("blue")
        users = {"admin": {"token": served.admin_token}}
        server = f"{served.url}/kubernetes/blue"
        kubectl = make_kubectl(KUBECTLS[NEWEST], tmp_path / "home", server, served.service_ca, users)
        watching = kubectl.start("get", "rr", "-A", "--watch", "--output-watch-events", "--no-headers")
        watched = kubectl.start("get", "rr", "-A", "-l", "team=blue", "-w", "-o", "name")
        time.sleep(1.5)
        (kubectl.folder / "laptop.yaml").write_text(OBJECT)
        assert kubectl.run("create", "-f", "laptop.yaml")[0] == 0
        assert kubectl.run("label", "rr", "laptop", "team=red", "--overwrite")[0] == 0
        with served.client() as client:
            place = "/api/v1/clusters/blue/renew-revocations"
            document = client.get(f"{place}/kube-system/laptop").json()
            document["metadata"]["labels"] = {"team": "blue"}
            document.pop("status")
            assert client.put(f"{place}/kube-system/laptop", json=document).status_code == 200
            assert client.delete(f"{place}/kube-system/laptop").status_code == 204
        time.sleep(1.5)
        seconds = served.ended_in(process)
        for watcher in (watching, watched):
            watcher.terminate()
        told, selected = watching.communicate()[0], watched.communicate()[0]
    assert [line.split()[0] for line in told.splitlines()] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"], (
        told
    )
    # Seen, no longer selected, selected again, deleted.
    assert selected.splitlines() == ["renewrevocation.certificates.microsoft.com/laptop"] * 4
    assert seconds < 15, "watches kept the service from ending"


@pytest.mark.skipif(not KUBECTLS, reason="kubectl is not installed")
def test_a_certificate_is_approved_watched_and_verified_by_openssl(served: Served, tmp_path: Path) -> None:
    served.make_cluster("green")
    server = f"{served.url}/kubernetes/green"
    users = {"admin": {"token": served.admin_token}}
    kubectl = make_kubectl(KUBECTLS[NEWEST], tmp_path / "home", server, served.service_ca, users)
    write_files(kubectl.folder)
    watching = kubectl.start("get", "csr", "--watch", "--no-headers", "-o", WATCHED)
    time.sleep(1.5)
    assert kubectl.run("create", "-f", "jane.yaml")[0] == 0
    assert kubectl.run("certificate", "approve", "jane")[0] == 0
    status, encoded = kubectl.run("get", "csr", "jane", "-o", "jsonpath={.status.certificate}")
    assert status == 0
    assert kubectl.run("delete", "csr", "jane")[0] == 0
    time.sleep(1.5)
    watching.terminate()
    told = watching.communicate()[0]
    # Made, approved, issued, deleted: as it was then.
    conditions = ["<none>", "Approved", "Approved", "Approved"]
    assert [line.split() for line in told.splitlines()] == [["jane", each] for each in conditions], told
    certificate, authority = tmp_path / "jane.crt", tmp_path / "ca.crt"
    certificate.write_bytes(base64.b64decode(encoded))
    with served.client() as client:
        answer = client.get("/api/v1/clusters/green/authorities/cluster/bundle")
        authority.write_text(answer.text)
    verify = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile"]
    subprocess.run([*verify, authority, certificate], check=True, capture_output=True)
