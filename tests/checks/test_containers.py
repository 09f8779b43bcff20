from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import typer
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from sqlalchemy import make_url

from trivet.cli.main import app
from trivet.settings import ClientSettings, ServerSettings
from trivet.settings.file import CONFIG_VARIABLE
from trivet.signing.encryption import KeyEncryptionKey

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
_INSTALLATION = ".trivet/compose/installation"
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
PROXY = (ROOT / "deploy/compose/haproxy.cfg").read_text()
PROBE = ROOT / "deploy/compose/probe.py"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
JOBS = {name for name, service in SERVICES.items() if service["restart"] == "no"}
OF_TRIVET = {name for name, service in SERVICES.items() if "build" in service}
SERVERS = {name for name in OF_TRIVET if SERVICES[name].get("command") == ["serve"]}
every_service = pytest.mark.parametrize("name", sorted(SERVICES))


def _filled_in(text: str, **variables: str) -> str:
    """Replace ${NAME}, ${NAME:-default} and ${NAME:?message}, as Compose does."""
    return re.sub(
        r"\$\{(\w+)(?::([-?+])([^}]*))?\}",
        lambda match: variables.get(match[1], match[3] if match[2] == "-" else ""),
        text,
    )


def _environment(name: str) -> dict[str, str]:
    return {key: _filled_in(str(value)) for key, value in SERVICES[name].get("environment", {}).items()}


def _bind_sources(name: str) -> list[str]:
    volumes = SERVICES[name].get("volumes", [])
    sources = [volume["source"] if isinstance(volume, dict) else volume.split(":")[0] for volume in volumes]
    return [source for source in sources if source not in COMPOSE["volumes"]]


def _target(volume: str | dict[str, Any]) -> str:
    return str(volume["target"]) if isinstance(volume, dict) else volume.split(":")[1]


def _instructions(word: str) -> list[str]:
    return re.findall(rf"^{word} +(.+)$", DOCKERFILE, re.MULTILINE)


def _is_in_build(path: str) -> bool:
    """Whether .dockerignore lets a path into the build: of the rules that match it, the last decides."""
    is_in = True
    for rule in (ROOT / ".dockerignore").read_text().split("\n"):
        pattern = rule.removeprefix("!").removeprefix("**/")
        if not pattern or pattern.startswith("#"):
            continue
        places = [path, *map(str, Path(path).parents[:-1])]
        places += Path(path).parts if "**/" in rule else []
        if any(fnmatch(place, pattern) for place in places):
            is_in = rule.startswith("!")
    return is_in


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what `docker compose` reads, in which secrets were made."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    _make_secrets(tmp_path)
    return tmp_path


def _make_secrets(checkout: Path) -> None:
    subprocess.run([checkout / "deploy/compose/make-secrets"], check=True, capture_output=True, cwd="/")


def _secrets(checkout: Path) -> dict[str, str]:
    return {
        name: (checkout / secret["file"]).read_text().strip() for name, secret in COMPOSE["secrets"].items()
    }


# --- docker-compose.yml ---


def _schema_check(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_compose_file_follows_the_compose_specification(tmp_path: Path) -> None:
    checked = _schema_check(COMPOSE_FILE)
    assert checked.returncode == 0, checked.stdout
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(COMPOSE_FILE.read_text().replace("read_only:", "readonly:"))
    assert _schema_check(wrong).returncode != 0


@every_service
def test_a_service_tells_its_health_or_is_a_job(name: str) -> None:
    health = SERVICES[name].get("healthcheck")
    if name in JOBS:
        assert health == {"disable": True}  # else the image's own would judge it
    elif name in OF_TRIVET:
        assert health is None
        assert _instructions("HEALTHCHECK")
    else:
        assert health is not None
        assert health["test"][0] == "CMD"


@every_service
def test_a_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["user"].startswith("${CONTAINER_USER:?")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & service.keys()


@every_service
def test_no_secret_stands_in_an_environment(name: str) -> None:
    for key, value in _environment(name).items():
        assert urlsplit(value).password is None, key
        if re.search("PASS|SECRET|TOKEN|KEY", key):
            assert key.endswith("FILE")
            assert value.removeprefix("/run/secrets/") in SERVICES[name]["secrets"]


def test_the_proxy_and_grafana_alone_publish_a_port_and_to_this_machine_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"grafana", "proxy"}
    assert [_filled_in(port) for port in published["proxy"]] == ["127.0.0.1:8443:8443"]
    assert [_filled_in(port) for port in published["grafana"]] == ["127.0.0.1:3000:3000"]


def test_monitoring_starts_when_it_is_asked_for_and_knows_no_secret_of_trivet() -> None:
    of_monitoring = {name for name, service in SERVICES.items() if service.get("profiles") == ["monitoring"]}
    assert of_monitoring == {"grafana", "prometheus"}
    for name in of_monitoring:
        assert set(SERVICES[name].get("secrets", [])) <= {"grafana-password"}
        assert "database" not in SERVICES[name]["networks"]
    assert "service" not in SERVICES["grafana"]["networks"]
    sources = _bind_sources("prometheus")
    installation = [source for source in sources if source.startswith(_INSTALLATION)]
    assert installation == [f"{_INSTALLATION}/client/service-ca.crt", f"{_INSTALLATION}/metrics.token"]


def test_prometheus_and_grafana_find_what_is_mounted() -> None:
    monitoring = ROOT / "deploy/monitoring"
    configuration = yaml.safe_load((monitoring / "prometheus/prometheus.yml").read_text())
    (job,) = configuration["scrape_configs"]
    (targets,) = job["static_configs"]
    assert targets["targets"] == [f"{name}:8443" for name in sorted(SERVERS)]
    assert job["tls_config"]["server_name"] in _environment("trivet-1")["TRIVET_NAMES"].split(",")
    mounted = {_target(volume) for volume in SERVICES["prometheus"]["volumes"]}
    assert job["authorization"]["credentials_file"] in mounted
    assert job["tls_config"]["ca_file"] in mounted
    assert {str(Path(path).parent) for path in configuration["rule_files"]} <= mounted
    (provider,) = yaml.safe_load((monitoring / "grafana/provisioning/dashboards/trivet.yml").read_text())[
        "providers"
    ]
    assert provider["options"]["path"] in {_target(volume) for volume in SERVICES["grafana"]["volumes"]}
    (source,) = yaml.safe_load((monitoring / "grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert urlsplit(source["url"]).hostname == "prometheus"
    assert set(SERVICES["grafana"]["networks"]) & set(SERVICES["prometheus"]["networks"]) == {"monitoring"}


def test_the_database_is_reached_by_trivet_alone() -> None:
    networks = COMPOSE["networks"]
    assert networks["database"] == networks["service"] == {"internal": True}
    members = {name for name, service in SERVICES.items() if "database" in service["networks"]}
    assert members == {"postgres", "migrate", *SERVERS}
    assert SERVICES["postgres"]["networks"] == ["database"]


def test_two_processes_serve_once_the_database_is_up_to_date() -> None:
    assert len(SERVERS) == 2
    for name in SERVERS:
        assert SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "postgres": {"condition": "service_healthy"},
        }
    assert SERVICES["proxy"]["depends_on"] == {name: {"condition": "service_healthy"} for name in SERVERS}


def test_services_that_stop_have_the_time_that_trivet_takes_to_finish() -> None:
    longest = ServerSettings.model_fields["shutdown_seconds"].default
    assert all(int(SERVICES[name]["stop_grace_period"].rstrip("s")) > longest for name in SERVERS)


@pytest.mark.parametrize("name", sorted(name for name in OF_TRIVET if "command" in SERVICES[name]))
def test_trivet_knows_the_commands_that_containers_run(name: str) -> None:
    words = SERVICES[name]["command"]
    group = typer.main.get_group(app)
    context = group.make_context("trivet", list(words))
    group.commands[words[0]].make_context(words[0], words[1:], parent=context)


def test_every_variable_of_trivet_is_a_setting() -> None:
    fields = ServerSettings.model_fields.keys() | ClientSettings.model_fields.keys()
    known = {f"TRIVET_{field.upper()}" for field in fields} | {CONFIG_VARIABLE}
    used = re.findall(r"\bTRIVET_[A-Z_]+", COMPOSE_FILE.read_text() + DOCKERFILE + PROBE.read_text())
    assert used
    assert set(used) <= known


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_the_environment_of_a_container_is_enough_to_serve(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in _environment(name).items():
        monkeypatch.setenv(key, value)
    settings = ServerSettings.load(None)
    assert settings.key_encryption_key_file is not None
    # Clients inside call it by the proxy's name, clients on this machine by the loopback's.
    assert {"proxy", "localhost", "127.0.0.1"} <= set(settings.host_names())


# --- what is mounted, and the script that makes it ---


def test_whatever_is_mounted_is_there_or_made_by_the_script(checkout: Path) -> None:
    sources = {source for name in SERVICES for source in _bind_sources(name)}
    sources |= {secret["file"] for secret in COMPOSE["secrets"].values()}
    assert sources
    # What is in the installation Trivet makes; Compose says so where it is missing.
    missing = {source for source in sources if not (checkout / source).exists()}
    assert all(source.startswith(f"{_INSTALLATION}/") for source in missing)
    late = [
        volume
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if isinstance(volume, dict) and volume["source"] in missing
    ]
    assert len(late) == len(missing)
    assert all(volume["bind"] == {"create_host_path": False} for volume in late)


def test_secrets_are_for_their_owner_alone(checkout: Path) -> None:
    place = checkout / ".trivet/compose"
    owner = (checkout / ".env").read_text().strip()
    expected = f"{os.geteuid()}:{os.getegid()}" if os.geteuid() else "10001:10001"
    assert owner == f"CONTAINER_USER={expected}"
    for path in (place, *place.rglob("*")):
        status = path.stat()
        assert not stat.S_IMODE(status.st_mode) & 0o077, path
        assert f"{status.st_uid}:{status.st_gid}" == expected, path


def test_secrets_are_made_once_and_anew_for_each_installation(checkout: Path, tmp_path: Path) -> None:
    made, owner = _secrets(checkout), (checkout / ".env").read_text()
    _make_secrets(checkout)
    assert _secrets(checkout) == made
    assert (checkout / ".env").read_text() == owner
    shutil.copytree(ROOT / "deploy", tmp_path / "other/deploy")
    _make_secrets(tmp_path / "other")
    assert not set(made.values()) & set(_secrets(tmp_path / "other").values())


def test_the_script_makes_a_key_and_passwords_of_256_bits(checkout: Path) -> None:
    made = _secrets(checkout)
    KeyEncryptionKey.from_text(made["key-encryption.key"])
    *matched, password = made["pgpass"].split(":")
    assert matched == ["postgres", "5432", "*", "trivet"]
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in (password, made["postgres-password"]))


def test_the_role_of_trivet_owns_its_database_and_no_more(
    checkout: Path, postgres_url: str, require_tool: Callable[[str], str]
) -> None:
    script = (ROOT / "deploy/compose/create-role.sql").read_text()
    script = script.replace("/run/secrets/pgpass", str(checkout / COMPOSE["secrets"]["pgpass"]["file"]))
    url = make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)
    psql = [require_tool("psql"), "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--dbname={url}"]
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            subprocess.run(psql, input=script, text=True, check=True, capture_output=True)
            role = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolpassword ~ '^SCRAM' FROM pg_authid"
            rights = connection.execute(f"{role} WHERE rolname = 'trivet'").fetchone()
            owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'trivet'"
            assert connection.execute(owner).fetchone() == ("trivet",)
        finally:
            connection.execute("DROP DATABASE IF EXISTS trivet")
            connection.execute("DROP ROLE IF EXISTS trivet")
    assert rights == (False, False, False, True)


# --- Dockerfile ---


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    found = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert found.stdout == ""
    assert found.returncode == 0


def test_whatever_the_dockerfile_copies_is_there_and_enters_the_build() -> None:
    copied = [
        source for line in _instructions("COPY") if "--from" not in line for source in line.split()[:-1]
    ]
    assert copied
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert [source for source in copied if not _is_in_build(source)] == []
    assert _is_in_build("service/trivet/cli/main.py")


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        ".trivet/compose/secrets/pgpass",
        ".venv/bin/python",
        "service/trivet/__pycache__/__init__.pyc",
        "tests/conftest.py",
    ],
)
def test_what_the_image_is_not_made_of_stays_out_of_the_build(path: str) -> None:
    assert not _is_in_build(path)


def test_the_image_has_extras_that_the_project_declares() -> None:
    (extras,) = re.findall(r"^ARG EXTRAS=(.+)$", DOCKERFILE, re.MULTILINE)
    assert {"server", "postgres"} <= set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()


def test_whatever_the_image_installs_was_locked_by_its_hash() -> None:
    (fetched,) = re.findall(r"pip download (.+?) +&&", DOCKERFILE)
    assert "--require-hashes" in fetched
    assert "--only-binary=:all:" in fetched
    installs = re.findall(r"\bpip (?:--python \S+ )?install (.+)$", DOCKERFILE, re.MULTILINE)
    assert installs
    assert all(arguments.startswith("--no-index") for arguments in installs)
    assert "://" not in DOCKERFILE


def test_the_image_has_a_python_that_the_project_supports() -> None:
    (version,) = re.findall(r"^ARG PYTHON=([\d.]+)-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert version in SpecifierSet(PROJECT["requires-python"])
    assert set(_instructions("FROM")) == {"python:${PYTHON} AS build", "python:${PYTHON}"}


def test_the_image_says_its_version() -> None:
    version = PYPROJECT["tool"]["hatch"]["version"]["fallback-version"]
    assert f"ARG VERSION={version}\n" in DOCKERFILE
    assert 'SETUPTOOLS_SCM_PRETEND_VERSION="${VERSION}" python -m hatchling build' in DOCKERFILE
    assert 'org.opencontainers.image.version="${VERSION}"' in DOCKERFILE
    assert {SERVICES[name]["image"] for name in OF_TRIVET} == {f"trivet:{Version(version).base_version}"}


def test_the_image_runs_trivet_itself_and_not_as_root() -> None:
    (user,) = _instructions("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert _instructions("ENTRYPOINT") == ['["trivet"]']
    assert _instructions("CMD") == ['["serve"]']
    assert _instructions("EXPOSE") == [str(ServerSettings.model_fields["port"].default)]


# --- the health check and the proxy, against real TLS ---


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key, in one PEM file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path_factory.mktemp("pair") / "pair.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return file


class _Server(ThreadingHTTPServer):
    """Stands in for a process of Trivet; `status` is what it answers to the question whether it is ready."""

    status = 200


class _Answer(BaseHTTPRequestHandler):
    """Says which process answered, and whose client certificate it saw."""

    def do_GET(self) -> None:
        assert isinstance(self.connection, ssl.SSLSocket)
        assert isinstance(self.server, _Server)
        self.send_response(200 if self.path != "/readyz" else self.server.status)
        self.end_headers()
        seen = self.connection.getpeercert() or {}
        subject = dict(part for parts in seen.get("subject", ()) for part in parts)  # type: ignore[misc]
        self.wfile.write(f"{self.server.server_port} {subject.get('commonName')}".encode())

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def _serving(pair: Path, status: int = 200) -> Iterator[_Server]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pair)
    context.load_cert_chain(pair)
    context.verify_mode = ssl.CERT_OPTIONAL
    server = _Server(("127.0.0.1", 0), _Answer)
    server.status = status
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _probe(port: int) -> int:
    environment = {"TRIVET_PORT": str(port)}
    command = [sys.executable, "-I", str(PROBE)]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1)])
def test_the_health_check_asks_whether_trivet_is_ready(pair: Path, status: int, expected: int) -> None:
    with _serving(pair, status) as server:
        assert _probe(server.server_port) == expected


def test_the_health_check_fails_where_nobody_listens() -> None:
    assert _probe(_free_port()) == 1


def test_the_dockerfile_calls_the_health_check_that_it_copies() -> None:
    assert f"{PROBE.relative_to(ROOT)} /opt/trivet/probe.py" in _instructions("COPY")
    (check,) = _instructions("HEALTHCHECK")
    assert check.endswith('CMD ["python", "-I", "/opt/trivet/probe.py"]')


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _proxy_file(folder: Path, port: int, servers: list[int]) -> Path:
    """The proxy's configuration, with addresses of this test in place of containers' names."""
    text = PROXY.replace("bind :8443", f"bind 127.0.0.1:{port}").replace(
        "127.0.0.1:8404", f"127.0.0.1:{_free_port()}"
    )
    for name, server in zip(sorted(SERVERS), servers, strict=True):
        text = text.replace(f"{name}:8443", f"127.0.0.1:{server}")
    file = folder / "haproxy.cfg"
    file.write_text(text.replace("inter 2s", "inter 200ms"))
    return file


def _ask(port: int, pair: Path) -> str:
    context = ssl.create_default_context(cafile=pair)
    context.check_hostname = False
    context.load_cert_chain(pair)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain) as secure,
    ):
        secure.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: secure.recv(4096), b""))
    return answer.partition(b"\r\n\r\n")[2].decode()


def _ask_until_answered(port: int, pair: Path) -> str:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with suppress(OSError):
            if answer := _ask(port, pair):
                return answer
        time.sleep(0.1)
    pytest.fail("the proxy passed nothing on")


@contextmanager
def _proxying(haproxy: str, file: Path) -> Iterator[None]:
    with subprocess.Popen(
        [haproxy, "-db", "-f", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as proxy:
        try:
            yield
        finally:
            proxy.send_signal(signal.SIGTERM)


def test_the_proxy_knows_every_process_and_holds_no_key() -> None:
    named = set(re.findall(r"^ +server (\S+) (\S+)$", PROXY, re.MULTILINE))
    assert named == {(name, f"{name}:8443") for name in SERVERS}
    assert not re.search(r"\bcrt\b|bind .*ssl", PROXY)
    monitor = SERVICES["proxy"]["healthcheck"]["test"][-1]
    assert f"bind {urlsplit(monitor).netloc}" in PROXY
    assert f"monitor-uri {urlsplit(monitor).path}" in PROXY


def test_the_proxy_understands_its_configuration(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    file = _proxy_file(tmp_path, _free_port(), [_free_port(), _free_port()])
    checked = subprocess.run(
        [require_tool("haproxy"), "-c", "-f", file], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "[WARNING]" not in checked.stderr


def test_client_certificates_pass_the_proxy_and_one_process_stands_in_for_the_other(
    pair: Path, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    port = _free_port()
    with ExitStack() as stack:
        second = stack.enter_context(_serving(pair))
        with _serving(pair) as first:
            ports = [first.server_port, second.server_port]
            stack.enter_context(_proxying(require_tool("haproxy"), _proxy_file(tmp_path, port, ports)))
            _ask_until_answered(port, pair)
            assert {_ask(port, pair) for _ in range(8)} == {f"{server} somebody" for server in ports}
        assert {_ask(port, pair) for _ in range(8)} == {f"{second.server_port} somebody"}


def test_where_no_process_is_ready_one_that_lives_still_answers(
    pair: Path, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    port = _free_port()
    with _serving(pair, 503) as first, _serving(pair, 503) as second:
        file = _proxy_file(tmp_path, port, [first.server_port, second.server_port])
        with _proxying(require_tool("haproxy"), file):
            _ask_until_answered(port, pair)
            time.sleep(2)  # many a failed check
            assert _ask(port, pair).endswith("somebody")
