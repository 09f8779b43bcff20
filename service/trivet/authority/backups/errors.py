"""Why a backup cannot be restored.

BackupError
└── DamagedBackupError
"""

from __future__ import annotations


class BackupError(Exception):
    """It is not for this Trivet, this key-encryption key or this database; the message says why, and the way out."""


class DamagedBackupError(BackupError):
    """It is not what was written, or not by whoever has the key-encryption key."""
