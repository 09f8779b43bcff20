"""The command `trivet` without the second that starting Python and importing everything takes.

A server that has everything imported forks for each command: the same `run()`, with the arguments, environment,
folder and standard streams of whoever calls. A page of the documentation calls the command twenty times.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# -I -S: it needs no packages, so it looks for none.
STUB = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    call = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(call).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(call)
    sys.exit(int(server.recv(8) or b"70"))
"""


@contextmanager
def forked_command(program: Path, folder: Path) -> Iterator[None]:
    """Write an executable `program` that is the command, for a block; `folder` gets the socket."""
    address = folder / "command.sock"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(STUB.format(python=sys.executable, address=str(address)))
    program.chmod(0o755)
    server = subprocess.Popen([sys.executable, __file__, str(address)])
    try:
        deadline = time.monotonic() + 60
        while not address.exists():
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
    finally:
        server.terminate()
        server.wait(timeout=30)


def _serve(address: str) -> None:
    from trivet import agent, cli, client, pki  # noqa: PLC0415  imported in the server alone

    for room in (pki, client, agent, cli):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{address}.new")
        listening.listen(16)
        Path(f"{address}.new").rename(address)
        while True:
            caller, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _be_the_command(caller)
            caller.close()


def _be_the_command(caller: socket.socket) -> None:
    from trivet.cli.main import run  # noqa: PLC0415  it is imported already

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(caller, 8, 3)
    call = b""
    while len(call) < int.from_bytes(size, "big"):
        call += caller.recv(65536)
    sys.argv, folder, environment = json.loads(call)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code: object = 70
    try:
        run()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        caller.sendall(str(code).encode())
        os._exit(0)


if __name__ == "__main__":
    _serve(sys.argv[1])
