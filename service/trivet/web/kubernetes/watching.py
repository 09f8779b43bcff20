"""Watches: one JSON object a line for each change, until the client leaves or its time is up."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from trivet.pki.errors import Refusal
from trivet.store.changes import ChangeKind
from trivet.web.kubernetes.answers import included, rendered
from trivet.web.kubernetes.identity import identify
from trivet.web.kubernetes.listing import Selection, find, selection_of
from trivet.web.kubernetes.media import TABLE, form_of
from trivet.web.kubernetes.options import number_of
from trivet.web.kubernetes.status import Cause, StatusError, encode, expired, failure, invalid, of_refusal
from trivet.web.kubernetes.tables import table_of
from trivet.web.kubernetes.target import is_set
from trivet.web.tls import ENDING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Receive, Scope, Send

    from trivet.authority.follow import View
    from trivet.store.changes import Change, ObjectImage
    from trivet.web.kubernetes.call import Call

_BOOKMARK_SECONDS: Final = 60.0  # as apiserver's cacher
_LONGEST_SECONDS: Final = 1800
_TRUSTED_SECONDS: Final = 60.0
_INITIAL_END: Final = {"k8s.io/initial-events-end": "true"}


@dataclass(frozen=True, slots=True)
class Asked:
    """How a watch is to be.

    Attributes:
        view: of what, with the version that it was at when it was asked.
        version: after which changes are told.
        initial: the objects that are told first, as if each had just been added.
        marks_initial: whether a bookmark says where those end.
    """

    view: View
    version: int
    initial: tuple[ObjectImage, ...]
    marks_initial: bool
    bookmarks: bool
    seconds: float
    selection: Selection
    form: str


async def watch(call: Call) -> WatchAnswer:
    """GET of a collection with watch=true.

    Raises:
        StatusError: it is asked for in a way that there is not.
    """
    call.require()
    query = call.request.query_params
    selection, form = selection_of(call), form_of(call.request)
    version = number_of(call.request, "resourceVersion")
    seconds = min(number_of(call.request, "timeoutSeconds") or _LONGEST_SECONDS, _LONGEST_SECONDS)
    wants_initial, bookmarks = query.get("sendInitialEvents"), is_set(query.get("allowWatchBookmarks"))
    if wants_initial is not None and query.get("resourceVersionMatch") != "NotOlderThan":
        message = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise invalid(call.target, Cause("FieldValueForbidden", message, "resourceVersionMatch"))
    view = await call.objects.view(call)
    if view.username is not None:
        selection = selection.narrowed("spec.username", view.username)
    # Without a version, or from any (0), what is there now is told first.
    begins_now = is_set(wants_initial) if wants_initial is not None else not version
    if begins_now or version is None:
        found = await find(call, selection, None, None, None)
        initial = tuple(found.images) if begins_now else ()
        marks = is_set(wants_initial)
        return WatchAnswer(
            call, Asked(view, found.version, initial, marks, bookmarks, seconds, selection, form)
        )
    return WatchAnswer(call, Asked(view, version, (), False, bookmarks, seconds, selection, form))  # noqa: FBT003


class WatchAnswer:
    """The answer to a watch, as ASGI: it notices when the client leaves, and ends with the service."""

    def __init__(self, call: Call, asked: Asked) -> None:
        """Take what is asked."""
        self._call = call
        self._asked = asked
        self._with_columns = True
        self._checked = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell until it ends."""
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-cache, private")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        ending: asyncio.Event | None = scope.get(ENDING)
        telling = asyncio.create_task(self._tell(send))
        gone = asyncio.create_task(_left(receive))
        tasks: set[asyncio.Task[Any]] = {telling, gone}
        if ending is not None:
            tasks.add(asyncio.create_task(ending.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not gone.done() or gone.cancelled():
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        if telling.done() and not telling.cancelled():
            telling.result()

    async def _tell(self, send: Send) -> None:
        # The head leaves at once: a client waits for it before it believes that it watches.
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(self._asked.seconds):
                # Closed when the client leaves, not when it is collected: it holds a place in the feed.
                async with aclosing(self._lines()) as lines:
                    async for line in lines:
                        await send({"type": "http.response.body", "body": line, "more_body": True})

    async def _lines(self) -> AsyncGenerator[bytes]:
        asked = self._asked
        for image in asked.initial:
            yield self._event(ChangeKind.ADDED, image)
        if asked.marks_initial and asked.bookmarks:
            yield self._bookmark(asked.version, _INITIAL_END)
        try:
            async with aclosing(self._changes()) as lines:
                async for line in lines:
                    yield line
        except Refusal as refusal:
            yield self._error(of_refusal(refusal, self._call.target, self._call.user.name))
        except StatusError as error:
            yield self._error(error)

    async def _changes(self) -> AsyncGenerator[bytes]:
        asked, tail, version = self._asked, self._call.tail, self._asked.version
        with tail.watching(asked.view):
            while True:
                news = await tail.after(asked.view.place, version, min(_BOOKMARK_SECONDS, _TRUSTED_SECONDS))
                await self._check_again()
                if news.lost:
                    message = f"too old resource version: {version} ({news.version})"
                    yield self._error(expired(message))
                    return
                lines = [
                    self._shared(*event)
                    for change in news.changes
                    if (event := event_of(change, asked.selection, self._call.target.namespace)) is not None
                ]
                if lines:  # in one piece: to send costs more than to encode
                    yield b"".join(lines)
                version = max(version, news.version)
                if not news.changes and asked.bookmarks:
                    yield self._bookmark(version, {})

    async def _check_again(self) -> None:
        """Ask now and then whether whoever watches still may: a token is deleted, a certificate revoked.

        Raises:
            StatusError, Refusal: they may not.
        """
        if time.monotonic() - self._checked < _TRUSTED_SECONDS:
            return
        user = await identify(self._call.request)
        if user.caller is None:
            raise StatusError(401, "Unauthorized", "Unauthorized")
        await self._call.objects.view(replace(self._call, user=user))
        self._checked = time.monotonic()

    def _shared(self, kind: ChangeKind, image: ObjectImage) -> bytes:
        """An event that others are told, too; the first row of a Table has the columns with it."""
        asked = self._asked
        if self._with_columns and asked.form == TABLE:
            return self._event(kind, image)
        key = (asked.view.place, image.version, kind, asked.form, included(self._call))
        return self._call.tail.lines.line(key, lambda: self._event(kind, image))

    def _event(self, kind: ChangeKind, image: ObjectImage) -> bytes:
        shown = rendered(self._call, image, self._asked.form, with_columns=self._with_columns)
        self._with_columns = False
        return encode({"type": kind, "object": shown}) + b"\n"

    def _bookmark(self, version: int, annotations: dict[str, str]) -> bytes:
        metadata: dict[str, Any] = {"resourceVersion": str(version), "creationTimestamp": None}
        metadata |= {"annotations": annotations} if annotations else {}
        resource = self._call.resource
        if self._asked.form == TABLE:
            objects, now = self._call.objects, self._call.now()
            shown = table_of([], resource, objects, now, metadata, with_columns=False)
        else:
            shown = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return encode({"type": "BOOKMARK", "object": shown}) + b"\n"

    def _error(self, error: StatusError) -> bytes:
        return encode({"type": "ERROR", "object": failure(error, None)}) + b"\n"


def event_of(change: Change, selection: Selection, namespace: str) -> tuple[ChangeKind, ObjectImage] | None:
    """What a change is to a watch with a selector: for all it knows, what is selected no longer was deleted."""
    image = change.image
    if (namespace and image.namespace != namespace) or not selection.has_place(image):
        return None
    was = change.kind is not ChangeKind.ADDED and selection.has_labels(change.former_labels)
    now = change.kind is not ChangeKind.DELETED and selection.has_labels(image.labels)
    if was and now:
        return ChangeKind.MODIFIED, image
    if now:
        return ChangeKind.ADDED, image
    if not was:
        return None
    # The labels that it was selected by, as apiserver's cacher has it.
    return ChangeKind.DELETED, replace(image, labels=change.former_labels)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
