"""A real service over TLS, in a thread of this process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from trivet.bootstrap.initialise import Installation, initialise
from trivet.bootstrap.layout import Choices
from trivet.bootstrap.service import QuietServer, Worker, uvicorn_config
from trivet.settings import ServerSettings


def installed(folder: Path) -> Installation:
    """Set up a service with a cluster `demo`, on a port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return initialise(Choices(folder / ".trivet", f"https://127.0.0.1:{port}", {"port": port}, "demo"))


@contextmanager
def running(settings: ServerSettings) -> Iterator[None]:
    """Serve for a block."""
    worker = Worker(settings)
    # The logs of this process are pytest's.
    with patch("trivet.bootstrap.service.logging_config", return_value=None):
        server = QuietServer(uvicorn_config(settings, worker))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        yield
    finally:
        server.should_exit = True
        thread.join()
        worker.close()
