"""The service on Kubernetes and under systemd: manifests and units follow their schemas, and hang together."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml

from trivet.cli.main import app
from trivet.settings import ServerSettings
from trivet.settings.file import CONFIG_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "deploy/kubernetes/service"
UNITS = ROOT / "deploy/systemd"
OVERLAYS = ("sqlite", "postgresql")
SETTINGS = {f"TRIVET_{name.upper()}" for name in ServerSettings.model_fields} | {CONFIG_VARIABLE}
IMAGE = "trivet:0.1.0"
Manifest = dict[str, Any]
every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@cache
def _built(kubectl: str, overlay: str, folder: Path) -> list[Manifest]:
    """Build an overlay with both components, as an operator's own kustomization would."""
    components = ["service-monitor"] + (["backup"] if overlay == "postgresql" else [])
    wanted = {
        "resources": [f"../service/overlays/{overlay}"],
        "components": [f"../service/components/{name}" for name in components],
        "namespace": "trivet",
        "images": [{"name": "trivet", "newTag": IMAGE.split(":")[1]}],
    }
    (folder / overlay).mkdir()
    (folder / overlay / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    if not (folder / "service").exists():
        (folder / "service").symlink_to(SERVICE)
    command = [kubectl, "kustomize", "--load-restrictor=LoadRestrictionsNone", str(folder / overlay)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "deprecated" not in built.stderr
    return list(yaml.safe_load_all(built.stdout))


@pytest.fixture(scope="module")
def built(
    require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[Manifest]]:
    kubectl, folder = require_tool("kubectl"), tmp_path_factory.mktemp("kustomize")
    return lambda overlay: _built(kubectl, overlay, folder)


def _one(manifests: list[Manifest], kind: str, name: str = "trivet") -> Manifest:
    (found,) = [one for one in manifests if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def _pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Give the template of each pod, by kind."""
    found = {}
    for one in manifests:
        spec = one.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            found[one["kind"]] = spec["template"]
    return found


def _containers(pod: Manifest) -> list[Manifest]:
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


# --- Kubernetes ---


@every_overlay
def test_what_kustomize_builds_follows_the_schemas_of_kubernetes(
    overlay: str, built: Callable[[str], list[Manifest]]
) -> None:
    kinds = set()
    for manifest in built(overlay):
        kinds.add(manifest["kind"])
        if manifest["kind"] == "ServiceMonitor":  # of the Prometheus operator
            continue
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    common = {"Namespace", "ServiceAccount", "ConfigMap", "Service", "Deployment", "NetworkPolicy"}
    of_its_own = {
        "sqlite": {"PersistentVolumeClaim"},
        "postgresql": {"Job", "CronJob", "PodDisruptionBudget", "PersistentVolumeClaim"},
    }
    assert kinds == common | of_its_own[overlay] | {"ServiceMonitor"}


@every_overlay
def test_every_pod_keeps_to_the_restricted_standard(
    overlay: str, built: Callable[[str], list[Manifest]]
) -> None:
    # https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and more than that.
    namespace = _one(built(overlay), "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in _pods(built(overlay)).values():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not spec["automountServiceAccountToken"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert {kind for volume in spec["volumes"] for kind in volume.keys() - {"name"}} <= {
            "secret", "emptyDir", "persistentVolumeClaim"}  # fmt: skip
        for container in _containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            assert container["image"] == IMAGE


@every_overlay
def test_secrets_come_by_reference_and_stand_in_no_manifest(
    overlay: str, built: Callable[[str], list[Manifest]]
) -> None:
    assert "Secret" not in {manifest["kind"] for manifest in built(overlay)}
    for pod in _pods(built(overlay)).values():
        (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == "key-encryption-key"]
        assert volume["secret"]["defaultMode"] == 0o440
        for container in _containers(pod):
            variables = {one["name"]: one for one in container["env"]}
            path = Path(variables["TRIVET_KEY_ENCRYPTION_KEY_FILE"]["value"])
            (mount,) = [one for one in container["volumeMounts"] if one["name"] == "key-encryption-key"]
            assert (str(path.parent), mount["readOnly"]) == (mount["mountPath"], True)
            assert path.name in {item["path"] for item in volume["secret"]["items"]}
            if overlay == "postgresql":
                reference = variables["TRIVET_DATABASE_URL"]["valueFrom"]["secretKeyRef"]
                assert reference == {"name": "trivet-database", "key": "url"}
    text = "".join(path.read_text() for path in SERVICE.rglob("*.yaml"))
    assert not re.search(r"PRIVATE KEY|AGE-SECRET-KEY|\btrivet_[A-Za-z0-9_-]{20,}|://\w+:\w+@", text)


@every_overlay
def test_settings_and_options_are_such_as_there_are(
    overlay: str, built: Callable[[str], list[Manifest]]
) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    configured = {
        key
        for one in built(overlay)
        if one["kind"] == "ConfigMap" and "backup" not in one["metadata"]["name"]
        for key in one["data"]
    }
    assert configured <= SETTINGS
    for pod in _pods(built(overlay)).values():
        for container in _containers(pod):
            assert {one["name"] for one in container["env"]} <= SETTINGS
            if "args" in container:
                command, *rest = container["args"]
                options = {
                    name
                    for option in commands[command].params
                    for name in (*option.opts, *option.secondary_opts)
                }
                assert {word.split("=")[0] for word in rest} <= options


@every_overlay
def test_everything_finds_the_pods_that_it_is_for(
    overlay: str, built: Callable[[str], list[Manifest]]
) -> None:
    manifests = built(overlay)
    pods = {kind: pod["metadata"]["labels"] for kind, pod in _pods(manifests).items()}

    def selected(labels: dict[str, str]) -> set[str]:
        return {kind for kind, having in pods.items() if labels.items() <= having.items()}

    deployment = _one(manifests, "Deployment")
    assert selected(deployment["spec"]["selector"]["matchLabels"]) == {"Deployment"}
    service = _one(manifests, "Service")
    assert selected(service["spec"]["selector"]) == {"Deployment"}
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports
    covered = [
        selected(one["spec"]["podSelector"]["matchLabels"])
        for one in manifests
        if one["kind"] == "NetworkPolicy"
    ]
    assert set().union(*covered) == pods.keys()
    assert all(
        set(one["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        for one in manifests
        if one["kind"] == "NetworkPolicy"
    )
    monitor = _one(manifests, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert {one["port"] for one in monitor["endpoints"]} <= {
        port["name"] for port in service["spec"]["ports"]
    }


def test_on_sqlite_there_is_one_replica_that_goes_nowhere_and_never_two_at_a_time(
    built: Callable[[str], list[Manifest]],
) -> None:
    manifests = built("sqlite")
    spec = _one(manifests, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert _one(manifests, "PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert not _one(manifests, "NetworkPolicy")["spec"]["egress"]
    (configured,) = [one for one in manifests if one["kind"] == "ConfigMap"]
    path = configured["data"]["TRIVET_DATABASE_URL"].removeprefix("sqlite:///")
    for container in _containers(spec["template"]):
        mounts = [
            mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "installation"
        ]
        assert Path(path).is_relative_to(mounts[0])


def test_on_postgresql_replicas_survive_a_drain_and_an_update(built: Callable[[str], list[Manifest]]) -> None:
    manifests = built("postgresql")
    spec = _one(manifests, "Deployment")["spec"]
    budget = _one(manifests, "PodDisruptionBudget")["spec"]
    assert spec["replicas"] - budget["maxUnavailable"] >= 2
    labels = spec["template"]["metadata"]["labels"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    egress = _one(manifests, "NetworkPolicy")["spec"]["egress"]
    assert {port["port"] for rule in egress for port in rule["ports"]} == {53, 5432}


@every_overlay
def test_a_pod_has_the_time_that_requests_in_flight_take(
    overlay: str, built: Callable[[str], list[Manifest]]
) -> None:
    spec = _one(built(overlay), "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    shutdown = ServerSettings.model_fields["shutdown_seconds"].default
    assert spec["terminationGracePeriodSeconds"] > shutdown + pause


# --- systemd ---


def test_the_image_is_that_of_the_compose_file() -> None:
    assert f"image: {IMAGE}\n" in (ROOT / "docker-compose.yml").read_text()


def _unit(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Copy the units; the command is not where they have it, on a machine that only tests."""
    for path in UNITS.iterdir():
        text = path.read_text().replace(
            "/opt/trivet/bin/trivet", str(Path(sys.executable).with_name("trivet"))
        )
        (tmp_path / path.name).write_text(text)
    return tmp_path


NAMES = ("trivet.service", "trivet-backup.service", "trivet-backup.timer")


def test_systemd_finds_no_fault_with_the_units(units: Path, require_tool: Callable[[str], str]) -> None:
    command = [require_tool("systemd-analyze"), "verify", *(str(units / name) for name in NAMES)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "exposure"),
    [("trivet.service", 15), ("trivet-backup.service", 15), ("trivet-agent.service", 27)],
)
def test_the_units_leave_little_open(
    name: str, exposure: int, units: Path, require_tool: Callable[[str], str]
) -> None:
    analyze = require_tool("systemd-analyze")

    def rated() -> subprocess.CompletedProcess[str]:
        command = [
            analyze,
            "security",
            "--offline=yes",
            "--no-pager",
            f"--threshold={exposure}",
            str(units / name),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert rated().returncode == 0, rated().stdout[-200:]
    unit = units / name
    unit.write_text(
        unit.read_text().replace("ProtectSystem=strict\n", "").replace("NoNewPrivileges=yes\n", "")
    )
    assert rated().returncode != 0


@pytest.mark.parametrize("name", ["trivet.service", "trivet-backup.service"])
def test_the_units_name_settings_and_commands_that_there_are(name: str) -> None:
    unit = _unit(name)
    variables = {value.partition("=")[0] for value in unit["Environment"]} - {"KEPT_DAYS"}
    assert variables <= SETTINGS
    (credential,) = unit["LoadCredential"]
    assert f"TRIVET_KEY_ENCRYPTION_KEY_FILE=%d/{credential.partition(':')[0]}" in unit["Environment"]
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for line in unit["ExecStart"] + unit.get("ExecStartPre", []):
        found = re.search(r"/opt/trivet/bin/trivet (\S+)(.*)", line)
        assert found is not None
        options = {option for one in commands[found[1]].params for option in one.opts}
        assert set(re.findall(r"--[a-z-]+", found[2])) <= options


def test_the_service_has_the_time_that_requests_in_flight_take() -> None:
    seconds = int(_unit("trivet.service")["TimeoutStopSec"][0])
    assert seconds > ServerSettings.model_fields["shutdown_seconds"].default
