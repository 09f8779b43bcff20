"""The service's operations, one method each, gathered by resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from trivet.client.audit import AuditRecords
from trivet.client.bootstrap import BootstrapTokens
from trivet.client.certificates import Certificates, Decisions
from trivet.client.clusters import Clusters
from trivet.client.connection import Connection
from trivet.client.health import Probes
from trivet.client.inventory import Inventory
from trivet.client.published import Published
from trivet.client.repairs import Repairs
from trivet.client.requests import Requests
from trivet.client.revocations import Revocations
from trivet.client.tokens import Tokens
from trivet.client.upkeep import Upkeep

if TYPE_CHECKING:
    import httpx

    from trivet.client.endpoint import Endpoint


class Client:
    """Talks to one Trivet. A context manager; safe to share between threads.

        with Client(Endpoint("https://127.0.0.1:8443", ca_file=..., token=...)) as trivet:
            trivet.certificates.issue("demo", "kubelet-client", csr)

    Every method raises `ProblemError` where the service refuses, `UnreachableError` where none answers.
    """

    def __init__(self, endpoint: Endpoint, *, transport: httpx.BaseTransport | None = None) -> None:
        """Prepare; nothing is sent yet.

        Raises:
            LocalError: a file cannot be read.
        """
        self._connection = Connection(endpoint, transport=transport)
        self.probes = Probes(self._connection, endpoint.url)
        self.published = Published(self._connection, endpoint.url)
        self.clusters = Clusters(self._connection)
        self.certificates = Certificates(self._connection)
        self.decisions = Decisions(self._connection)
        self.requests = Requests(self._connection)
        self.bootstrap_tokens = BootstrapTokens(self._connection)
        self.inventory = Inventory(self._connection)
        self.revocations = Revocations(self._connection)
        self.upkeep = Upkeep(self._connection)
        self.repairs = Repairs(self._connection)
        self.tokens = Tokens(self._connection)
        self.audit_records = AuditRecords(self._connection)

    def __enter__(self) -> Self:
        """Use it in a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._connection.__exit__()
