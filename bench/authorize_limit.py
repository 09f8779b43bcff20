"""The limit of the authorization webhook: uvicorn, its TLS, and an application that answers every body at once."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from bench.limit import CORES
from bench.requests import key_pem, new_key
from bench.scratch import free_port, fresh_folder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from types import TracebackType

    Message = MutableMapping[str, Any]

_ANSWER = b'{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":false}}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())]
_PATIENCE = 30.0


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _ANSWER})


class BareServer:
    """The application, served by a process a core."""

    def __init__(self) -> None:
        folder = fresh_folder("authorize-limit")
        self.port = free_port()
        self.ca_file, self._key_file = folder / "tls.crt", folder / "tls.key"
        self._log = folder / "serve.log"
        self._write_pair()
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the supervisor."""
        if self._running is None:
            raise RuntimeError("it does not run")
        return self._running.pid

    def __enter__(self) -> Self:
        command = [
            sys.executable, "-m", "uvicorn", "bench.authorize_limit:app", "--port", str(self.port), "--workers",
            str(CORES), "--loop", "uvloop", "--http", "httptools", "--lifespan", "off", "--no-access-log",
            "--ssl-certfile", str(self.ca_file), "--ssl-keyfile", str(self._key_file),
        ]  # fmt: skip
        with self._log.open("wb") as log:
            self._running = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _PATIENCE
        while self._log.read_text().count("Started server process") < CORES:
            if self._running.poll() is not None or time.monotonic() > deadline:
                message = f"the bare server did not start; see {self._log}"
                raise RuntimeError(message)
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.terminate()
            self._running.wait(_PATIENCE)

    def _write_pair(self) -> None:
        key, now = new_key(), datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(
            now - timedelta(hours=1)
        )
        builder = builder.not_valid_after(now + timedelta(days=1)).add_extension(names, critical=False)
        self.ca_file.write_bytes(builder.sign(key, SHA384()).public_bytes(Encoding.PEM))
        self._key_file.write_bytes(key_pem(key))
