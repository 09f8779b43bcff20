"""The key-encryption key: the operator's secret, under which all private keys are stored."""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_der_private_key,
)

if TYPE_CHECKING:
    from trivet.pki.keys import IssuerPrivateKey

KEY_BYTES = 32


class WrongKeyError(Exception):
    """The key-encryption key is malformed, or not the one that the stored keys were encrypted under."""


class KeyEncryptionKey:
    """256 random bits from which a key for each use is derived (HKDF, RFC 5869). Its repr shows nothing."""

    __slots__ = ("_certificate_key", "_seal_key", "_secret", "_token_key")

    def __init__(self, secret: bytes) -> None:
        """Take the 32 bytes.

        Raises:
            WrongKeyError: they are not 32.
        """
        if len(secret) != KEY_BYTES:
            message = f"the key-encryption key has {len(secret)} bytes instead of {KEY_BYTES}"
            raise WrongKeyError(message)
        self._secret = secret
        self._token_key = self._derive("tokens")  # asked for with every request
        self._seal_key = self._derive("decisions")
        self._certificate_key = self._derive("certificates")

    @classmethod
    def from_text(cls, text: str) -> KeyEncryptionKey:
        """Read the Base64 form that a key file or environment variable holds.

        Raises:
            WrongKeyError: it is not Base64 of 32 bytes.
        """
        try:
            return cls(base64.b64decode(text.strip(), validate=True))
        except ValueError as error:  # binascii.Error is one
            message = f"the key-encryption key is not Base64 of {KEY_BYTES} bytes (openssl rand -base64 {KEY_BYTES})"
            raise WrongKeyError(message) from error

    def __repr__(self) -> str:
        """Show that there is a key, and nothing of it."""
        return "KeyEncryptionKey(…)"

    def _derive(self, purpose: str) -> bytes:
        return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=f"trivet {purpose}".encode()).derive(
            self._secret
        )

    def check(self) -> str:
        """A value that tells this key from others and tells nothing of it."""
        return self._derive("key check").hex()

    def token_hash(self, secret: str) -> str:
        """The keyed hash under which an access token is stored.

        Tokens are random, so a fast hash is enough; the key keeps a thief of the database from testing guesses.
        """
        return hmac.digest(self._token_key, secret.encode(), "sha256").hex()

    def seal(self, text: str) -> str:
        """A keyed hash of what was decided, so that whoever can only write to the database cannot decide."""
        return hmac.digest(self._seal_key, text.encode(), "sha256").hex()

    def certificate_seal(self, facts: bytes) -> str:
        """A keyed hash of a certificate and what is noted with it: whoever can only write to the database has none."""
        return hmac.digest(self._certificate_key, facts, "sha256").hex()

    def backup_seal(self, text: bytes) -> str:
        """A keyed hash of a backup, so that nobody without this key can make one that is restored."""
        return hmac.digest(self._derive("backups"), text, "sha256").hex()

    def encrypt(self, key: IssuerPrivateKey) -> bytes:
        """The private key as encrypted PKCS#8 (RFC 5958), DER."""
        return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(self._password()))

    def decrypt(self, pkcs8: bytes) -> object:
        """Open what `encrypt` made.

        Raises:
            WrongKeyError: it was encrypted under another key, or is damaged.
        """
        try:
            return load_der_private_key(pkcs8, self._password())
        except (ValueError, TypeError) as error:
            message = "a stored private key does not open with this key-encryption key"
            raise WrongKeyError(message) from error

    def _password(self) -> bytes:
        return base64.b64encode(self._derive("private keys"))
