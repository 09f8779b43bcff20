from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate as schemas
import pytest
import typer
import yaml

from trivet.agent.plan import parse_plan
from trivet.agent.plan.builtin import Choices, built_in_plan
from trivet.cli.main import app
from trivet.settings import ClientSettings

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy/systemd/trivet-agent.service"
MANIFESTS = ROOT / "deploy/kubernetes/agent"
WORKER = MANIFESTS / "certificate-renewal-worker.yaml"
CONTROLLER = MANIFESTS / "certificate-renewal-controller.yaml"
MODES = {"worker": "worker", "controller": "control-plane"}
every_mode = pytest.mark.parametrize("mode", list(MODES))


def _documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def _pod(mode: str) -> dict[str, Any]:
    """The spec of the pod that runs the agent."""
    if mode == "controller":
        (pod,) = _documents(CONTROLLER)
        return dict(pod["spec"])
    (found,) = [document for document in _documents(WORKER) if document["kind"] == "DaemonSet"]
    return dict(found["spec"]["template"]["spec"])


def _container(mode: str) -> dict[str, Any]:
    (container,) = _pod(mode)["containers"]
    return dict(container)


def _options() -> dict[str, list[str]]:
    """The agent's options, and the environment variables that stand for them."""
    command = typer.main.get_command(app).commands["agent"]  # type: ignore[attr-defined]
    return {
        name: [option.envvar] if option.envvar else [] for option in command.params for name in option.opts
    }


def _settings() -> dict[str, list[str]]:
    section: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            section.setdefault(name, []).append(value)
    return section


# --- systemd ---


def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    analyze = require_tool("systemd-analyze")
    # The command is not where the unit has it, on a machine that only tests.
    text = UNIT.read_text().replace("/opt/trivet/bin/trivet", str(Path(sys.executable).with_name("trivet")))
    unit = tmp_path / UNIT.name
    unit.write_text(text)
    checked = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    unit.write_text(text.replace("ProtectSystem=strict", "ProtectSystm=strict"))
    checked = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "ProtectSystm" in checked.stderr


def test_the_unit_keeps_to_what_the_agent_needs() -> None:
    settings = _settings()
    wanted = {
        "Type": ["notify"],
        "NoNewPrivileges": ["yes"],
        "ProtectSystem": ["strict"],
        "ProtectHome": ["yes"],
        "UMask": ["0077"],
        "StateDirectory": ["trivet"],
        "Restart": ["always"],
        "ExecReload": ["/bin/kill -HUP $MAINPID"],
    }
    assert {name: settings.get(name) for name in wanted} == wanted
    assert set(settings["CapabilityBoundingSet"][0].split()) == {
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL"}  # fmt: skip


def test_the_unit_starts_the_agent_with_options_that_there_are() -> None:
    (start,) = _settings()["ExecStart"]
    words = start.split()
    assert words[1] == "agent"
    assert {word for word in words if word.startswith("-")} <= _options().keys()


# --- Kubernetes ---


def _planned_folders(mode: str) -> set[Path]:
    choices = Choices("demo", "node-1", "api.example:6443", ("10.0.0.10",))
    plan = parse_plan(built_in_plan(MODES[mode], choices).encode())
    files = [file for planned in plan.certificates for file in planned.files]
    files += [bundle.file for bundle in plan.trust_bundles] + [item.file for item in plan.kubeconfigs]
    return {Path(file.path.parent) for file in files}


@pytest.mark.parametrize("path", [WORKER, CONTROLLER], ids=lambda path: path.name)
def test_a_manifest_follows_the_schema_of_kubernetes(path: Path) -> None:
    for document in _documents(path):
        schemas.validate(document, schemas.latest_version(), strict=True)
        wrong = document | {"metadata": document["metadata"] | {"nmae": "x"}}
        with pytest.raises(schemas.ValidationError):
            schemas.validate(wrong, schemas.latest_version(), strict=True)


@every_mode
def test_the_agents_pod_has_no_more_rights_than_its_files_take(mode: str) -> None:
    pod, container = _pod(mode), _container(mode)
    context = container["securityContext"]
    assert not context["privileged"]
    assert not context["allowPrivilegeEscalation"]
    assert context["readOnlyRootFilesystem"]
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "hostPID" not in pod
    assert "hostIPC" not in pod
    assert pod["automountServiceAccountToken"] is False
    assert container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}


@every_mode
def test_the_agents_pod_mounts_all_folders_of_the_built_in_plan_and_no_other_of_the_host(mode: str) -> None:
    pod, container = _pod(mode), _container(mode)
    hosts = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume}
    mounted = {mount["name"]: mount for mount in container["volumeMounts"]}
    writable = {Path(hosts[name]) for name in hosts if not mounted[name].get("readOnly")}
    for folder in _planned_folders(mode):
        assert writable & {folder, *folder.parents}, folder
    assert writable == {Path("/etc/kubernetes"), Path("/var/lib/kubelet/pki"), Path("/var/lib/trivet")}
    for name in hosts.keys() - {"plan", "settings"}:
        assert mounted[name]["mountPath"] == f"/host{hosts[name]}"
    assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}  # noqa: S108  the root is read-only


@every_mode
def test_the_agents_pod_names_options_and_settings_that_there_are(mode: str) -> None:
    container = _container(mode)
    arguments = container["args"]
    assert arguments[:3] == ["agent", "--mode", mode]
    options = _options()
    assert {word for word in arguments if word.startswith("-")} <= options.keys()
    known = {variable for variables in options.values() for variable in variables}
    known |= {f"TRIVET_{name.upper()}" for name in ClientSettings.model_fields} | {"TRIVET_CONFIG"}
    assert {variable["name"] for variable in container["env"]} <= known


def test_the_agents_pods_have_the_names_of_their_logs_and_hold_no_secret() -> None:
    names = {document["metadata"]["name"] for path in (WORKER, CONTROLLER) for document in _documents(path)}
    assert names == {"certificate-renewal-worker", "certificate-renewal-controller", "certificate-renewal"}
    for text in (WORKER.read_text(), CONTROLLER.read_text()):
        assert not re.search(r"PRIVATE KEY|\btrivet_[A-Za-z0-9_-]{20,}", text)


def test_a_static_pod_refers_to_nothing_that_an_api_server_would_have_to_give() -> None:
    # kubelet refuses such a pod (pkg/kubelet/config/common.go).
    assert list(_references(_documents(CONTROLLER)[0])) == []


def _references(value: object) -> Iterator[str]:
    forbidden = {"configMap", "configMapKeyRef", "secret", "secretKeyRef", "serviceAccountName", "envFrom"}
    if isinstance(value, dict):
        for key, inside in value.items():
            if key in forbidden:
                yield key
            yield from _references(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _references(inside)
