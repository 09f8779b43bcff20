"""What a process remembers of the database: only what never changes there, or is looked at again when it counts.

A cluster and a generation never change once they are made. An access token may be deleted: whoever was known by a
remembered one is looked up again within the transaction that issues (`authority.issue`), and before anything else is
done by its role it is read anew (`authenticate.authenticate_token`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from trivet.store import authorities

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    issuers: Remembered[tuple[str, str, str], PublishedIssuer] = field(default_factory=Remembered)
