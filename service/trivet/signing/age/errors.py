"""Why an encrypted file does not open.

AgeError
├── DamagedError
└── NoKeyError
"""

from __future__ import annotations


class AgeError(Exception):
    """It cannot be encrypted or decrypted; the message says why."""


class DamagedError(AgeError):
    """It is no such file, or was changed or cut off."""


class NoKeyError(AgeError):
    """It was encrypted for somebody else, or under another passphrase; or the key given is none."""
