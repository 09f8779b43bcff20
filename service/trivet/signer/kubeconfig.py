"""How to reach a cluster's API server, as a kubeconfig says it, and whether that has changed.

Everything is read anew when a file changes: a client certificate of Trivet's lives four days, a service account's token
an hour. A private key that stands in the kubeconfig goes to OpenSSL through memory, never through another file.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trivet.agent.files import FileFaultError
from trivet.agent.files.kubeconfig import embedded_pair, load
from trivet.agent.memory_files import in_memory
from trivet.signer.errors import AccessError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Stamp = tuple[str, int, int, int]
_UNSAFE: Final = {
    "insecure-skip-tls-verify": "the signer talks to nobody that it does not know; name the certificate-authority",
    "proxy-url": "proxies are not supported",
}
_UNSUPPORTED: Final = {
    "exec": "credential plugins are not run; name a tokenFile, or a client-certificate and client-key",
    "auth-provider": "Kubernetes itself has given those up",
    "username": "Kubernetes itself has given up passwords",
}


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach an API server. The repr shows no secret.

    Attributes:
        server: its URL; may have a path.
        trust: whom it is known by, and the client certificate.
        server_name: the name in its certificate, where that is not the URL's.
        token: a bearer token.
        token_file: a file that holds one, which may change at any time.
        stamps: of all files that were read.
    """

    server: str
    trust: ssl.SSLContext
    server_name: str | None
    token: str | None = field(repr=False)
    token_file: Path | None
    stamps: tuple[Stamp, ...]

    @property
    def is_current(self) -> bool:
        """Whether no file was changed since."""
        return all(_stamp(Path(path)) == (path, *rest) for path, *rest in self.stamps)

    def headers(self) -> dict[str, str]:
        """What says who asks.

        Raises:
            AccessError: the token cannot be read.
        """
        token = self.token
        if self.token_file is not None:
            try:
                token = self.token_file.read_text(encoding="ascii").strip()
            except (OSError, UnicodeError) as error:
                message = f"the token file {self.token_file} cannot be read"
                raise AccessError(message) from error
        return {"Authorization": f"Bearer {token}"} if token else {}


def read_access(path: Path) -> Access:
    """Read a kubeconfig's current context.

    Raises:
        AccessError: it, or a file that it names, is missing or wrong, or asks for what is not supported.
    """
    try:
        return _read(path)
    except FileFaultError as error:
        raise AccessError(str(error)) from error
    except OSError as error:
        # Of an SSLError the words are the library's, and name no file.
        what = error.filename or "TLS"
        message = f"{path}: {error.strerror or 'a file that it names'} cannot be used ({what})"
        raise AccessError(message) from error


def _read(path: Path) -> Access:
    # Stamped before it is read: what changes in between is read again.
    first = _stamp(path)
    document = load(path.read_bytes(), path)
    context = _named(document, "contexts", document.get("current-context"), "context", path)
    cluster = _named(document, "clusters", context.get("cluster"), "cluster", path)
    user = _named(document, "users", context.get("user"), "user", path)
    _refuse(path, cluster, _UNSAFE)
    _refuse(path, user, _UNSUPPORTED)
    server, name, token = (
        str(section.get(key) or "")
        for section, key in ((cluster, "server"), (cluster, "tls-server-name"), (user, "token"))
    )
    if not server.startswith("https://"):
        message = f"{path}: the server must be an https URL"
        raise AccessError(message)
    files = (_beside(path, cluster.get("certificate-authority")), *_pair_files(path, user))
    stamps = (first, *(_stamp(file) for file in files if file is not None))
    trust = _trust(path, document, cluster, user)
    token_file = _beside(path, user.get("tokenFile"))
    return Access(server.rstrip("/"), trust, name or None, token or None, token_file, stamps)


def _named(document: Mapping[str, Any], kind: str, name: object, member: str, path: Path) -> dict[str, Any]:
    for item in document.get(kind) or []:
        if isinstance(item, dict) and item.get("name") == name and isinstance(item.get(member), dict):
            return dict(item[member])
    message = f"{path}: there is no {member} {str(name)[:80]!r}, which the current context needs"
    raise AccessError(message)


def _refuse(path: Path, section: Mapping[str, Any], refused: Mapping[str, str]) -> None:
    for key, reason in refused.items():
        if section.get(key):
            message = f"{path}: {key}: {reason}"
            raise AccessError(message)


def _beside(path: Path, named: object) -> Path | None:
    """A file by its name in a kubeconfig, which is relative to that."""
    return path.parent / str(named) if named else None


def _pair_files(path: Path, user: Mapping[str, Any]) -> Iterable[Path | None]:
    return (_beside(path, user.get(key)) for key in ("client-certificate", "client-key"))


def _trust(
    path: Path, document: dict[str, Any], cluster: Mapping[str, Any], user: Mapping[str, Any]
) -> ssl.SSLContext:
    authority = _beside(path, cluster.get("certificate-authority"))
    inline = cluster.get("certificate-authority-data")
    try:
        text = base64.b64decode(str(inline), validate=True).decode("ascii") if inline else None
    except (binascii.Error, UnicodeError):
        message = f"{path}: certificate-authority-data is not PEM in Base64"
        raise AccessError(message) from None
    context = ssl.create_default_context(cafile=None if text else authority, cadata=text)
    certificate, key = _pair_files(path, user)
    with ExitStack() as stack:
        pair = embedded_pair(document, path)
        if pair is not None:
            certificate, key = stack.enter_context(in_memory(pair)), None
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    return context


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return (str(path), 0, 0, 0)
    return (str(path), found.st_mtime_ns, found.st_ino, found.st_size)
