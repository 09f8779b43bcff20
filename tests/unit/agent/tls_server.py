"""A component: serves TLS with a pair that it reads at its start, and again on SIGHUP.

python tls_server.py PORT FOLDER PIDFILE
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
from contextlib import suppress
from pathlib import Path


def main(port: int, folder: Path, pid_file: Path) -> None:
    held: list[ssl.SSLContext] = []

    def load(*_: object) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        held[:] = [context]

    load()
    signal.signal(signal.SIGHUP, load)
    pid_file.write_text(str(os.getpid()))
    with socket.create_server(("127.0.0.1", port)) as listener:
        print("ready", flush=True)  # noqa: T201  whoever started it waits for that
        while True:
            connection, _ = listener.accept()
            connection.settimeout(5)
            with connection, suppress(OSError):
                held[0].wrap_socket(connection, server_side=True).close()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
