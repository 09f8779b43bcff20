"""Who can open a file: the holder of an X25519 key, or whoever knows a passphrase.

Each wraps the file key in a stanza of the header, and finds it there again.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from trivet.signing.age import bech32
from trivet.signing.age.errors import DamagedError, NoKeyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FILE_KEY_BYTES: Final = 16
KEY_BYTES: Final = 32
_PUBLIC, _PRIVATE = "age", "age-secret-key-"
_X25519_LABEL: Final = b"age-encryption.org/v1/X25519"
_SCRYPT_LABEL: Final = b"age-encryption.org/v1/scrypt"
# The wrapping key is used once, so its nonce need not differ.
_NONCE: Final = bytes(12)
_SALT_BYTES: Final = 16
WORK_FACTOR: Final = 17
"""2**17 rounds of scrypt: 128 MiB and about half a second for each guess."""
_MOST_WORK: Final = 20  # a forged header must not take all memory


@dataclass(frozen=True, slots=True)
class Stanza:
    """A wrapped file key, as the header has it."""

    kind: str
    arguments: tuple[str, ...]
    body: bytes = field(repr=False)


class Wrapper(Protocol):
    """Wraps the file key."""

    def wrap(self, file_key: bytes, random_bytes: Callable[[int], bytes]) -> Stanza:
        """The stanza that holds it."""


class Unwrapper(Protocol):
    """Opens the file key."""

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """The file key; None where the stanza is for somebody else."""


@dataclass(frozen=True, slots=True)
class PublicRecipient:
    """An X25519 public key: what is encrypted for it, the machine that encrypts cannot decrypt."""

    octets: bytes

    @classmethod
    def parse(cls, text: str) -> PublicRecipient:
        """Read `age1…`.

        Raises:
            NoKeyError: it is none.
        """
        return cls(_decoded(text, _PUBLIC, "a recipient (age1…)"))

    def __str__(self) -> str:
        """As it is written."""
        return bech32.encode(_PUBLIC, self.octets)

    def wrap(self, file_key: bytes, random_bytes: Callable[[int], bytes]) -> Stanza:
        """With a key of its own, of which the header holds the public half."""
        ephemeral = X25519PrivateKey.from_private_bytes(random_bytes(KEY_BYTES))
        share = ephemeral.public_key().public_bytes_raw()
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(self.octets))
        sealed = _wrapping(shared, share + self.octets, _X25519_LABEL).encrypt(_NONCE, file_key, None)
        return Stanza("X25519", (encoded(share),), sealed)


@dataclass(frozen=True, slots=True)
class Identity:
    """The private key of a recipient; its repr shows nothing."""

    octets: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Identity:
        """Read `AGE-SECRET-KEY-1…`.

        Raises:
            NoKeyError: it is none.
        """
        return cls(_decoded(text, _PRIVATE, "a private key (AGE-SECRET-KEY-1…)"))

    @property
    def recipient(self) -> PublicRecipient:
        """Its public half."""
        return PublicRecipient(self._key().public_key().public_bytes_raw())

    def text(self) -> str:
        """As it is written; a secret."""
        return bech32.encode(_PRIVATE, self.octets).upper()

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """Open what was wrapped for its recipient."""
        if stanza.kind != "X25519" or len(stanza.arguments) != 1:
            return None
        share = decoded(stanza.arguments[0])
        try:
            shared = self._key().exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError as error:
            raise DamagedError("its header holds a key that there is not") from error
        return _opened(_wrapping(shared, share + self.recipient.octets, _X25519_LABEL), stanza.body)

    def _key(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.octets)


@dataclass(frozen=True, slots=True)
class Passphrase:
    """A passphrase, stretched by scrypt; its repr shows nothing."""

    text: str = field(repr=False)
    work_factor: int = WORK_FACTOR

    def wrap(self, file_key: bytes, random_bytes: Callable[[int], bytes]) -> Stanza:
        """Under a key that takes time and memory to guess."""
        salt = random_bytes(_SALT_BYTES)
        sealed = self._wrapping(salt, self.work_factor).encrypt(_NONCE, file_key, None)
        return Stanza("scrypt", (encoded(salt), str(self.work_factor)), sealed)

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """Open what was wrapped under the same passphrase."""
        if stanza.kind != "scrypt" or len(stanza.arguments) != 2:  # noqa: PLR2004  salt and work factor
            return None
        salt, factor = decoded(stanza.arguments[0]), stanza.arguments[1]
        if len(salt) != _SALT_BYTES or not factor.isascii() or not factor.isdigit() or factor.startswith("0"):
            raise DamagedError("its header is malformed")
        if len(factor) > 2 or int(factor) > _MOST_WORK:  # noqa: PLR2004  digits
            raise DamagedError(f"it asks for 2**{factor[:4]} rounds of scrypt; 2**{_MOST_WORK} are the most")
        return _opened(self._wrapping(salt, int(factor)), stanza.body)

    def _wrapping(self, salt: bytes, factor: int) -> ChaCha20Poly1305:
        stretched = Scrypt(salt=_SCRYPT_LABEL + salt, length=KEY_BYTES, n=1 << factor, r=8, p=1)
        return ChaCha20Poly1305(stretched.derive(self.text.encode()))


def parse_identities(text: str) -> list[Identity]:
    """The private keys of an identity file: one a line, among comments.

    Raises:
        NoKeyError: a line is none, or there is none at all.
    """
    lines = [line.strip() for line in text.splitlines()]
    found = [Identity.parse(line) for line in lines if line and not line.startswith("#")]
    if not found:
        raise NoKeyError("the file holds no private key (AGE-SECRET-KEY-1…)")
    return found


def encoded(octets: bytes) -> str:
    """Base64 as the header has it: without padding."""
    return base64.b64encode(octets).decode().rstrip("=")


def decoded(text: str) -> bytes:
    """The octets of the header's Base64, which has one spelling.

    Raises:
        DamagedError: it is none.
    """
    try:
        octets = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DamagedError("its header is malformed") from error
    if encoded(octets) != text:
        raise DamagedError("its header is malformed")
    return octets


def _decoded(text: str, prefix: str, what: str) -> bytes:
    try:
        found, octets = bech32.decode(text.strip())
    except ValueError as error:
        raise NoKeyError(f"this is not {what}: {error}") from None
    if found != prefix or len(octets) != KEY_BYTES:
        raise NoKeyError(f"this is not {what}")
    return octets


def _wrapping(shared: bytes, salt: bytes, label: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(HKDF(hashes.SHA256(), KEY_BYTES, salt=salt, info=label).derive(shared))


def _opened(wrapping: ChaCha20Poly1305, body: bytes) -> bytes | None:
    if len(body) != FILE_KEY_BYTES + 16:
        raise DamagedError("its header is malformed")
    try:
        return wrapping.decrypt(_NONCE, body, None)
    except InvalidTag:
        return None


def wrapped_for(
    wrappers: Iterable[Wrapper], file_key: bytes, random_bytes: Callable[[int], bytes]
) -> list[Stanza]:
    """The stanzas of a header: for several public keys, or for one passphrase.

    Raises:
        NoKeyError: nobody could open it; or a passphrase stands beside others, which could then fake it.
    """
    stanzas = [wrapper.wrap(file_key, random_bytes) for wrapper in wrappers]
    if not stanzas:
        raise NoKeyError("for whom is it to be encrypted?")
    if len(stanzas) > 1 and any(stanza.kind == "scrypt" for stanza in stanzas):
        raise NoKeyError("a passphrase stands alone: give it, or recipients")
    return stanzas
