"""django-ca, the CA in Python: its REST API under gunicorn, from an environment of its own.

Asked is `POST …/sign/`, which signs within the request (no Celery) and answers with an order; fetching the certificate
would be a second request, which is not counted.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from bench.limit import CORES
from bench.peers.peer import Peer, PeerError, post
from bench.requests import node_address
from bench.scratch import scratch

if TYPE_CHECKING:
    from bench.requests import NodeRequest

_THREADS = 128  # of each worker: one is held by each new connection until its first request has come
_ACCOUNT = base64.b64encode(b"bench:bench").decode()
_URLS = 'from django.urls import include, path\nurlpatterns = [path("", include("django_ca.urls"))]\n'


class DjangoCa(Peer):
    """With everything in its favour that leaves its durability alone: WAL, cheap password hashing, no Celery."""

    name = "django_ca"
    has_certificate = False
    least_warm_up = 2.0

    @classmethod
    def is_installed(cls) -> bool:
        return (_environment() / "gunicorn").exists()

    def set_up(self) -> None:
        shutil.copy(Path(__file__).with_name("django_project.py"), self.folder / "project.py")
        (self.folder / "project_urls.py").write_text(_URLS)
        (self.folder / "files").mkdir()
        done = subprocess.run(
            [_environment() / "python", "project.py"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        serials = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("SERIAL ")]
        if not serials:
            message = f"django-ca was not set up: {done.stderr[-2000:]}"
            raise PeerError(message)
        self._serial = serials[0]

    def command(self) -> list[str]:
        return [
            str(_environment() / "gunicorn"), "django.core.wsgi:get_wsgi_application()", "--env",
            "DJANGO_SETTINGS_MODULE=project", "--pythonpath", str(self.folder), f"--bind=127.0.0.1:{self.port}",
            f"--workers={CORES}", f"--threads={_THREADS}", "--worker-class=gthread", "--keep-alive=60",
            "--no-control-socket",
            f"--certfile={self.tls.certificate}", f"--keyfile={self.tls.key}",
        ]  # fmt: skip

    def request(self, request: NodeRequest) -> str:
        number = int(request.node.split(".")[0].removeprefix("node-"))
        names = [{"type": "DNS", "value": request.node}, {"type": "IP", "value": node_address(number)}]
        wish = {
            "csr": request.pem.decode(),
            "subject": [{"oid": "2.5.4.3", "value": request.node}],
            "extensions": [{"type": "subject_alternative_name", "value": names}],
        }
        target = f"/api/ca/{self._serial}/sign/"
        return post(
            target, self.port, "application/json", json.dumps(wish), f"Authorization: Basic {_ACCOUNT}\r\n"
        )


def _environment() -> Path:
    """The folder of the programs of django-ca's own virtual environment."""
    return scratch() / "django-ca" / "bin"
