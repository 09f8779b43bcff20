"""The limit of OCSP: read a request, build the answer with cryptography's builder, sign it; a process a core."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from bench.limit import CORES, Issuer, LimitMeasure, make_issuer

if TYPE_CHECKING:
    from types import TracebackType

_REQUESTS = 256


class OcspLimit:
    """Processes that answer OCSP requests, one a core; no HTTP, no database, everything is good."""

    def __init__(self, processes: int = CORES) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._processes = processes
        self._pool = ProcessPoolExecutor(processes, mp_context=spawn, initializer=_prepare)

    def __enter__(self) -> Self:
        self.measure(0.3)  # imports and keys are not what is measured
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def measure(self, seconds: float) -> LimitMeasure:
        """Answer for so long, in all processes at once."""
        begin = time.monotonic() + 0.05
        running = [self._pool.submit(_work, begin, seconds) for _ in range(self._processes)]
        results = [future.result() for future in running]
        answered = sum(result[0] for result in results)
        return LimitMeasure(
            per_second=sum(done / elapsed for done, elapsed, _ in results),
            cpu_us=1e6 * sum(cpu for _, _, cpu in results) / answered,
        )


_prepared: tuple[Issuer, list[bytes]] | None = None


def _prepare() -> None:
    global _prepared  # noqa: PLW0603  what one process of the pool keeps between rounds
    issuer = make_issuer("limit-ocsp")
    _prepared = issuer, [_request(issuer.certificate, number) for number in range(_REQUESTS)]


def _request(issuer: x509.Certificate, number: int) -> bytes:
    # The issuer stands for its own issuer here: what is hashed costs the same.
    builder = ocsp.OCSPRequestBuilder().add_certificate(issuer, issuer, hashes.SHA1())  # noqa: S303
    nonce = x509.OCSPNonce(number.to_bytes(32))
    return builder.add_extension(nonce, critical=False).build().public_bytes(Encoding.DER)


def answer(issuer: Issuer, der: bytes) -> bytes:
    """All that the limit counts: from the request to the response, DER."""
    request = ocsp.load_der_ocsp_request(der)
    now = datetime.now(UTC)
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response_by_hash(
            request.issuer_name_hash,
            request.issuer_key_hash,
            request.serial_number,
            request.hash_algorithm,
            ocsp.OCSPCertStatus.GOOD,
            now,
            now + timedelta(hours=1),
            None,
            None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate)
        .certificates([issuer.certificate])
    )
    for extension in request.extensions:
        builder = builder.add_extension(extension.value, critical=False)
    return builder.sign(issuer.key, hashes.SHA384()).public_bytes(Encoding.DER)


def _work(begin: float, seconds: float) -> tuple[int, float, float]:
    if _prepared is None:
        raise RuntimeError("this process was not prepared")
    issuer, requests = _prepared
    supply = itertools.cycle(requests)
    time.sleep(max(0.0, begin - time.monotonic()))
    start, cpu, answered = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        answer(issuer, next(supply))
        answered += 1
    return answered, time.perf_counter() - start, time.process_time() - cpu
