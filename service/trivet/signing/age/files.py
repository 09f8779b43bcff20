"""The file: a header of text with its own authentication, then the payload in authenticated chunks."""

from __future__ import annotations

import io
from hmac import compare_digest, digest
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from trivet.signing.age.errors import DamagedError, NoKeyError
from trivet.signing.age.keys import FILE_KEY_BYTES, KEY_BYTES, Stanza, decoded, encoded, wrapped_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import BinaryIO

    from _typeshed import WriteableBuffer

    from trivet.signing.age.keys import Unwrapper, Wrapper

CHUNK: Final = 64 * 1024
_TAG: Final = 16
_VERSION: Final = b"age-encryption.org/v1"
_COLUMNS: Final = 64
_NONCE_BYTES: Final = 16
_LONGEST_LINE: Final = 1024
_MOST_LINES: Final = 256


class EncryptedFile(io.RawIOBase):
    """Encrypts what is written to it. Only `close` completes it; what is left unclosed reads as cut off.

    Attributes:
        file_key: opens it, for whoever has just written it.
    """

    def __init__(
        self, file: BinaryIO, wrappers: Iterable[Wrapper], random_bytes: Callable[[int], bytes]
    ) -> None:
        """Write the header.

        Raises:
            NoKeyError: nobody could open it.
        """
        self.file_key = random_bytes(FILE_KEY_BYTES)
        nonce = random_bytes(_NONCE_BYTES)
        header = _header(wrapped_for(wrappers, self.file_key, random_bytes))
        file.write(header + b" " + encoded(_mac(self.file_key, header)).encode() + b"\n" + nonce)
        self._file = file
        self._payload = _payload_key(self.file_key, nonce)
        self._held = bytearray()
        self._number = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, octets: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """Take octets; they leave a chunk at a time."""
        self._held += octets
        # The last chunk is a special one, so one is held back until it is known not to be the last.
        while len(self._held) > CHUNK:
            self._chunk(bytes(self._held[:CHUNK]), is_last=False)
            del self._held[:CHUNK]
        return len(octets)

    def complete(self) -> None:
        """Write the last chunk."""
        self._chunk(bytes(self._held), is_last=True)
        self._held.clear()

    def _chunk(self, octets: bytes, *, is_last: bool) -> None:
        self._file.write(self._payload.encrypt(_nonce(self._number, is_last=is_last), octets, None))
        self._number += 1


class DecryptedFile(io.RawIOBase):
    """Reads what `EncryptedFile` wrote. Every octet that it gives was authenticated; so is the end.

    Raises (while reading):
        DamagedError: it was changed, cut off, or something was put behind its end.
    """

    def __init__(self, file: BinaryIO, file_key: bytes) -> None:
        """Take a file that stands behind its header."""
        nonce = file.read(_NONCE_BYTES)
        if len(nonce) != _NONCE_BYTES:
            raise DamagedError("it was cut off")
        self._file = file
        self._payload = _payload_key(file_key, nonce)
        self._held = memoryview(b"")
        self._ahead = file.read(CHUNK + _TAG)
        self._number = 0
        self._has_ended = False

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Give some octets; none at the end."""
        while not self._held and not self._has_ended:
            self._held = memoryview(self._next())
        target = memoryview(buffer).cast("B")
        count = min(len(target), len(self._held))
        target[:count], self._held = self._held[:count], self._held[count:]
        return count

    def _next(self) -> bytes:
        sealed, self._ahead = self._ahead, self._file.read(CHUNK + _TAG)
        self._has_ended = not self._ahead
        try:
            octets = self._payload.decrypt(_nonce(self._number, is_last=self._has_ended), sealed, None)
        except (InvalidTag, ValueError) as error:
            raise DamagedError(
                f"it was changed or cut off: chunk {self._number} does not authenticate"
            ) from error
        if self._has_ended and not octets and self._number:
            raise DamagedError("its last chunk is empty, as no chunk but the only one may be")
        self._number += 1
        return octets


def open_file(file: BinaryIO, unwrappers: Sequence[Unwrapper]) -> DecryptedFile:
    """Read the header, and open the payload.

    Raises:
        DamagedError: it is no such file, or its header was changed.
        NoKeyError: none of the keys opens it.
    """
    stanzas, header, mac = _read_header(file)
    for unwrapper in unwrappers:
        for stanza in stanzas:
            file_key = unwrapper.unwrap(stanza)
            if file_key is not None:
                if not compare_digest(mac, _mac(file_key, header)):
                    raise DamagedError("its header was changed")
                return DecryptedFile(file, file_key)
    kinds = {stanza.kind for stanza in stanzas}
    what = "a passphrase" if kinds == {"scrypt"} else "the private key of a recipient"
    raise NoKeyError(f"it opens with {what}, and what was given is not the right one")


def reopen(file: BinaryIO, file_key: bytes) -> DecryptedFile:
    """Open what one has just written: see `open_file`."""
    _, header, mac = _read_header(file)
    if not compare_digest(mac, _mac(file_key, header)):
        raise DamagedError("its header was changed")
    return DecryptedFile(file, file_key)


def _header(stanzas: Iterable[Stanza]) -> bytes:
    lines = [_VERSION]
    for stanza in stanzas:
        lines.append(" ".join(("->", stanza.kind, *stanza.arguments)).encode())
        body = encoded(stanza.body)
        # The last line of a body is a short one, be it empty.
        lines += [body[at : at + _COLUMNS].encode() for at in range(0, len(body) + 1, _COLUMNS)]
    return b"\n".join((*lines, b"---"))


def _read_header(file: BinaryIO) -> tuple[list[Stanza], bytes, bytes]:
    """The stanzas, what the MAC covers, and the MAC."""
    lines = [_line(file)]
    if lines[0] != _VERSION:
        raise DamagedError("it is not a file that was encrypted by Trivet or age")
    stanzas: list[Stanza] = []
    while (line := _line(file)).startswith(b"-> ") and len(lines) < _MOST_LINES:
        kind, *arguments = line.decode("ascii", "replace").split(" ")[1:]
        lines.append(line)
        body = ""
        while True:
            part = _line(file)
            lines.append(part)
            body += part.decode("ascii", "replace")
            if len(part) != _COLUMNS:
                break
        stanzas.append(Stanza(kind, tuple(arguments), decoded(body)))
    marker, space, mac = line.partition(b" ")
    passphrases = sum(stanza.kind == "scrypt" for stanza in stanzas)
    if marker != b"---" or not space or not stanzas or (passphrases and len(stanzas) > 1):
        raise DamagedError("its header is malformed")
    return stanzas, b"\n".join((*lines, b"---")), decoded(mac.decode("ascii", "replace"))


def _line(file: BinaryIO) -> bytes:
    line = file.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise DamagedError("it is not a file that was encrypted by Trivet or age, or its header was cut off")
    return line[:-1]


def _mac(file_key: bytes, header: bytes) -> bytes:
    key = HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=b"header").derive(file_key)
    return digest(key, header, "sha256")


def _payload_key(file_key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(HKDF(hashes.SHA256(), KEY_BYTES, salt=nonce, info=b"payload").derive(file_key))


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])
