"""Serve: one process, or several under a supervisor; each with its own HTTPS certificate."""

from __future__ import annotations

import gc
import logging
import logging.config
import os
import socket
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from trivet.authority.follow import forget_changes
from trivet.authority.metrics import measures
from trivet.authority.repairs.watch import look_after_all
from trivet.authority.status.responder import renew_responders
from trivet.bootstrap import tracing
from trivet.bootstrap.chores import Chore, Housekeeper
from trivet.bootstrap.composition import build_authority, check_startable
from trivet.bootstrap.errors import StartError
from trivet.bootstrap.files import is_private
from trivet.bootstrap.https import HttpsCertificate
from trivet.bootstrap.metrics import CountedWorkers, Footprint, shared_metrics
from trivet.bootstrap.plain import PlainPort
from trivet.bootstrap.pruning import Pruning
from trivet.bootstrap.publishing import Publishing
from trivet.bootstrap.requests import RequestChores
from trivet.bootstrap.sealing import Sealing, seal_at_the_end
from trivet.pki.errors import UnavailableError
from trivet.settings.server import service_url
from trivet.store import idempotency
from trivet.web.app import WebOptions, create_app, create_plain_app
from trivet.web.logs import logging_config, spare_log_records
from trivet.web.offload import Offload
from trivet.web.pki.answering import Answering
from trivet.web.tls import PeerCertificateProtocol

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from datetime import datetime
    from types import FrameType

    from starlette.types import ASGIApp

    from trivet.authority.context import Authority
    from trivet.settings import ServerSettings

_log = logging.getLogger(__name__)
_CONNECTIONS = 4096  # of one process; beyond it uvicorn answers 503 at once
_BACKLOG = 2048
_COLLECTED_AFTER = 20_000  # objects more than were freed
_FOOTPRINT_EVERY = timedelta(seconds=10)
_REPAIRS_EVERY = timedelta(seconds=15)
_RESPONDERS_EVERY = timedelta(minutes=1)
_CHANGES_FORGOTTEN_EVERY = timedelta(minutes=1)
_KEYS_KEPT = timedelta(hours=24)
_KEYS_FORGOTTEN_EVERY = timedelta(hours=1)


def serve(settings: ServerSettings) -> None:
    """Answer requests until SIGTERM or SIGINT, then finish those in flight.

    Raises:
        StartError: what is set up cannot work.
    """
    logging.config.dictConfig(logging_config(settings.log_level))
    check_startable(settings)
    tracing.check(settings)
    _warn_of_open_key(settings)
    listener = _listen(settings.host, settings.port, "choose others with --host and --port")
    plain = _listen_plainly(settings)
    _log.info("listening on %s", settings.url(), extra={"fields": {"workers": settings.workers}})
    worker = Worker(settings, plain)
    config = uvicorn_config(settings, worker)
    if settings.workers == 1:
        QuietServer(config).run(sockets=[listener])
        worker.close()
        return
    with shared_metrics() as folder:
        supervisor = CountedWorkers(config, [listener], folder)
        supervisor.run()
    if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        message = "a worker could not start; the log says why"
        raise StartError(message)


def _warn_of_open_key(settings: ServerSettings) -> None:
    path = settings.key_encryption_key_file
    if path is not None and not is_private(path):
        _log.warning("anybody on this machine can read the key-encryption key; chmod 600 %s", path)


def _listen_plainly(settings: ServerSettings) -> socket.socket | None:
    if settings.http_port is None:
        return None
    _log.info("listening on %s for /pki", service_url(settings.host, settings.http_port, tls=False))
    return _listen(settings.host, settings.http_port, "choose another http_port")


def _listen(host: str, port: int, remedy: str) -> socket.socket:
    """Take the port at once, so that what is wrong with it is said before anything else is done."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        both = host == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        # getaddrinfo's numbers are not errno's; create_server's words are long-winded.
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        message = f"cannot listen on {host} port {port}: {reason}; {remedy}, or end what listens there"
        raise StartError(message) from error
    listener.set_inheritable(True)
    return listener


def uvicorn_config(settings: ServerSettings, worker: Worker) -> uvicorn.Config:
    """How uvicorn shall serve."""
    return uvicorn.Config(
        worker,
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http=PeerCertificateProtocol,
        ws="none",
        interface="asgi3",
        lifespan="on",
        ssl_context_factory=worker.tls if settings.tls else None,
        log_config=logging_config(settings.log_level),
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )


def _spare_collections() -> None:
    """Let the garbage collector look at what requests leave, not again and again at what was made at the start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER, 20, 50)


class QuietServer(uvicorn.Server):
    """Ends with status 0 on SIGTERM: uvicorn would raise the signal again once it has shut down."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to shut down."""
        super().handle_exit(sig, frame)
        self._captured_signals.clear()


class Worker:
    """One serving process. Only settings and ports travel to it, through a pipe: no argument, no file."""

    def __init__(self, settings: ServerSettings, plain: socket.socket | None = None) -> None:
        """Take the settings, and the port for plain HTTP; the rest is made in the process that serves."""
        self._settings = settings
        self._plain = plain
        self._authority: Authority | None = None
        self._https: HttpsCertificate | None = None
        self._housekeeper: Housekeeper | None = None
        self._publishing: Publishing | None = None
        self._end_tracing: Callable[[], None] = tracing.switch_off

    @property
    def authority(self) -> Authority:
        """The authority, made when it is first needed."""
        if self._authority is None:
            self._authority = build_authority(self._settings)
        return self._authority

    def tls(self, _: uvicorn.Config, __: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Give uvicorn the TLS context, with a fresh certificate in it."""
        try:
            self._https = HttpsCertificate(self.authority, self._settings.host_names())
        except UnavailableError as error:
            # The supervisor starts this worker again, so nothing is lost but time.
            _log.error("no HTTPS certificate: %s", error)
            sys.exit(1)
        return self._https.tls.context

    def __call__(self) -> ASGIApp:
        """Give uvicorn the application, and begin the chores."""
        settings, authority = self._settings, self.authority
        measures.tell_clusters_apart(wanted=settings.metrics_per_cluster)
        self._end_tracing = tracing.switch_on(settings)
        footprint = Footprint(authority.clock, _FOOTPRINT_EVERY)
        footprint.note()
        retention = timedelta(days=settings.retention_days)
        chores = [
            Chore("forgetting old Idempotency-Keys", self._forget_keys, authority.clock()),
            Chore(Footprint.NAME, footprint.note, authority.clock()),
            Chore("forgetting old changes", self._forget_changes, authority.clock()),
            Chore("looking after repair windows", self._look_after_repairs, authority.clock()),
            *RequestChores(authority).chores(),
            Chore("renewing OCSP responders", self._renew_responders, authority.clock()),
            *Sealing(authority, timedelta(seconds=settings.checkpoint_seconds)).chores(),
            *Pruning(authority, retention, keep_detached=settings.prune == "detach").chores(),
        ]
        if self._https is not None:
            chores.append(Chore("renewing the HTTPS certificate", self._https.renew, self._https.renewal_due))
        self._housekeeper = Housekeeper(chores, authority.clock)
        self._housekeeper.start()
        self._publishing = Publishing(authority)
        self._publishing.start()
        _spare_collections()
        spare_log_records()
        options = WebOptions(
            rate_per_second=settings.rate_per_second,
            burst=settings.burst,
            metrics_public=settings.metrics_public,
        )
        offload, answering = Offload(), Answering(authority)
        app = create_app(
            authority,
            options=options,
            offload=offload,
            answering=answering,
            at_end=self._at_end,
        )
        if self._plain is None:
            return app
        beside = create_plain_app(authority, offload, answering, options=options)
        return PlainPort(app, beside, answering, self._plain, settings.shutdown_seconds)

    def _at_end(self) -> None:
        seal_at_the_end(self.authority)
        self._end_tracing()

    def close(self) -> None:
        """End the chores and the connections of the database."""
        if self._publishing is not None:
            self._publishing.stop()
        if self._housekeeper is not None:
            self._housekeeper.stop()
        if self._authority is not None:
            self._authority.database.dispose()

    def _look_after_repairs(self) -> datetime:
        look_after_all(self.authority)
        return self.authority.clock() + _REPAIRS_EVERY

    def _renew_responders(self) -> datetime:
        has_more = renew_responders(self.authority)
        return self.authority.clock() + (timedelta() if has_more else _RESPONDERS_EVERY)

    def _forget_changes(self) -> datetime:
        forget_changes(self.authority)
        return self.authority.clock() + _CHANGES_FORGOTTEN_EVERY

    def _forget_keys(self) -> datetime:
        now = self.authority.clock()
        with self.authority.database.write() as connection:
            idempotency.forget_older(connection, now - _KEYS_KEPT)
        return now + _KEYS_FORGOTTEN_EVERY
