"""What is asked of CertificateSigningRequests by kubectl, and the files for it."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import yaml

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET = "kubernetes.io/kube-apiserver-client-kubelet"
OPENSSL = "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj"

# As in tests/e2e/test_kubectl.py: one command a line; `!` before it says that it fails.
REQUESTS = """
create -f jane.yaml
! create -f jane.yaml
get csr
get csr jane -o name
get csr jane -o jsonpath={.spec.signerName}
describe csr jane
certificate approve jane
get csr
describe csr jane
wait csr jane --for=condition=Approved --timeout=10s
! certificate deny jane
create -f joe.yaml
certificate deny joe
get csr joe
! certificate approve joe
! create -f wrong.yaml
! create -f masters.yaml
--context=bootstrap create -f node.yaml
--context=bootstrap get csr
! --context=bootstrap get csr jane
! --context=bootstrap create -f bootstrapped.yaml
explain csr.spec.signerName
auth can-i update certificatesigningrequests/approval
delete csr jane joe
! get csr jane
"""
DETAILED_REQUESTS = """
apply -f jane.yaml --dry-run=server
apply -f jane.yaml
apply -f jane.yaml
! diff -f labelled.yaml
apply -f labelled.yaml
get csr -l team=blue -o name
get csr --field-selector spec.signerName=kubernetes.io/kube-apiserver-client -o name
get csr --field-selector metadata.name=jane -o wide
! get csr --field-selector spec.username=x
patch csr jane -p '{"metadata":{"labels":{"owner":"jane"}}}'
patch csr jane --type=merge -p '{"spec":{"usages":["any"]}}'
label csr jane owner-
annotate csr jane note=hello
edit csr jane
apply --server-side -f jane.yaml --force-conflicts
get csr jane -o jsonpath={.metadata.labels}
! patch csr jane --subresource=status --type=merge -p '{"status":{"certificate":"bm9uZQ=="}}'
patch csr jane --subresource=approval --patch-file=approve.yaml
get csr jane --subresource=status -o jsonpath={.status.conditions[0].reason}
! patch csr jane --subresource=approval -p '{"status":{"conditions":[]}}'
create -f generated.yaml
get csr --chunk-size=1 -o custom-columns=SIGNER:.spec.signerName --sort-by=.metadata.name
--context=kubelet create -f next.yaml
--context=kubelet get csr next -o jsonpath={.spec.username}
! --context=kubelet create -f foreign.yaml
! --context=approver create -f joe.yaml
create -f joe.yaml
! --context=auditor certificate approve joe
--context=approver certificate approve joe
! --context=auditor delete csr joe
explain csr.status
auth can-i --list
get --raw /kubernetes/CLUSTER/apis/certificates.k8s.io/v1
delete csr joe --dry-run=server
delete csr --all
get csr
"""


def write_files(folder: Path) -> None:
    """Write what the commands name; the keys stay beside their requests."""
    nodes = {name: f"/O=system:nodes/CN=system:node:{name}" for name in ("node-1", "node-2", "node-3")}
    people = {"jane": "/O=team-blue/CN=jane", "joe": "/CN=joe", "root": "/O=system:masters/CN=root"}
    (folder / "approve.yaml").write_text(
        "status: {conditions: [{type: Approved, status: 'True', reason: Patched}]}"
    )
    asked = {name: _request(folder, name, subject) for name, subject in (nodes | people).items()}
    manifests: dict[str, tuple[str, str, str, dict[str, object]]] = {
        "jane": ("jane", asked["jane"], CLIENT, {"expirationSeconds": 3600}),
        "joe": ("joe", asked["joe"], CLIENT, {}),
        "wrong": ("wrong", asked["jane"], CLIENT, {"usages": ["client auth", "server auth"]}),
        "masters": ("masters", asked["root"], CLIENT, {}),
        "node": ("node-csr-2", asked["node-2"], KUBELET, {}),
        "bootstrapped": ("other", asked["jane"], CLIENT, {}),
        "next": ("next", asked["node-1"], KUBELET, {}),
        "foreign": ("foreign", asked["node-3"], KUBELET, {}),
    }
    for file, (name, request, signer, more) in manifests.items():
        usages = ["digital signature", "client auth"]
        spec: dict[str, object] = {"request": request, "signerName": signer, "usages": usages}
        _write(folder / f"{file}.yaml", {"name": name}, spec | more)
    spec = yaml.safe_load((folder / "jane.yaml").read_text())["spec"]
    _write(folder / "labelled.yaml", {"name": "jane", "labels": {"team": "blue"}}, spec)
    _write(folder / "generated.yaml", {"generateName": "laptop-"}, spec)


def _write(path: Path, metadata: dict[str, object], spec: dict[str, object]) -> None:
    document = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    path.write_text(yaml.safe_dump(document | {"metadata": metadata, "spec": spec}))


def _request(folder: Path, name: str, subject: str) -> str:
    """Make a key and a request for it; in Base64, as a manifest has it."""
    key, request = folder / f"{name}.key", folder / f"{name}.csr"
    command = [*OPENSSL.split(), subject, "-keyout", str(key), "-out", str(request)]
    subprocess.run(command, check=True, capture_output=True)
    return base64.b64encode(request.read_bytes()).decode()
