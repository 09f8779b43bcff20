"""The OpenAPI document, from the code alone."""

from __future__ import annotations

import json
import secrets

from trivet.authority.context import Authority
from trivet.bootstrap.clock import now
from trivet.signing.encryption import KEY_BYTES, KeyEncryptionKey
from trivet.signing.file import Keyring
from trivet.store.engine import Database
from trivet.web.app import create_app


def openapi_document() -> str:
    """The document as JSON, its members in the order in which the code declares them."""
    # Nothing connects while the document is made, so no settings are needed.
    key = KeyEncryptionKey(secrets.token_bytes(KEY_BYTES))
    authority = Authority(Database("sqlite:///never-opened.db"), Keyring(key), key, now, secrets.randbits)
    document = create_app(authority).openapi()
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
