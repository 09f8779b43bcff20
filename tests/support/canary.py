"""The canary: secrets that tests mint are marked, and whatever Trivet says of itself is searched for the marks.

Marked are access, repair and bootstrap tokens, key-encryption keys, private keys of authorities, passphrases and
private keys of backups, as they pass the few places that all of them pass. Searched are log records, problems and
other answers that refuse, metrics, traces, what the command writes to stderr, and
the logs of services that tests start, and the backups that they make.
"""

from __future__ import annotations

import base64
import logging
import re
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from trivet.signing.age.keys import Identity, Passphrase
from trivet.signing.encryption import KeyEncryptionKey

if TYPE_CHECKING:
    from trivet.authority.metrics.traces import Trace

_SHORTEST: Final = 12  # less than that stands in a text by chance
_FEWEST_KINDS: Final = 6  # of characters: fuzzing sends zeros, which are some tests' key
_NEWEST: Final = 600  # those of the test at hand, and of what it stands on
_MOST_READ: Final = 8_000_000
_ASKING: Final = {"httpcore", "httpx", "httpx2"}  # what asks in a test logs the URL that the test made up
_SHAPES: Final = {
    "an access token": re.compile(r"\btrivet_[A-Za-z0-9_-]{43}\b"),
    "a private key": re.compile(r"PRIVATE KEY-----(?:\\n|\s)+[A-Za-z0-9+/=]{16}"),
    "the private key of a backup": re.compile(r"AGE-SECRET-KEY-1[A-Z0-9]{20}"),
}


class Canary:
    """Knows the newest secrets, and what was said since it was last asked."""

    def __init__(self) -> None:
        """Know none, and have heard nothing."""
        self._marks: deque[tuple[str, str]] = deque(maxlen=_NEWEST)
        self._known: set[str] = set()
        self._heard: list[tuple[str, str]] = []

    def mark(self, kind: str, secret: str) -> None:
        """Note a secret."""
        if len(secret) < _SHORTEST or len(set(secret)) < _FEWEST_KINDS or secret in self._known:
            return
        if len(self._marks) == _NEWEST:
            self._known.discard(self._marks[0][1])
        self._marks.append((kind, secret))
        self._known.add(secret)

    def hear(self, where: str, text: str) -> None:
        """Note what was said."""
        if text:
            self._heard.append((where, text))

    def complaints(self) -> list[str]:
        """Which kind of secret was said where, without the secret itself; then forget what was said."""
        heard, self._heard = self._heard, []
        found: dict[str, None] = {}
        for where, text in heard:
            found |= {f"{kind} stands in {where}": None for kind, secret in self._marks if secret in text}
            found |= {
                f"{kind} stands in {where}": None for kind, shape in _SHAPES.items() if shape.search(text)
            }
        return list(found)

    def search(self, folder: Path) -> list[str]:
        """As `complaints`, of the logs and backups below a folder, and of the keys that lie there."""
        for path in folder.rglob("key-encryption.key"):
            with suppress(OSError, UnicodeDecodeError):
                self.mark("a key-encryption key", path.read_text().strip())
        for path in (*folder.rglob("*.log"), *folder.rglob("*.backup")):
            with suppress(OSError):
                self.hear(path.name, path.read_bytes()[:_MOST_READ].decode("latin-1"))
        return self.complaints()


CANARY: Final = Canary()


@contextmanager
def listening(canary: Canary = CANARY) -> Iterator[None]:
    """Mark and hear, for a block."""
    with (
        _after(KeyEncryptionKey, "__init__", lambda _, secret: _mark_key(canary, secret)),
        _after(KeyEncryptionKey, "token_hash", lambda key, secret: _mark_token(canary, key, secret)),
        _after(KeyEncryptionKey, "encrypt", lambda _, key: _mark_private_key(canary, key)),
        _after(Passphrase, "__init__", lambda _, text, *__: canary.mark("a passphrase", text)),
        _after(Identity, "__init__", lambda one, _: canary.mark("the private key of a backup", one.text())),
        _after(logging.Logger, "handle", lambda _, record: canary.hear("the log", _logged(record))),
    ):
        yield


@contextmanager
def answers_heard(canary: Canary = CANARY) -> Iterator[None]:
    """Hear what the service answers where it refuses, its metrics, and its traces."""
    # Not above: whoever imports this module need not have the server's packages.
    from starlette.responses import Response  # noqa: PLC0415

    from trivet.bootstrap import tracing  # noqa: PLC0415

    def hear(response: Any, *_: object, **__: object) -> None:  # noqa: ANN401
        media_type = response.media_type or ""
        if response.status_code >= 400 or media_type.startswith("text/plain"):
            body = getattr(response, "body", b"")
            canary.hear(f"an answer {response.status_code}", bytes(body).decode(errors="replace"))

    with _after(Response, "__init__", hear), patch.object(tracing, "teller", _heard(canary, tracing.teller)):
        yield


def _heard(canary: Canary, teller: Callable[..., Callable[[Trace], None]]) -> Callable[..., Any]:
    """Hear all that is told of traces, before anybody is told."""

    def heard(made: Any) -> Callable[[Trace], None]:  # noqa: ANN401
        tell = teller(made)

        def both(trace: Trace) -> None:
            canary.hear("a trace", f"{trace}")
            tell(trace)

        return both

    return heard


@contextmanager
def _after(owner: type, name: str, told: Callable[..., None]) -> Iterator[None]:
    """Call something with the same arguments after each call of a method."""
    method = getattr(owner, name)

    @wraps(method)
    def both(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        result = method(*arguments, **named)
        told(*arguments, **named)
        return result

    with patch.object(owner, name, both):
        yield


def _mark_key(canary: Canary, secret: bytes) -> None:
    canary.mark("a key-encryption key", base64.b64encode(secret).decode())
    canary.mark("a key-encryption key", secret.hex())


def _mark_token(canary: Canary, key: KeyEncryptionKey, secret: str) -> None:
    _mark_key(canary, key._secret)  # one that was made before anybody listened
    # The first part of a bootstrap token is its public name.
    canary.mark("a token", secret.rpartition(".")[2])


def _mark_private_key(canary: Canary, key: Any) -> None:  # noqa: ANN401
    octets = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    canary.mark("a private key", base64.b64encode(octets).decode()[64:128])
    canary.mark("a private key", octets[48:80].decode("latin-1"))  # as a file of octets has it


def _logged(record: logging.LogRecord) -> str:
    if record.name.partition(".")[0] in _ASKING:
        return ""
    parts = [record.getMessage(), str(getattr(record, "fields", ""))]
    if record.exc_info:
        parts += traceback.format_exception(*record.exc_info)
    return "\n".join(parts)
