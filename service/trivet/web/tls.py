"""The TLS edge: serves HTTPS under uvicorn and hands the client's certificate to the application.

The handshake proves one thing about a client certificate: that the peer holds its private key. It
does **not** ask who issued it, whether it is in time, or what it may be used for. The application
judges all of that, because only there can the answer be useful: `expired`, with the way out, for a
node that comes to be repaired; 401 for a foreign certificate, as kube-apiserver gives (which also
only requests certificates, RequestClientCert of Go's crypto/tls); a renewal for a certificate that
is for serving only, which a TLS library would not accept from a client.

Python's ssl module cannot do that: it has no verify callback, and so no way to ask for a
certificate without judging it. So pyOpenSSL makes the handshakes. uvicorn, asyncio and uvloop only
know `ssl`: `_ServerContext` is an SSLContext that gives them `_Connection`, which is what they use
of an SSLObject. Two more things follow: no list of trusted authorities has to be kept (ssl needs
half a minute to load 30,000 of them), and the server's private key never touches a file.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cryptography import x509
from OpenSSL import SSL, crypto
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trivet.web.writes import STALLED_SECONDS, JoinedWrites

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    ServerKey = EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey

PEER_CERTIFICATE = "trivet.peer_certificate"
ENDING = "trivet.ending"
"""In the scope: an asyncio.Event that is set when the service ends, for answers that would go on for long."""

# TLS 1.2 with forward secrecy and authenticated encryption only (RFC 9325 §4.2); TLS 1.3 has nothing else.
_TLS12_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
# RFC 8446 §5.1: no record holds more plaintext, and OpenSSL reads one record at a time.
_LONGEST_RECORD = 16 * 1024
_NOT_JUDGED = "the handshake proves possession of the key only"

_Result = TypeVar("_Result")


class ServerTls:
    """The server's certificate chain and private key, which can be replaced while it serves.

    For uvicorn: `ssl_context_factory=lambda config, default: server_tls.context`.
    """

    context: ssl.SSLContext

    def __init__(self, certificate_chain_pem: bytes, key: ServerKey) -> None:
        """As `load`."""
        self.context = self._context = _ServerContext(ssl.PROTOCOL_TLS_SERVER)
        self.load(certificate_chain_pem, key)

    def load(self, certificate_chain_pem: bytes, key: ServerKey) -> None:
        """Use this chain (leaf first) and key from the next handshake on; open connections go on.

        May be called from any thread.

        Raises:
            ValueError: no certificate, or the key is not the leaf's; the former pair stays in use.
        """
        leaf, *issuers = x509.load_pem_x509_certificates(certificate_chain_pem)
        if leaf.public_key() != key.public_key():
            raise ValueError("the private key does not belong to the server certificate")
        self._context.handshakes = _handshakes(leaf, issuers, key)


def peer_certificate(scope: Mapping[str, Any]) -> x509.Certificate | None:
    """Return the certificate whose key the peer has proved to hold: not judged in any other way.

    Raises:
        ValueError: the peer's certificate cannot be parsed.
    """
    der = scope.get(PEER_CERTIFICATE)
    return None if der is None else x509.load_der_x509_certificate(der)


class PeerCertificateProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with the peer's certificate in the scope of each request.

    `scope["trivet.peer_certificate"]` is DER, or None; `scope["extensions"]["tls"]` follows the ASGI
    TLS extension 0.2, and is absent without TLS. Both come from the connection, never from a header.

    Attributes:
        request_seconds: how long a connection may take, from its beginning or the answer before, to send the headers
            of a request.
        body_seconds: how long it may take from there to the end of the body.
        most_ahead: requests that a connection may send ahead of the answers.
    """

    request_seconds = 10.0
    body_seconds = 60.0
    most_ahead = 128

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Read the peer's certificate, once: without renegotiation it cannot change."""
        self._writes = JoinedWrites(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", self._writes))
        self.flow = _Flow(self.transport, self.pipeline)
        self._ending = asyncio.Event()
        over_tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        self._peer = over_tls.getpeercert(binary_form=True) if over_tls else None
        self._extensions = {"tls": _tls_extension(over_tls, self._peer)} if over_tls else {}
        self._is_in_body = False
        self._awaited_since: float | None = self.loop.time()
        self._look_after()

    def _look_after(self) -> None:
        """See now and then that what is awaited comes; one timer a connection, as one a request would cost more."""
        longest = self.body_seconds if self._is_in_body else self.request_seconds
        if self._awaited_since is not None and self.flow.read_paused:
            self._awaited_since = self.loop.time()  # nothing can come while nothing is read
        if self._writes.stalled_seconds() >= STALLED_SECONDS:
            self.transport.abort()
        elif self._awaited_since is not None and self.loop.time() - self._awaited_since >= longest:
            # uvicorn waits without end for a first request and for slow headers; connections are not free.
            self.transport.close()
        else:
            self._glance = self.loop.call_later(self.request_seconds / 4, self._look_after)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._glance.cancel()
        self._writes.lost()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End the connection after the answer in hand, and let that know."""
        self._ending.set()
        super().shutdown()

    def on_message_begin(self) -> None:
        """Begin a scope with what is known of the peer."""
        self._awaited_since = self.loop.time()
        super().on_message_begin()
        scope = cast("dict[str, Any]", self.scope)
        scope[PEER_CERTIFICATE] = self._peer
        scope[ENDING] = self._ending
        scope["extensions"] = scope.get("extensions", {}) | self._extensions

    def on_headers_complete(self) -> None:
        """Go on; the headers came in time."""
        self._awaited_since, self._is_in_body = self.loop.time(), True
        super().on_headers_complete()
        if len(self.pipeline) > self.most_ahead:  # of one chunk, small ones
            self.transport.close()  # as a server may at any time (RFC 9112 section 9.3.2)

    def on_message_complete(self) -> None:
        """Go on; nothing is awaited until the request is answered."""
        self._awaited_since, self._is_in_body = None, False
        if self.cycle.response_complete:  # who refuses does not wait for the body
            self._awaited_since = self.loop.time()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on as uvicorn does; but the next request is awaited without a timer for each, which takes 4 µs."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        following = self.pipeline.pop() if self.pipeline else None
        self.flow.resume_reading()
        if following:
            self._start_asgi_task(*following)
        elif self._awaited_since is None:
            self._awaited_since = self.loop.time()


class _Flow(FlowControl):
    """uvicorn's, but it reads on only when all is begun that was read; uvicorn's reads more with each answer."""

    def __init__(self, transport: asyncio.Transport, waiting: Collection[object]) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


def _tls_extension(over_tls: ssl.SSLObject, peer: bytes | None) -> dict[str, Any]:
    """Return what the ASGI TLS extension wants; the keys are mandatory, None says not known."""
    return {
        "server_cert": None,
        "client_cert_chain": (ssl.DER_cert_to_PEM_cert(peer),) if peer else (),
        "client_cert_name": None,
        "client_cert_error": _NOT_JUDGED if peer else None,
        "tls_version": {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}.get(over_tls.version() or ""),
        "cipher_suite": None,
    }


def _handshakes(leaf: x509.Certificate, issuers: list[x509.Certificate], key: ServerKey) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_TLS12_CIPHERS)
    # No renegotiation: it could change the peer's certificate under a connection. No resumption: agents come
    # once in days, and every connection then proves possession of its key itself.
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle keep-alive connection should cost little
    context.set_alpn_select_callback(_select_protocol)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)  # ask, do not demand, do not judge
    context.use_certificate(leaf)
    for issuer in issuers:
        context.add_extra_chain_cert(issuer)
    context.use_privatekey(key)
    return context


def _select_protocol(_: SSL.Connection, offered: list[bytes]) -> Any:  # noqa: ANN401 - pyOpenSSL's sentinel
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS


class _ServerContext(ssl.SSLContext):
    """What uvicorn takes for the TLS context: it makes server connections with the latest `handshakes`."""

    handshakes: SSL.Context

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *_: object, **__: object
    ) -> ssl.SSLObject:
        return _Connection(self.handshakes, incoming, outgoing)


class _Connection(ssl.SSLObject):
    """The methods of SSLObject that asyncio's and uvloop's sslproto call, over pyOpenSSL."""

    def __init__(self, handshakes: SSL.Context, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self._tls = SSL.Connection(handshakes)
        self._tls.set_accept_state()
        self._incoming, self._outgoing = incoming, outgoing
        self._drained = True  # OpenSSL has asked for more since the last bytes that it was given
        self._reads_may_answer = True  # in the handshake

    def do_handshake(self) -> None:
        self._run(self._tls.do_handshake)
        self._reads_may_answer = False

    def read(self, size: int = _LONGEST_RECORD, buffer: Any = None) -> Any:  # noqa: ANN401 - int or bytes, as ssl
        try:
            if buffer is None:
                return self._read(self._tls.recv, min(size, _LONGEST_RECORD))
            return self._read(self._tls.recv_into, buffer, min(size, _LONGEST_RECORD))
        except ssl.SSLZeroReturnError:
            return b"" if buffer is None else 0

    def write(self, plaintext: Any) -> int:  # noqa: ANN401 - Buffer, which has no name before Python 3.12
        return self._run(self._tls.sendall, plaintext)

    def pending(self) -> int:
        # uvloop reads on while there is something pending, here or in `incoming`. Records that OpenSSL has
        # been given and has not opened yet are in neither count; without the 1 they would be left lying.
        return self._tls.pending() or int(not self._drained)

    def unwrap(self) -> None:
        if not self._run(self._tls.shutdown):  # sends close_notify
            self._run(self._tls.shutdown)  # waits for the peer's

    def getpeercert(self, binary_form: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - ssl's signature
        certificate = self._tls.get_peer_certificate()
        if certificate is None:
            return None
        # As ssl does: no dictionary of a certificate that was not validated.
        return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) if binary_form else {}

    def cipher(self) -> tuple[str, str, int] | None:
        name, bits = self._tls.get_cipher_name(), self._tls.get_cipher_bits()
        return None if name is None or bits is None else (name, self.version(), bits)

    def version(self) -> str:
        return self._tls.get_protocol_version_name()

    def compression(self) -> None:
        return None

    def _read(self, operation: Callable[..., _Result], *arguments: object) -> _Result:
        """As `_run`; but what a read has to send (an alert, an answer to a key update) may wait for the next write.

        Each call of OpenSSL gives up the interpreter and takes it back, which under load costs more than the call.
        """
        if self._reads_may_answer:
            return self._run(operation, *arguments)
        self._hand_over()
        try:
            return operation(*arguments)
        except SSL.WantReadError:
            self._drained = True
            raise ssl.SSLWantReadError from None
        except (SSL.ZeroReturnError, SSL.Error) as error:
            self._collect()
            raise _as_ssl(error) from None

    def _run(self, operation: Callable[..., _Result], *arguments: object) -> _Result:
        """Hand over what has arrived, do it, collect what is to be sent; errors become those of ssl."""
        self._hand_over()
        try:
            return operation(*arguments)
        except SSL.WantReadError:
            self._drained = True
            raise ssl.SSLWantReadError from None
        except (SSL.ZeroReturnError, SSL.Error) as error:
            raise _as_ssl(error) from None
        finally:
            self._collect()

    def _hand_over(self) -> None:
        if self._incoming.pending:
            self._tls.bio_write(self._incoming.read())
            self._drained = False

    def _collect(self) -> None:
        most = 4 * _LONGEST_RECORD
        try:
            while True:
                taken = self._tls.bio_read(most)
                self._outgoing.write(taken)
                if len(taken) < most:
                    return  # that was all
        except SSL.WantReadError:
            return


def _as_ssl(error: SSL.Error) -> ssl.SSLError:
    if isinstance(error, SSL.ZeroReturnError):
        return ssl.SSLZeroReturnError()
    return ssl.SSLError(ssl.SSL_ERROR_SSL, f"TLS: {error}")
