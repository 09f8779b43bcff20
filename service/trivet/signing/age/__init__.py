"""Encrypted files in the format of age (https://age-encryption.org/v1), which other programs open as well.

A header holds the file key, wrapped for each recipient: an X25519 public key, or a passphrase (scrypt). What follows is
encrypted in chunks of 64 KiB, each authenticated with its number and whether it is the last one (STREAM); so nothing
of a file that was changed, reordered or cut off passes for the whole.
"""

from __future__ import annotations

from trivet.signing.age.errors import AgeError, DamagedError, NoKeyError
from trivet.signing.age.files import DecryptedFile, EncryptedFile, open_file, reopen
from trivet.signing.age.keys import Identity, Passphrase, PublicRecipient, parse_identities

__all__ = [
    "AgeError",
    "DamagedError",
    "DecryptedFile",
    "EncryptedFile",
    "Identity",
    "NoKeyError",
    "Passphrase",
    "PublicRecipient",
    "open_file",
    "parse_identities",
    "reopen",
]
