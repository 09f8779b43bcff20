"""Where the metrics go: a file for the node exporter, or a port of the loopback."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

from trivet.agent.exposition import CONTENT_TYPE

if TYPE_CHECKING:
    from pathlib import Path


def write_metrics(path: Path, text: str) -> None:
    """Replace the file for the node exporter's textfile collector, in one step: it may read at any moment.

    Raises:
        OSError: it cannot be written.
    """
    # Not *.prom before it is whole: the collector reads every file of that name.
    staged = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        staged.write_text(text)
        staged.chmod(0o644)
        staged.replace(path)
    except OSError:
        with suppress(OSError):
            staged.unlink(missing_ok=True)
        raise


@dataclass
class MetricsPort:
    """Answers GET /metrics with the text that was last published. A context manager."""

    host: str
    port: int
    _text: bytes = b""
    _server: ThreadingHTTPServer | None = field(default=None, repr=False)

    def publish(self, text: str) -> None:
        """Answer with this from now on."""
        self._text = text.encode()

    def __enter__(self) -> Self:
        """Listen, and answer in a thread.

        Raises:
            OSError: the port is taken.
        """
        published = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                is_known = self.path.partition("?")[0] == "/metrics"
                text = published._text if is_known else b"metrics are at /metrics\n"
                self.send_response(200 if is_known else 404)
                self.send_header("Content-Type", CONTENT_TYPE if is_known else "text/plain")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the standard library's name
                del format, args

        self._server = ThreadingHTTPServer((self.host, self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
