"""A kubelet's side of the wire, byte for byte as client-go sends it: how it asks for a certificate, and waits.

From client-go's rest/request.go and util/certificate/csr/csr.go, and the kubelet's certificate/bootstrap/bootstrap.go.
Bodies are protobuf as gogo/protobuf writes them: in the order of the fields, strings also where they are empty.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from tests.unit.web.kubernetes.test_protobuf import field, unknown

SIGNER: Final = "kubernetes.io/kube-apiserver-client-kubelet"
USAGES: Final = ("digital signature", "client auth")
_AGENT: Final = "kubelet/v1.33.2 (linux/amd64) kubernetes/a57b6f7"
_PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
_PATH: Final = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
_SECONDS: Final = 25.0


class Ended(Exception):  # noqa: N818  as the kubelet has it: an end, with its reason
    """The wait for a certificate ended without one."""


@dataclass(frozen=True)
class Pending:
    """A request that was made: its name and UID, and the key that it is for."""

    name: str
    uid: str
    key: ec.EllipticCurvePrivateKey


@dataclass
class Kubelet:
    """A node's kubelet; it has a bootstrap token, and a client certificate once it was given one."""

    server: str
    port: int
    authority: Path
    folder: Path
    node: str
    token: str | None = None

    @property
    def pair(self) -> Path:
        """Where its certificate and key are."""
        return self.folder / f"{self.node}-current.pem"

    def bootstrap(self, *, key: ec.EllipticCurvePrivateKey | None = None) -> Pending:
        """Ask for the first certificate (`rotateCertificates: false`); take up again what was asked before."""
        with self._connection("GET", "/healthz") as answer:
            assert answer.read() == b"ok"
        key = key or ec.generate_private_key(ec.SECP256R1())
        return self._request(key, name=f"node-csr-{_digest(key)}")

    def rotate(self) -> Pending:
        """Ask for the next certificate, with the one that it has and for a new key."""
        return self._request(ec.generate_private_key(ec.SECP256R1()), generate_name="csr-")

    def wait(self, pending: Pending, *, watch_list: bool = False) -> x509.Certificate:
        """Wait for the certificate, and keep it; by list and watch, or by one watch as newer clients do.

        Raises:
            Ended: it was denied, failed or deleted.
        """
        selector = f"fieldSelector={quote(f'metadata.name={pending.name}', safe='')}"
        if watch_list:
            asked = f"?allowWatchBookmarks=true&{selector}&resourceVersionMatch=NotOlderThan&sendInitialEvents=true"
        else:
            listed = self._json("GET", f"{_PATH}?{selector}&limit=500&resourceVersion=0")[1]
            for item in listed["items"]:
                if (made := self._look(pending, item)) is not None:
                    return made
            version = listed["metadata"]["resourceVersion"]
            asked = f"?allowWatchBookmarks=true&{selector}&resourceVersion={version}"
        with self._connection("GET", f"{_PATH}{asked}&timeout=8m53s&timeoutSeconds=533&watch=true") as answer:
            for line in answer:
                event = json.loads(line)
                if event["type"] == "BOOKMARK":
                    continue
                if event["type"] == "DELETED":
                    raise Ended(f'csr "{pending.name}" was deleted')
                assert event["type"] in {"ADDED", "MODIFIED"}, event
                if (made := self._look(pending, event["object"])) is not None:
                    return made
        raise Ended("the watch ended")

    def _look(self, pending: Pending, request: dict[str, Any]) -> x509.Certificate | None:
        if request["metadata"]["uid"] != pending.uid:
            raise Ended(f'csr "{pending.name}" changed UIDs')
        status = request["status"]
        conditions = {each["type"]: each for each in status.get("conditions", ())}
        for kind in ("Denied", "Failed"):
            if kind in conditions:
                reason = conditions[kind]["reason"]
                raise Ended(f"certificate signing request is {kind.lower()}, reason: {reason}")
        if "Approved" not in conditions or "certificate" not in status:
            return None
        pem = base64.b64decode(status["certificate"])
        secret = pending.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.pair.write_bytes(pem + secret)
        return x509.load_pem_x509_certificate(pem)

    def key(self) -> ec.EllipticCurvePrivateKey:
        """The key that it has now."""
        key = load_pem_private_key(self.pair.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key

    def _request(
        self, key: ec.EllipticCurvePrivateKey, *, name: str = "", generate_name: str = ""
    ) -> Pending:
        body = _message(self._csr(key), name, generate_name)
        code, answer = self._json("POST", _PATH, body)
        if code == 409:
            # It takes up what it asked for before it was started anew, if that is the same.
            code, answer = self._json("GET", f"{_PATH}/{name}")
            asked = x509.load_pem_x509_csr(base64.b64decode(answer["spec"]["request"]))
            same = asked.public_key() == key.public_key() and answer["spec"]["signerName"] == SIGNER
            assert code == 200, answer
            assert same, "what stands there is for another key"
        if code >= 400:
            raise Ended(answer["message"])
        return Pending(answer["metadata"]["name"], answer["metadata"]["uid"], key)

    def _csr(self, key: ec.EllipticCurvePrivateKey) -> bytes:
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
                x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{self.node}"),
            ]
        )
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _json(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
        with self._connection(method, path, body) as answer:
            assert answer.headers["content-type"].startswith("application/json")
            return answer.status, json.loads(answer.read())

    @contextmanager
    def _connection(self, method: str, path: str, body: bytes = b"") -> Iterator[HTTPResponse]:
        lines = [
            f"{method} {self.server}{path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"User-Agent: {_AGENT}",
            *([f"Content-Length: {len(body)}"] if body else []),
            f"Accept: {_PROTOBUF},application/json",
            *([f"Authorization: Bearer {self.token}"] if self.token else []),
            *([f"Content-Type: {_PROTOBUF}"] if body else []),
            "Accept-Encoding: gzip",
        ]
        context = ssl.create_default_context(cafile=self.authority)
        if self.token is None:
            context.load_cert_chain(self.pair)
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            with HTTPResponse(connection) as answer:
                answer.begin()
                yield answer


def _message(pem: bytes, name: str, generate_name: str) -> bytes:
    """A CertificateSigningRequest as its generated Marshal writes it."""
    metadata = (
        field(1, name)
        + field(2, generate_name)
        + field(3, "")
        + field(4, "")
        + field(5, "")
        + field(6, "")
        + field(7, 0)
        + field(8, b"")
    )
    spec = field(1, pem) + field(2, "") + field(3, "")
    spec += b"".join(field(5, usage) for usage in USAGES) + field(7, SIGNER)
    raw = field(1, metadata) + field(2, spec) + field(3, b"")
    return unknown("certificates.k8s.io/v1", "CertificateSigningRequest", raw)


def _digest(key: ec.EllipticCurvePrivateKey) -> str:
    """The name by the key, as the kubelet's DigestedName makes it: the same key gives the same name."""
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha512(public).hexdigest()[:40]
