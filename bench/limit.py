"""The limit: what the machine can do when nothing but the certificate is made. No HTTP, no database.

Parse the CSR (PEM), verify its signature, build a certificate with cryptography's builder and the extensions that
Trivet's have, sign it (P-384), and encode it as a PEM chain: one process a core, all cores at once.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bench.requests import NodeRequest, new_key, pool

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from bench.figures import Figures
    from bench.plan import Plan

CORES = len(os.sched_getaffinity(0))
_REQUESTS = 256
_USAGES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True)
class LimitMeasure:
    """Certificates a second by all processes together, and the CPU time of one in microseconds."""

    per_second: float
    cpu_us: float


class Limit:
    """Processes that make certificates, one a core; kept between rounds."""

    def __init__(self, processes: int = CORES) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._processes = processes
        self._pool = ProcessPoolExecutor(processes, mp_context=spawn, initializer=_prepare)

    def __enter__(self) -> Self:
        self.measure(0.3)  # imports, keys and caches are not what is measured
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def measure(self, seconds: float, processes: int | None = None) -> LimitMeasure:
        """Make certificates for so long, in all processes at once or in fewer."""
        begin = time.monotonic() + 0.05
        count = processes or self._processes
        running = [self._pool.submit(_work, begin, seconds) for _ in range(count)]
        results = [future.result() for future in running]
        made = sum(result[0] for result in results)
        return LimitMeasure(
            per_second=sum(done / elapsed for done, elapsed, _ in results),
            cpu_us=1e6 * sum(cpu for _, _, cpu in results) / made,
        )


def measure_limit(plan: Plan, say: Callable[[str], None]) -> Figures:
    """The limit alone."""
    with Limit() as limit:
        measures = [limit.measure(plan.limit_seconds) for _ in range(plan.rounds)]
        alone = limit.measure(plan.limit_seconds, processes=1)
    middle = sorted(measures, key=lambda measure: measure.per_second)[len(measures) // 2]
    say(
        f"the limit: {middle.per_second:.0f}/s on {CORES} cores, {1e3 / alone.per_second:.2f} ms each when alone"
    )
    return {
        "limit.per_second": middle.per_second,
        "limit.cpu_us": middle.cpu_us,
        "limit.alone_ms": 1e3 / alone.per_second,
    }


@dataclass(frozen=True)
class Issuer:
    """A CA made for the measurement."""

    key: EllipticCurvePrivateKey
    certificate: x509.Certificate
    pem: bytes


def make_issuer(name: str = "limit") -> Issuer:
    """Make a P-384 CA."""
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=subject,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(minutes=5),
        not_valid_after=now + timedelta(days=3650),
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    certificate = builder.sign(key, SHA384())
    return Issuer(key, certificate, certificate.public_bytes(Encoding.PEM))


def make_certificate(issuer: Issuer, node: str, request_pem: bytes) -> bytes:
    """All that the limit counts: from the CSR to the PEM chain.

    Raises:
        ValueError: the CSR's signature is wrong.
    """
    request = x509.load_pem_x509_csr(request_pem)
    if not request.is_signature_valid:
        raise ValueError("the signature of the request is wrong")
    sans = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    now = datetime.now(UTC)
    key = request.public_key()
    builder = (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .issuer_name(issuer.certificate.subject)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)]))
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=4))
        .public_key(key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_USAGES), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
        .add_extension(sans, critical=False)
    )
    return builder.sign(issuer.key, SHA384()).public_bytes(Encoding.PEM) + issuer.pem


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


_prepared: tuple[Issuer, list[NodeRequest]] | None = None


def _prepare() -> None:
    global _prepared  # noqa: PLW0603  what one process of the pool keeps between rounds
    _prepared = make_issuer(), pool(_REQUESTS)


def _work(begin: float, seconds: float) -> tuple[int, float, float]:
    """Work from `begin` on; gives how many were made, and the seconds and CPU seconds that they took."""
    if _prepared is None:
        raise RuntimeError("this process was not prepared")
    issuer, requests = _prepared
    supply = itertools.cycle(requests)
    time.sleep(max(0.0, begin - time.monotonic()))
    start, cpu, made = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        request = next(supply)
        make_certificate(issuer, request.node, request.pem)
        made += 1
    return made, time.perf_counter() - start, time.process_time() - cpu
