"""The second port: `/pki` over plain HTTP, answered by the same processes.

RFC 5280 section 8 warns of HTTPS there: to check the server's certificate one would need what one is about to fetch.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, cast

import uvicorn

from trivet.web.pki.connection import OcspProtocol

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from trivet.web.pki.answering import Answering

_CONNECTIONS = 1024  # of one process; beyond it uvicorn answers 503 at once


class PlainPort:
    """Serves another application on a port of its own for as long as the first one is served."""

    def __init__(
        self, app: ASGIApp, beside: ASGIApp, answering: Answering, listener: socket.socket, patience: int
    ) -> None:
        """Take both applications.

        Args:
            app: what uvicorn serves.
            beside: what the second port answers.
            answering: answers the OCSP requests of the second port.
            listener: the second port, which the workers share.
            patience: how many seconds requests in flight may take at the end.
        """
        self._app = app
        self._listener = listener
        self._server = uvicorn.Server(
            uvicorn.Config(
                beside,
                loop="uvloop",
                http=cast("type[asyncio.Protocol]", partial(OcspProtocol, answering)),
                ws="none",
                interface="asgi3",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=_CONNECTIONS,
                timeout_graceful_shutdown=patience,
            )
        )
        self._ticking: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on to the first application; begin and end with it."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def receive_and_end() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._end()
            return message

        async def begin_and_send(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self._begin()
            await send(message)

        await self._app(scope, receive_and_end, begin_and_send)

    async def _begin(self) -> None:
        server = self._server
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=[self._listener])
        self._ticking = asyncio.create_task(server.main_loop())  # keeps the Date header

    async def _end(self) -> None:
        self._server.should_exit = True
        if self._ticking is not None:
            await self._ticking
            await self._server.shutdown(sockets=[self._listener])
