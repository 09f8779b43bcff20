"""A network between Trivet and PostgreSQL that cuts a connection exactly where it hurts: at COMMIT.

It reads the frontend's messages (PostgreSQL documentation, "Message Formats"): after the start-up message each has one
byte that tells its kind, and its length in four.
"""

from __future__ import annotations

import socket
import struct
import threading
from enum import Enum
from itertools import count

_WRITES = (b"INSERT", b"UPDATE", b"DELETE")
_CHUNK = 65536


class Cut(Enum):
    """Where a connection is cut."""

    BEFORE = "before PostgreSQL sees the COMMIT"
    AFTER = "after PostgreSQL has committed, before Trivet learns of it"


class Proxy:
    """Forwards to a server; while armed, cuts every second connection that commits a change."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.armed = False
        self.cuts = dict.fromkeys(Cut, 0)
        self._commits = count()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            link = _Link(self, client, socket.create_connection(("127.0.0.1", self._target)))
            self._open |= {link.client, link.server}
            threading.Thread(target=link.forward, daemon=True).start()
            threading.Thread(target=link.backward, daemon=True).start()

    def next_cut(self) -> Cut | None:
        """What becomes of a change that is to be committed now; what is cut is counted."""
        if not self.armed:
            return None
        cut = (None, Cut.BEFORE, None, Cut.AFTER)[next(self._commits) % 4]
        if cut is not None:
            self.cuts[cut] += 1
        return cut

    def close(self) -> None:
        self._listener.close()
        for end in self._open:
            _shut(end)
            end.close()


class _Link:
    """One connection: its two ends, and what is known of the statements that were prepared in it."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self._proxy = proxy
        self._pending = b""
        self._started = False
        self._prepared: dict[bytes, bytes] = {}
        self._wrote = False
        self._deaf = False

    def forward(self) -> None:
        """From Trivet to PostgreSQL, message by message."""
        try:
            while chunk := self.client.recv(_CHUNK):
                self._pending += chunk
                while (message := self._message()) is not None:
                    cut = self._proxy.next_cut() if self._commits(message) else None
                    if cut is Cut.BEFORE:
                        return
                    self._deaf = self._deaf or cut is Cut.AFTER
                    self.server.sendall(message)
        except OSError:
            return
        finally:
            self._end(self.server if self._deaf else None)

    def backward(self) -> None:
        """From PostgreSQL to Trivet; the answer to a COMMIT that is cut off is read, so that it took place."""
        try:
            while chunk := self.server.recv(_CHUNK):
                if self._deaf:
                    return
                self.client.sendall(chunk)
        except OSError:
            return
        finally:
            self._end(None)

    def _end(self, spared: socket.socket | None) -> None:
        for end in (self.client, self.server):
            if end is not spared:
                _shut(end)

    def _message(self) -> bytes | None:
        """The next whole message of those that have arrived."""
        kind = 1 if self._started else 0
        if len(self._pending) < kind + 4:
            return None
        length = kind + struct.unpack_from("!I", self._pending, kind)[0]
        if len(self._pending) < length:
            return None
        message, self._pending = self._pending[:length], self._pending[length:]
        self._started = True
        return message

    def _commits(self, message: bytes) -> bool:
        """Whether this is the COMMIT of a transaction that has changed something."""
        statement = self._statement(message)
        if statement.lstrip().upper().startswith(_WRITES):
            self._wrote = True
        is_end = statement.upper().startswith((b"COMMIT", b"ROLLBACK"))
        wrote, self._wrote = self._wrote, self._wrote and not is_end
        return wrote and statement.upper().startswith(b"COMMIT")

    def _statement(self, message: bytes) -> bytes:
        """The SQL that a message runs, also where it only names what was prepared before."""
        kind, body = message[:1], message[5:]
        if kind == b"Q":
            return body
        if kind == b"P":
            name, _, rest = body.partition(b"\0")
            self._prepared[name] = rest.partition(b"\0")[0]
        if kind == b"B":
            return self._prepared.get(body.split(b"\0", 2)[1], b"")
        return b""


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
