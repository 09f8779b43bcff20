"""Trivet as the signer asks it: with an access token of the role `signer`, over REST."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from trivet.client import Client
from trivet.client.errors import LocalError, ProblemError
from trivet.signer.work_queue import Later

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from trivet.client import ClientError, Endpoint
    from trivet.client.revocation_schemas import RenewRevocation
    from trivet.client.revocations import Stored
    from trivet.signer.judging import Wish

FINAL: Final = frozenset(
    {
        "badCSR",
        "badPublicKey",
        "idempotencyKeyReused",
        "invalid",
        "malformed",
        "rejectedIdentifier",
        "revoked",
        "tooLarge",
    }
)
"""Refusals that are about the request itself, and stay so. `unauthorized` is about the signer's own token; what is not
known here may pass."""

_ABOUT_THE_SIGNER: Final = frozenset({"unauthenticated", "unauthorized", "expired", "notFound"})
_BUSY: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Refused:
    """Trivet refuses this request for good."""

    message: str


def weigh(error: ClientError) -> Refused | Later:
    """Whether a refusal is final, or when to ask again."""
    if not isinstance(error, ProblemError):
        reason = "settings" if isinstance(error, LocalError) else "unreachable"
        return Later(reason, str(error), for_all=True)
    words = f"{error.title}: {error.detail}" if error.title else error.detail
    if error.slug in FINAL:
        faults = "".join(f"; {fault.pointer or '/'} {fault.detail}" for fault in error.faults)
        decision = f" (decision {error.decision})" if error.decision else ""
        return Refused(f"{words}{faults}{decision}")
    for_all = error.slug in _ABOUT_THE_SIGNER or error.status in _BUSY
    return Later(error.slug or str(error.status), words, error.retry_after, for_all)


class Asking:
    """Asks one Trivet about one cluster; safe to share between threads.

    Each thread has connections of its own, which are made anew when the token or a file changes.
    """

    def __init__(
        self, endpoint: Callable[[], Endpoint], cluster: str, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Take where Trivet is and who asks, read anew each time, and the cluster's name there."""
        self._endpoint, self.cluster, self._transport = endpoint, cluster, transport
        self._own = threading.local()

    def certificate(self, wish: Wish) -> str:
        """The certificate for a wish, PEM; the same one however often it is asked for.

        Raises:
            ClientError: Trivet refused, or did not answer.
        """
        issued = self._client().certificates.issue(
            self.cluster,
            wish.profile.name,
            wish.request,
            expiration_seconds=wish.expiration_seconds,
            idempotency_key=wish.uid,
        )
        return issued["certificate"]

    def revocations(self) -> list[RenewRevocation]:
        """All revocations of the cluster.

        Raises:
            ClientError: Trivet refused, or did not answer.
        """
        return list(self._client().revocations.list(self.cluster))

    def revocation(self, namespace: str, name: str) -> Stored | None:
        """One revocation; None where there is none.

        Raises:
            ClientError: Trivet refused, or did not answer.
        """
        try:
            return self._client().revocations.get(self.cluster, namespace, name)
        except ProblemError as error:
            if error.slug != "notFound":
                raise
            # A cluster that does not exist is not found, either.
            self._client().clusters.get(self.cluster)
            return None

    def create(self, manifest: bytes, confirm: str | None) -> Stored:
        """Let a revocation stand.

        Raises:
            ClientError: Trivet refused, or did not answer.
        """
        return self._client().revocations.create(self.cluster, manifest, confirm=confirm)

    def replace(
        self, namespace: str, name: str, manifest: bytes, etag: str | None, confirm: str | None
    ) -> Stored:
        """Put another content in a revocation's place.

        Raises:
            ClientError: Trivet refused, or did not answer.
        """
        revocations = self._client().revocations
        return revocations.replace(self.cluster, namespace, name, manifest, etag=etag, confirm=confirm)

    def delete(self, namespace: str, name: str, etag: str | None) -> None:
        """Let a revocation stand no longer.

        Raises:
            ClientError: Trivet refused, or did not answer.
        """
        self._client().revocations.delete(self.cluster, namespace, name, etag=etag)

    def warnings(self, manifest: bytes) -> tuple[str, ...]:
        """What a revocation that stands warns of.

        Raises:
            ClientError: Trivet refused, or did not answer.
        """
        return tuple(self._client().revocations.preview(self.cluster, manifest)["warnings"])

    def close(self) -> None:
        """Close the connections of the thread that calls."""
        held: tuple[Any, Client] | None = getattr(self._own, "held", None)
        if held is not None:
            self._own.held = None
            held[1].__exit__()

    def _client(self) -> Client:
        endpoint = self._endpoint()
        seen = (endpoint, _stamp(endpoint.ca_file))
        held: tuple[Any, Client] | None = getattr(self._own, "held", None)
        if held is not None and held[0] == seen:
            return held[1]
        self.close()
        # Its patience is the queue's: nobody is to sleep in a request.
        client = Client(replace(endpoint, patience=0.0), transport=self._transport)
        self._own.held = (seen, client)
        return client


def _stamp(path: Path | None) -> float | None:
    try:
        return None if path is None else path.stat().st_mtime
    except OSError:
        return None  # what is wrong with it is said where it is read
