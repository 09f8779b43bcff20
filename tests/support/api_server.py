"""A cluster's API server, as far as an external signer sees it: shapes and rules of a real kube-apiserver, over HTTPS.

As documented for 1.36: items of built-in kinds say not what they are; a status is written at a resourceVersion; a
certificate never changes; a watch from too old a version gets an ERROR of 410 within a 200; bookmarks have a version
and no more.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Object = dict[str, Any]
CSRS, REVOCATIONS = "certificatesigningrequests", "renewrevocations"
GROUPS = {CSRS: "certificates.k8s.io", REVOCATIONS: "certificates.microsoft.com"}
KINDS = {CSRS: "CertificateSigningRequest", REVOCATIONS: "RenewRevocation"}
_PATH = re.compile(
    r"/apis/(?P<group>[^/]+)/v1/(namespaces/(?P<namespace>[^/]+)/)?(?P<plural>[^/]+)"
    r"(/(?P<name>[^/]+))?(/(?P<sub>status))?"
)


@dataclass
class Answer(Exception):  # noqa: N818  an answer to be sent, right or wrong
    code: int
    body: Object | str
    headers: dict[str, str] = field(default_factory=dict)


def status(code: int, reason: str, message: str, name: str = "", **details: Any) -> Answer:  # noqa: ANN401
    about = ({"name": name} if name else {}) | details
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
            "reason": reason, "details": about, "code": code}  # fmt: skip
    return Answer(code, body)


@dataclass
class ApiServer:
    """The state of a cluster, and the HTTPS server that shows it."""

    folder: Path
    token: str = "a-service-account-s-token"
    cluster_uid: str | None = field(default_factory=lambda: str(uuid.uuid4()))
    installed: set[str] = field(default_factory=lambda: {CSRS, REVOCATIONS})
    version: int = 100
    oldest: int = 0
    objects: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    history: list[tuple[int, str, str, Object]] = field(default_factory=list)
    """Version, plural, kind of event, the object then."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    troubles: list[tuple[str, str, Answer]] = field(default_factory=list)
    """The next request with that method whose path and query hold that text gets that answer instead."""

    watching: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _round: int = 0
    url: str = ""

    # --- what somebody does in the cluster ---

    def add(self, plural: str, found: Object) -> Object:
        with self._changed:
            metadata = found["metadata"]
            metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": "2026-11-24T12:00:00Z"}
            if plural == REVOCATIONS:
                metadata |= {"generation": 1}
            return self._store(
                "ADDED", plural, {"apiVersion": f"{GROUPS[plural]}/v1", "kind": KINDS[plural], **found}
            )

    def change(self, plural: str, key: str, **parts: Any) -> Object:  # noqa: ANN401
        with self._changed:
            found = deepcopy(self.objects[plural, *_split(key)])
            if plural == REVOCATIONS and "spec" in parts:
                found["metadata"]["generation"] += 1
            return self._store("MODIFIED", plural, found | parts)

    def remove(self, plural: str, key: str) -> None:
        with self._changed:
            found = deepcopy(self.objects.pop((plural, *_split(key))))
            self._store("DELETED", plural, found)

    def get(self, plural: str, key: str) -> Object:
        with self._changed:
            return deepcopy(self.objects[plural, *_split(key)])

    def approve(self, name: str, kind: str = "Approved") -> None:
        found = self.get(CSRS, name)
        condition = {
            "type": kind,
            "status": "True",
            "reason": "AsPlanned",
            "message": "",
            "lastUpdateTime": "2026-11-24T12:00:01Z",
        }
        conditions = [*found.get("status", {}).get("conditions", []), condition]
        self.change(CSRS, name, status={**found.get("status", {}), "conditions": conditions})

    def request(
        self,
        name: str,
        request: bytes,
        signer_name: str,
        usages: tuple[str, ...] = (),
        **spec: Any,  # noqa: ANN401
    ) -> Object:
        pem = x509.load_der_x509_csr(request).public_bytes(Encoding.PEM)
        whole = {
            "request": base64.b64encode(pem).decode(),
            "signerName": signer_name,
            "usages": list(usages or ("digital signature", "client auth")),
            "username": "system:bootstrap:abcdef",
            **spec,
        }
        return self.add(CSRS, {"metadata": {"name": name}, "spec": whole, "status": {}})

    def forget(self) -> None:
        """Keep no history: whoever watches from before gets 410."""
        with self._changed:
            self.version += 1
            self.oldest = self.version
            self.history.clear()

    def bookmark(self) -> None:
        """Move the version on without a change, and tell watchers of it."""
        with self._changed:
            self.version += 1
            metadata = {"resourceVersion": str(self.version), "creationTimestamp": None}
            for plural, kind in KINDS.items():
                bare = {"kind": kind, "apiVersion": f"{GROUPS[plural]}/v1", "metadata": metadata, "spec": {}}
                self.history.append((self.version, plural, "BOOKMARK", bare))
            self._changed.notify_all()

    def cut(self) -> None:
        """Break off every watch, in the middle of what it says."""
        with self._changed:
            self._round += 1
            self._changed.notify_all()

    def wait_for(self, seen: Any, seconds: float = 60) -> None:  # noqa: ANN401
        """Wait until something is so."""
        with self._changed:
            assert self._changed.wait_for(seen, seconds), "it did not come to that"

    # --- what it answers ---

    def _store(self, kind: str, plural: str, found: Object) -> Object:
        self.version += 1
        found["metadata"]["resourceVersion"] = str(self.version)
        if kind != "DELETED":
            self.objects[plural, found["metadata"].get("namespace", ""), found["metadata"]["name"]] = found
        self.history.append((self.version, plural, kind, deepcopy(found)))
        self._changed.notify_all()
        return deepcopy(found)

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes) -> Object:  # noqa: ANN401
        self.asked.append((method, path))
        for index, (wanted, text, trouble) in enumerate(self.troubles):
            if wanted == method and text in f"{path}?{'&'.join(query)}":
                del self.troubles[index]
                raise trouble
        if headers.get("Authorization") != f"Bearer {self.token}":
            raise status(401, "Unauthorized", "Unauthorized")
        if path == "/api/v1/namespaces/kube-system":
            uid = {"uid": self.cluster_uid} if self.cluster_uid else {}
            return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "kube-system", **uid}}
        match = _PATH.fullmatch(path)
        if (
            match is None
            or match["plural"] not in self.installed
            or GROUPS[match["plural"]] != match["group"]
        ):
            raise Answer(404, "404 page not found\n")
        plural, namespace, name = match["plural"], match["namespace"] or "", match["name"]
        if name is None:
            return self._list(plural, query)
        found = self.objects.get((plural, namespace, name))
        if found is None:
            raise status(404, "NotFound", f'{plural}.{GROUPS[plural]} "{name}" not found', name,
                         group=GROUPS[plural], kind=plural)  # fmt: skip
        if method == "PUT" and match["sub"]:
            return self._write_status(plural, found, json.loads(body))
        return deepcopy(found)

    def _list(self, plural: str, query: dict[str, str]) -> Object:
        items = [deepcopy(found) for (of, _, _), found in sorted(self.objects.items()) if of == plural]
        if plural == CSRS:
            items = [{key: item[key] for key in item if key not in {"kind", "apiVersion"}} for item in items]
        limit, metadata = int(query.get("limit", 0)), {"resourceVersion": str(self.version)}
        begin = 0
        if "continue" in query:
            at, _, place = query["continue"].partition(":")
            if int(at) < self.oldest:
                raise status(
                    410,
                    "Expired",
                    "The provided continue parameter is too old to display a consistent list result.",
                )
            begin, metadata["resourceVersion"] = int(place), at
        if limit and begin + limit < len(items):
            metadata["continue"] = f"{metadata['resourceVersion']}:{begin + limit}"
        items = items[begin : begin + limit] if limit else items[begin:]
        return {
            "kind": f"{KINDS[plural]}List",
            "apiVersion": f"{GROUPS[plural]}/v1",
            "metadata": metadata,
            "items": items,
        }

    def _write_status(self, plural: str, found: Object, sent: Object) -> Object:
        name = found["metadata"]["name"]
        if not sent.get("kind") or not sent.get("apiVersion"):
            raise status(400, "BadRequest", "Object 'Kind' is missing")
        for member in ("resourceVersion", "uid"):
            if sent["metadata"].get(member) != found["metadata"][member]:
                words = (
                    f'Operation cannot be fulfilled on {plural}.{GROUPS[plural]} "{name}": the object has been'
                    " modified; please apply your changes to the latest version and try again"
                )
                raise status(409, "Conflict", words, name, group=GROUPS[plural], kind=plural)
        before, after = found.get("status") or {}, sent.get("status") or {}
        if plural == CSRS:
            self._check_status(name, before, after)
        if before == after:
            return deepcopy(found)
        return self._store("MODIFIED", plural, deepcopy(found) | {"status": after})

    def _check_status(self, name: str, before: Object, after: Object) -> None:
        if before.get("certificate") and before["certificate"] != after.get("certificate"):
            raise status(422, "Invalid", f'"{name}" is invalid: status.certificate: field is immutable', name)
        if after.get("certificate"):
            pem = base64.b64decode(after["certificate"])
            assert x509.load_pem_x509_certificates(pem)
        kept = [item for item in before.get("conditions", []) if item not in after.get("conditions", [])]
        if kept:
            raise status(422, "Invalid", f'"{name}" is invalid: status.conditions: may not be removed', name)

    def events(self, plural: str, query: dict[str, str]) -> Iterator[bytes]:
        """What a watch tells, line by line; half a line where it is cut."""
        last = int(query.get("resourceVersion") or 0)
        until = datetime.now(UTC) + timedelta(seconds=int(query["timeoutSeconds"]))
        with self._changed:
            began, too_old = self._round, last < self.oldest
            self.watching += 1
            self._changed.notify_all()
        try:
            if too_old:
                gone = status(410, "Expired", f"too old resource version: {last} ({self.oldest})").body
                yield json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n"
                return
            while datetime.now(UTC) < until:
                with self._changed:
                    self._changed.wait_for(lambda at=last: self.version > at or self._round != began, 1)  # type: ignore[misc]
                    if self._round != began:
                        yield b'{"type":"MODIFI'
                        return
                    fresh = [
                        (kind, found) for at, of, kind, found in self.history if at > last and of == plural
                    ]
                    last = self.version
                for kind, found in fresh:
                    yield json.dumps({"type": kind, "object": found}).encode() + b"\n"
        finally:
            with self._changed:
                self.watching -= 1
                self._changed.notify_all()

    def kubeconfig(self, **user: str) -> Path:
        """Write a kubeconfig, by default with a token file, as in a pod."""
        (self.folder / "token").write_text(self.token + "\n")
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "it", "cluster": {"server": self.url, "certificate-authority": "api-ca.crt"}}
            ],
            "users": [{"name": "signer", "user": user or {"tokenFile": "token"}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "signer"}}],
            "current-context": "it",
        }
        path = self.folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path


def _split(key: str) -> tuple[str, str]:
    namespace, _, name = key.rpartition("/")
    return namespace, name


def _handler(api: ApiServer) -> type[BaseHTTPRequestHandler]:  # noqa: C901  a class within
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def _answer(self) -> None:
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                with api._changed:
                    found = api.answer(self.command, url.path, query, self.headers, body)
            except Answer as answer:
                text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
                kind = "text/plain" if isinstance(answer.body, str) else "application/json"
                self._send(answer.code, text.encode(), kind, answer.headers)
                return
            if query.get("watch") == "true":
                self._stream(api.events(url.path.rpartition("/")[2], query))
                return
            self._send(200, json.dumps(found).encode(), "application/json", {})

        def _send(self, code: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
            self.send_response(code)
            for name, value in ({"Content-Type": kind, "Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def _stream(self, lines: Iterator[bytes]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.close_connection = True
            with suppress(OSError):
                for line in lines:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
                    if not line.endswith(b"\n"):
                        return  # cut: no last chunk
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the standard library's name
            del format, args

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        # The handshake is the handler's thread's.
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        del request, client_address  # who went away in the middle


@contextmanager
def api_server(folder: Path, port: int = 0) -> Iterator[ApiServer]:
    """Serve a cluster for a block."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "api")])
    now = datetime.now(UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "api-ca.crt").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "api.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    api = ApiServer(folder)
    server = _Server(("127.0.0.1", port), _handler(api))
    server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.context.load_cert_chain(folder / "api-ca.crt", folder / "api.key")
    api.url = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield api
    finally:
        api.cut()
        server.shutdown()
        thread.join()
        server.server_close()
