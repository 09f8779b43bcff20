"""Clients that issue, renew and revoke, each at its own pace, and never give a wish up before it is answered."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.faults.journal import CLOSED, HUNG, ISSUED, REFUSED, UNAVAILABLE, Answer, Identity, Journal, Wish
from tests.faults.service import CLUSTER, Service

BOUND = 20.0  # seconds within which every request has an answer, or its connection ends
ISSUERS, RENEWERS = 3, 2
_API = f"/api/v1/clusters/{CLUSTER}"
_LIVE = 8  # identities at a time, beside those that renew
_PAUSE, _RETRY_PAUSE = 0.02, 0.1
_REVOCATION_PAUSE = 0.5
_AFTERWARDS = 60.0  # for the wishes that are open when the load ends
_chance = secrets.SystemRandom()


@dataclass
class Load:
    """The clients of one service, and what they remember."""

    service: Service
    journal: Journal
    folder: Path

    def __post_init__(self) -> None:
        self._ending = threading.Event()
        self._until = float("inf")
        self._token = {"Authorization": f"Bearer {self.service.token}"}
        self._failures: list[BaseException] = []
        roles = [self._issue] * ISSUERS + [self._renew] * RENEWERS + [self._revoke]
        self._threads = [threading.Thread(target=self._guarded, args=(role,), daemon=True) for role in roles]

    def start(self) -> None:
        for _ in range(_LIVE):
            self.journal.new_identity()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End once every open wish is answered."""
        self._until = monotonic() + _AFTERWARDS
        self._ending.set()
        for thread in self._threads:
            thread.join(_AFTERWARDS + 2 * BOUND)
            assert not thread.is_alive()
        assert self._failures == []

    def _guarded(self, role: Callable[[], None]) -> None:
        try:
            role()
        except BaseException as error:  # noqa: BLE001  told by `stop`, in the test's own thread
            self._failures.append(error)

    def _client(self, certificate: tuple[Path, Path] | None = None) -> httpx.Client:
        tls = self.service.tls()
        if certificate is not None:
            tls.load_cert_chain(*certificate)
        return httpx.Client(base_url=self.service.url, verify=tls, timeout=BOUND, trust_env=False)

    # --- issuing ---

    def _issue(self) -> None:
        with self._client() as client:
            while not self._ending.is_set():
                revoked = self.journal.revoked
                # Who is revoked asks again, too, and must be refused.
                pool = revoked if revoked and _chance.random() < 0.15 else self.journal.live
                self.grant(client, self._wish(_chance.choice(pool)))
                self._ending.wait(_chance.uniform(0, 2 * _PAUSE))

    def _wish(self, identity: Identity, current: str | None = None) -> Wish:
        wish = Wish(identity, secrets.token_hex(16), current)
        self.journal.wishes.append(wish)
        return wish

    def grant(self, client: httpx.Client, wish: Wish) -> None:
        """Ask, with the same key each time, until there is an answer."""
        while wish.is_open and monotonic() < self._until:
            self.ask(client, wish)
            if wish.is_open:
                sleep(_chance.uniform(0, 2 * _RETRY_PAUSE))

    def ask(self, client: httpx.Client, wish: Wish) -> None:
        """Send the wish once, and note what comes of it."""
        headers = {
            "Content-Type": "application/pkcs10",
            "Accept": "application/pkix-cert",
            "Idempotency-Key": wish.key,
        }
        if wish.current is None:
            path = f"{_API}/certificates?profile=kubelet-client"
            headers |= self._token
        else:
            path = f"{_API}/certificates/renew"
        answer, response = _sent(client, path, wish.csr, headers)
        if response is not None and answer.status == ISSUED:
            wish.received.add(response.content)
            wish.identity.received += 1
        wish.answers.append(answer)

    # --- renewing ---

    def _renew(self) -> None:
        while not self._ending.is_set():
            wish = self._wish(self.journal.new_identity())
            with self._client() as client:
                self.grant(client, wish)
            while wish.received and not self._ending.is_set():
                wish = self._renewed(wish)
                self._ending.wait(_chance.uniform(0, 4 * _PAUSE))

    def _renewed(self, parent: Wish) -> Wish:
        """Renew by the TLS handshake, as an agent on a node does."""
        (der,) = parent.received
        certificate = x509.load_der_x509_certificate(der)
        files = (self.folder / f"{parent.key}.crt", self.folder / f"{parent.key}.key")
        files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        files[1].write_bytes(parent.key_pem())
        wish = self._wish(parent.identity, f"{certificate.serial_number:x}")
        with self._client(files) as client:
            self.grant(client, wish)
        return wish

    # --- revoking ---

    def _revoke(self) -> None:
        with self._client() as client:
            while not self._ending.wait(_chance.uniform(0, 2 * _REVOCATION_PAUSE)):
                chosen = [identity for identity in list(self.journal.live) if identity.received]
                if chosen:
                    self._revoke_one(client, _chance.choice(chosen))
                while len(self.journal.live) < _LIVE + RENEWERS:
                    self.journal.new_identity()

    def _revoke_one(self, client: httpx.Client, identity: Identity) -> None:
        identity.revocation = f"against-{identity.node}"
        body: dict[str, object] = {
            "apiVersion": "certificates.microsoft.com/v1",
            "kind": "RenewRevocation",
            "metadata": {"name": identity.revocation},
            "spec": {"revocations": [{"kind": "CommonName", "commonName": identity.common_name}]},
        }
        headers = {**self._token, "Idempotency-Key": identity.revocation}
        while monotonic() < self._until:
            answer, _ = _sent(client, f"{_API}/renew-revocations", body, headers)
            self.journal.revocations.append(answer)
            if answer.status == ISSUED:
                self.journal.revoke(identity, monotonic(), datetime.now(UTC))
                return
            sleep(_chance.uniform(0, 2 * _RETRY_PAUSE))

    # --- afterwards ---

    def repeat(self, most: int) -> None:
        """Send answered wishes again with their keys: those that were tried several times, then the last."""
        answered = [wish for wish in self.journal.wishes if wish.received and wish.current is None]
        chosen = sorted(answered, key=lambda wish: (len(wish.answers), wish.answers[-1].began))[-most:]
        with self._client() as client:
            for wish in chosen:
                self.ask(client, wish)

    def ask_for_the_revoked(self, most: int) -> None:
        """Ask once more for identities that were revoked."""
        chosen = self.journal.revoked[-most:]
        with self._client() as client:
            for identity in chosen:
                self.ask(client, self._wish(identity))


def _sent(
    client: httpx.Client, path: str, body: bytes | dict[str, object], headers: dict[str, str]
) -> tuple[Answer, httpx.Response | None]:
    content, document = (body, None) if isinstance(body, bytes) else (None, body)
    began = monotonic()
    try:
        response = client.post(path, headers=headers, content=content, json=document)
    except httpx.ConnectTimeout:
        # While no worker lives the supervisor's socket still takes connections, and nobody greets them.
        return Answer(began, monotonic(), CLOSED), None
    except httpx.TimeoutException as error:
        return Answer(began, monotonic(), HUNG, f"no answer within {BOUND:g} s: {error!r}"), None
    except httpx.TransportError:
        return Answer(began, monotonic(), CLOSED), None
    return Answer(began, monotonic(), response.status_code, _oddity(response)), response


def _oddity(response: httpx.Response) -> str:
    """What of an answer no client could live with."""
    if response.status_code == UNAVAILABLE and not response.headers.get("Retry-After", "").isdigit():
        return "503 without Retry-After"
    if response.status_code == REFUSED and response.json()["type"] != "urn:trivet:problem:revoked":
        return response.text
    known = {ISSUED, REFUSED, UNAVAILABLE}
    return "" if response.status_code in known else f"{response.status_code}: {response.text[:500]}"
