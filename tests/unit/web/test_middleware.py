from __future__ import annotations

import asyncio
import json

from starlette.types import Message, Receive, Scope, Send

from trivet.web.middleware import RequestContext


async def _never(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive, send
    raise AssertionError("an application must not see half a body")


def test_a_body_that_dribbles_is_408() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Message) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "client": None}
    asyncio.run(RequestContext(_never, 1000, body_seconds=0.2)(scope, receive, send))
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert json.loads(sent[1]["body"])["type"] == "urn:trivet:problem:requestTimeout"
