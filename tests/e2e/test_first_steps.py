"""What a newcomer does, with real processes: `trivet init`, `trivet serve`, and the printed first steps."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, text

ROOT = Path(__file__).parents[2]
TRIVET = Path(sys.executable).with_name("trivet")


@dataclass(frozen=True)
class House:
    """A folder in which somebody works, as in a checkout."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TRIVET_")}
        return kept | {"HOME": str(self.folder), "LC_ALL": "C.UTF-8"}

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(TRIVET), *map(str, arguments)]
        return self._run(command)

    def paste(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a line in bash, as it stands."""
        return self._run(["bash", "-c", command])

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def init(self, *arguments: object) -> str:
        done = self.run("init", "--port", self.port, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def client(self) -> httpx.Client:
        token = (self.folder / ".trivet/client/admin.token").read_text().strip()
        return httpx.Client(
            base_url=f"{self.url}/api/v1",
            verify=ssl.create_default_context(cafile=self.folder / ".trivet/client/service-ca.crt"),
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        )

    @contextmanager
    def serving(
        self, *arguments: object, config: str = ".trivet/trivet.toml"
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Serve for a block; the log goes to serve.log. Demands a clean end on SIGTERM."""
        log = self.folder / "serve.log"
        with log.open("wb") as output:
            command = [str(TRIVET), "--config", config, "serve", *map(str, arguments)]
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=output, stderr=output
            )
        try:
            self._await(process, log)
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=40) == 0, log.read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        for line in log.read_text().splitlines():
            assert json.loads(line)["level"] in {"info", "warning"}, line

    def _await(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + 90
        while "startup complete" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)


@pytest.fixture
def house(tmp_path: Path) -> House:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return House(tmp_path, probe.getsockname()[1])


def printed_steps(shown: str) -> list[str]:
    """The commands of the first steps, as they were printed."""
    _, _, after = shown.partition("First steps.")
    lines = after.partition("\nThe API and its documentation:")[0].splitlines()[1:]
    return [line for line in lines if line and not line.startswith("#")]


def test_the_first_steps_work_when_they_are_pasted_one_by_one(house: House, require_tool: object) -> None:
    for tool in ("openssl", "curl"):
        require_tool(tool)  # type: ignore[operator]
    shown = house.init()
    assert "keys/key-encryption.key (outside the data folder" in shown
    steps = printed_steps(shown)
    with house.serving():
        done = [house.paste(step) for step in steps]
    make, send, fetch, verify, listed, renew, revoke, again, delete, issue = done
    for step, result in zip(steps, done, strict=True):
        assert result.returncode == (1 if result is again else 0), (step, result)
        assert "trivet_" not in result.stdout + result.stderr
    assert (send.stdout, fetch.stdout) == ("", "")
    assert make.returncode == 0
    assert verify.stdout.strip().endswith("node-1.crt: OK")
    assert "system:node:node-1" in listed.stdout
    assert "Serial number:" in renew.stdout
    # Both of the node: the first, and the one that was renewed from it.
    assert "stands with entries: 5; certificates revoked: 2" in revoke.stdout
    assert "no kubelet-client certificate could be issued" in revoke.stderr
    assert "trivet: Revoked (revoked): " in again.stderr
    assert "Group system:nodes" in again.stderr or "was revoked at" in again.stderr
    assert "deleted: kube-system/my-renew-revocation" in delete.stderr
    assert "system:node:node-1" in issue.stdout
    assert "/.trivet/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_first_steps_work_with_two_workers_on_postgresql(house: House, postgres_database: str) -> None:
    url = postgres_database.replace("postgresql+psycopg", "postgresql")
    steps = printed_steps(house.init("--database-url", url))
    with house.serving("--workers", 2):
        codes = [house.paste(step).returncode for step in steps]
    assert codes == [0, 0, 0, 0, 0, 0, 0, 1, 0, 0]


def test_a_second_start_finds_its_data_and_prints_the_steps_again(house: House) -> None:
    first = house.init()
    with house.serving(), house.client() as client:
        client.post("/clusters", json={"name": "kept", "endpoint": "localhost"}).raise_for_status()
    second = house.init()
    assert "Trivet was set up before" in second
    assert printed_steps(second) == printed_steps(first)
    with house.serving(), house.client() as client:
        names = {item["name"] for item in client.get("/clusters").json()["items"]}
    assert names == {"demo", "kept"}


def test_in_another_folder_the_steps_begin_with_where_the_settings_are(house: House) -> None:
    steps = printed_steps(house.init("--directory", "else where"))
    assert steps[0] == "export TRIVET_CONFIG='else where/trivet.toml'"
    with house.serving(config="else where/trivet.toml"):
        pasted = house.paste("set -e\n" + "\n".join(steps[:7]))
    assert pasted.returncode == 0, pasted.stderr


def test_on_sigterm_a_request_in_flight_is_finished(house: House) -> None:
    house.init()
    answers: list[httpx.Response] = []

    def make_cluster() -> None:
        with house.client() as client:  # RSA-4096, three times: takes its time
            body = {"name": "slow", "endpoint": "localhost", "algorithm": "RSA-4096"}
            answers.append(client.post("/clusters", json=body))

    with house.serving():
        request = threading.Thread(target=make_cluster)
        request.start()
        time.sleep(0.4)
        assert not answers
    request.join()
    assert answers[0].status_code == 201
    with house.serving(), house.client() as client:
        assert client.get("/clusters/slow").status_code == 200


def test_several_workers_serve_and_one_that_dies_is_replaced(house: House) -> None:
    house.init()
    with house.serving("--workers", 2) as process, house.client() as client:

        def workers() -> set[str]:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            return {pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()}

        before = workers()
        assert len(before) == 2
        secret = (house.folder / ".trivet/keys/key-encryption.key").read_text().strip()
        for pid in before:
            assert secret not in Path(f"/proc/{pid}/cmdline").read_text()
        os.kill(int(min(before)), signal.SIGKILL)
        deadline = time.monotonic() + 20
        while len(workers() - before) < 1:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for _ in range(10):
            assert client.get("/clusters", headers={"Connection": "close"}).status_code == 200


def refused(house: House, *arguments: object) -> tuple[int, str]:
    done = house.run("serve", *arguments)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_what_cannot_work_is_refused_at_start(house: House) -> None:
    code, words = refused(house)
    assert (code, "database_url is not set" in words) == (7, True)
    house.init()
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", house.port))
        occupant.listen()
        code, words = refused(house)
    assert code == 7
    assert f"cannot listen on 127.0.0.1 port {house.port}: Address already in use" in words
    code, words = refused(house, "--database-url", "postgresql://u:very-secret@127.0.0.1:1/db")
    assert code == 6
    assert "postgresql://u:***@127.0.0.1:1/db cannot be used" in words
    code, words = refused(house, "--workers", 0)
    assert (code, "--workers: " in words) == (7, True)

    key = house.folder / ".trivet/keys/key-encryption.key"
    former = key.read_text()
    key.write_text(base64.b64encode(os.urandom(32)).decode())
    code, words = refused(house)
    assert (code, "is not the one that this database was made with" in words) == (7, True)
    key.write_text(former)

    engine = create_engine(f"sqlite:///{house.folder}/.trivet/data/trivet.db")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    engine.dispose()
    code, words = refused(house)
    assert (code, "run `trivet db upgrade`" in words) == (7, True)


def test_plain_http_is_served_when_it_is_asked_for(house: House) -> None:
    house.init()
    with house.serving("--no-tls"):
        assert httpx.get(f"http://127.0.0.1:{house.port}/readyz").status_code == 200


def test_shell_completion_is_offered(house: House) -> None:
    shell = shutil.which("bash")
    assert shell
    done = house.paste(f"_TRIVET_COMPLETE=source_bash {TRIVET}")
    assert "complete" in done.stdout
