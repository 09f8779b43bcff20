"""Which certificate a live endpoint really serves."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509

from trivet.agent.loop.aftermath import Sight
from trivet.agent.memory_files import in_memory
from trivet.pki.pem import UNREADABLE
from trivet.pki.serials import serial_hex

if TYPE_CHECKING:
    from trivet.agent.files import KeyPair
    from trivet.agent.plan.model import Probe

TIMEOUT: Final = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen: in one word, the serial number that was served if any, and why not."""

    sight: Sight
    serial: str | None = None
    reason: str = ""


def look(probe: Probe, expected: str, shown: KeyPair | None, timeout: float = TIMEOUT) -> Seen:
    """Connect by TLS and compare the serial number of what is served.

    Nothing is sent and nothing is trusted: the question is which certificate is there, not whether it is good.

    Args:
        probe: where.
        expected: the serial number that should be served.
        shown: a pair to show to an endpoint that wants one, as etcd does.
        timeout: in seconds, for connecting and for the handshake.
    """
    try:
        der = _served(probe, shown, timeout)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Seen(Sight.NOTHING, None, f"{probe.host}:{probe.port}: {words or type(error).__name__}")
    try:
        serial = serial_hex(x509.load_der_x509_certificate(der).serial_number)
    except UNREADABLE:
        return Seen(Sight.NOTHING, None, f"{probe.host}:{probe.port}: what is served is no certificate")
    return Seen(Sight.NEW if serial == expected else Sight.OTHER, serial)


def _served(probe: Probe, shown: KeyPair | None, timeout: float) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with ExitStack() as stack:
        if shown is not None:
            path = stack.enter_context(in_memory(shown))
            context.load_cert_chain(path)
        plain = stack.enter_context(socket.create_connection((probe.host, probe.port), timeout))
        secure = stack.enter_context(context.wrap_socket(plain, server_hostname=probe.server_name))
        return secure.getpeercert(binary_form=True) or b""
