"""The typed HTTP client of the command and the agent: synchronous, with no rule of its own."""

from __future__ import annotations

from trivet.client.api import Client
from trivet.client.endpoint import Endpoint
from trivet.client.errors import ClientError, LocalError, ProblemError, UnreachableError

__all__ = ["Client", "ClientError", "Endpoint", "LocalError", "ProblemError", "UnreachableError"]
