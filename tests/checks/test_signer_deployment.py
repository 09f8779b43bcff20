from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import typer
import yaml

from trivet.cli.main import app
from trivet.pki.kubernetes import PROFILES
from trivet.settings import ClientSettings
from trivet.signer.kubeconfig import read_access
from trivet.signer.manifests import LOCK_OUT, MIRRORED, Standing, status_for
from trivet.signer.resources import CERTIFICATE_SIGNING_REQUESTS, NAMESPACES, RENEW_REVOCATIONS
from trivet.web.kubernetes.schema import RENEW_REVOCATION_SCHEMA

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/kubernetes/signer"
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")


def _documents() -> list[dict[str, Any]]:
    return [document for path in FILES for document in yaml.safe_load_all(path.read_text()) if document]


def _one(kind: str) -> dict[str, Any]:
    (found,) = [document for document in _documents() if document["kind"] == kind]
    return found


def _pod() -> dict[str, Any]:
    return dict(_one("Deployment")["spec"]["template"]["spec"])


def _schema() -> dict[str, Any]:
    (version,) = _one("CustomResourceDefinition")["spec"]["versions"]
    return dict(version["schema"]["openAPIV3Schema"])


def test_kustomize_takes_every_file() -> None:
    taken = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert sorted(taken) == [path.name for path in FILES]


def test_kustomize_builds_it(require_tool: Callable[[str], str]) -> None:
    kubectl = require_tool("kubectl")
    built = subprocess.run(
        [kubectl, "kustomize", FOLDER], capture_output=True, text=True, check=True, timeout=60
    )
    assert len(list(yaml.safe_load_all(built.stdout))) == len(_documents())


def test_the_manifests_follow_the_schemas_of_kubernetes() -> None:
    schemas = pytest.importorskip("kubernetes_validate", reason="the schemas of Kubernetes are not installed")
    for document in _documents():
        schemas.validate(document, schemas.latest_version(), strict=True)


# --- the definition ---


def test_the_definition_knows_the_fields_that_trivet_knows() -> None:
    def bare(schema: dict[str, Any]) -> dict[str, Any]:
        kept = {
            key: value
            for key, value in schema.items()
            if key in {"type", "required", "maxLength", "minItems", "maxItems"}
        }
        if "properties" in schema:
            kept["properties"] = {name: bare(inside) for name, inside in schema["properties"].items()}
        return kept | ({"items": bare(schema["items"])} if "items" in schema else {})

    assert bare(_schema()["properties"]["spec"]) == bare(RENEW_REVOCATION_SCHEMA["properties"]["spec"])


def test_the_definition_is_that_of_the_resource_that_is_followed() -> None:
    spec = _one("CustomResourceDefinition")["spec"]
    followed = (
        RENEW_REVOCATIONS.group,
        RENEW_REVOCATIONS.plural,
        RENEW_REVOCATIONS.kind,
        RENEW_REVOCATIONS.namespaced,
    )
    assert (
        spec["group"],
        spec["names"]["plural"],
        spec["names"]["kind"],
        spec["scope"] == "Namespaced",
    ) == followed
    assert (
        _one("CustomResourceDefinition")["metadata"]["name"] == f"{spec['names']['plural']}.{spec['group']}"
    )
    (version,) = spec["versions"]
    assert version["subresources"] == {"status": {}}


@pytest.mark.parametrize(
    "path", ["tests/vectors/renew-revocation.yaml", "docs/examples/renew-revocation.yaml"]
)
def test_the_definition_accepts_manifests_that_trivet_accepts(path: str) -> None:
    jsonschema.validate(yaml.safe_load((ROOT / path).read_text()), _schema())


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"revocations": []},
        {"revocations": [{}]},
        {"revocations": [{"kind": "Colour"}]},
        {"revocations": 3},
    ],
)
def test_the_definition_refuses_what_trivet_would_refuse(spec: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"spec": spec}, _schema())


def test_the_definition_accepts_the_status_that_is_written() -> None:
    from datetime import UTC, datetime  # noqa: PLC0415

    found = {
        "metadata": {"name": "x", "namespace": "y", "generation": 3},
        "spec": {"revocations": [{"kind": "ip"}]},
    }
    status = status_for(
        found, Standing(MIRRORED, "it holds", ["somebody"]), datetime(2026, 11, 24, tzinfo=UTC)
    )
    jsonschema.validate(found | {"status": status}, _schema())
    assert {condition["type"] for condition in status["conditions"]} == {MIRRORED, LOCK_OUT}
    known = _schema()["properties"]["status"]["properties"]
    assert status.keys() == known.keys(), "an API server prunes what is not known"
    assert all(
        condition.keys() == known["conditions"]["items"]["properties"].keys()
        for condition in status["conditions"]
    )


# --- what it may do ---


def test_the_role_allows_what_the_signer_does_and_no_more() -> None:
    allowed = {
        (group, resource, verb, tuple(sorted(rule.get("resourceNames", ()))))
        for rule in _one("ClusterRole")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    names = tuple(sorted(profile.signer_name for profile in PROFILES.values() if profile.signer_name))
    requests, revocations = CERTIFICATE_SIGNING_REQUESTS, RENEW_REVOCATIONS
    assert allowed == {
        *(
            (kind.group, kind.plural, verb, ())
            for kind in (requests, revocations)
            for verb in ("get", "list", "watch")
        ),
        *((kind.group, f"{kind.plural}/status", "update", ()) for kind in (requests, revocations)),
        (requests.group, "signers", "sign", names),
        (NAMESPACES.group, NAMESPACES.plural, "get", ("kube-system",)),
    }


def test_the_pod_is_restricted() -> None:
    (container,) = _pod()["containers"]
    context = container["securityContext"]
    assert not context["privileged"]
    assert not context["allowPrivilegeEscalation"]
    assert context["readOnlyRootFilesystem"]
    assert context["runAsNonRoot"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & _pod().keys()
    assert container["resources"]["limits"]["memory"]
    assert _one("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert all(mount.get("readOnly") for mount in container["volumeMounts"] if mount["name"] != "tmp")


def test_the_pod_names_options_settings_and_an_account_that_there_are() -> None:
    (container,) = _pod()["containers"]
    command = typer.main.get_command(app).commands["signer"]  # type: ignore[attr-defined]
    options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    assert container["args"][0] == "signer"
    assert {word.partition("=")[0] for word in container["args"][1:]} <= options
    known = {f"TRIVET_{name.upper()}" for name in ClientSettings.model_fields}
    assert {variable["name"] for variable in container["env"]} <= known
    assert _pod()["serviceAccountName"] == _one("ServiceAccount")["metadata"]["name"]
    (subject,) = _one("ClusterRoleBinding")["subjects"]
    assert (subject["name"], subject["namespace"]) == ("trivet-signer", _one("Namespace")["metadata"]["name"])


def test_the_pods_kubeconfig_is_one_that_the_signer_reads(tmp_path: Path) -> None:
    text = _one("ConfigMap")["data"]["kubeconfig"]
    path = tmp_path / "kubeconfig"
    # Where a pod has its service account's CA, this machine has none.
    path.write_text(re.sub(r"\n *certificate-authority: .*", "", text))
    access = read_access(path)
    assert access.server == "https://kubernetes.default.svc"
    assert str(access.token_file) == "/var/run/secrets/kubernetes.io/serviceaccount/token"


def test_the_manifests_hold_no_secret() -> None:
    for path in FILES:
        assert not re.search(r"PRIVATE KEY|\btrivet_[A-Za-z0-9_-]{20,}", path.read_text())
    assert "Secret" not in {document["kind"] for document in _documents()}
