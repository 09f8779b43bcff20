"""What can go wrong between the signer and a cluster's API server.

ClusterError
├── StatusError     it answered, and refused (v1.Status)
├── SilentError     no answer, or none that can be trusted or read
└── AccessError     nothing was sent: the kubeconfig, or a file that it names, is wrong
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NOT_FOUND: Final = 404
CONFLICT: Final = 409
GONE: Final = 410
TOO_MANY: Final = 429
SERVERS_FAULT: Final = 500


class ClusterError(Exception):
    """The root; the message is for people."""


@dataclass(eq=False)
class StatusError(ClusterError):
    """The API server refused.

    Attributes:
        code: of the HTTP response, or of the Status within a watch.
        reason: Kubernetes' word for it; "" where something in between answered.
        message: the same for people.
        retry_after: seconds after which it may work, where the server says so.
        name: of the object that it is about, where the server names it.
    """

    code: int
    reason: str
    message: str
    retry_after: float | None = None
    name: str = ""

    def __str__(self) -> str:
        """The message, which says it all to people."""
        return self.message or self.reason or str(self.code)


class SilentError(ClusterError):
    """The API server did not answer, or its certificate is not trusted."""


class AccessError(ClusterError):
    """The kubeconfig, or a file that it names, is missing or wrong."""
