"""Lists: in parts (limit and continue), by selectors."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from trivet.authority.follow import MOST_COUNTED, changes_after
from trivet.web.kubernetes.answers import list_answer
from trivet.web.kubernetes.options import number_of
from trivet.web.kubernetes.selectors import (
    Equals,
    Exists,
    Requirement,
    field_selector,
    label_selector,
    selects,
)
from trivet.web.kubernetes.status import Cause, StatusError, bad_request, expired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from trivet.store.changes import ObjectImage
    from trivet.web.kubernetes.call import Call

_PAGE: Final = 500
_LONGEST_TOKEN: Final = 2048
_TOO_OLD: Final = (
    "The provided continue parameter is too old to display a consistent list result. You must start a new list"
    " without the continue parameter."
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a collection are asked for."""

    labels: Sequence[Requirement]
    fields: Sequence[Equals]

    def has(self, image: ObjectImage) -> bool:
        """Whether it selects an object."""
        return self.has_labels(image.labels) and self.has_place(image)

    def has_labels(self, labels: Any) -> bool:  # noqa: ANN401  a mapping, as stored
        """Whether it selects by labels."""
        return selects(self.labels, labels)

    def has_place(self, image: ObjectImage) -> bool:
        """Whether it selects by name, namespace and spec, which do not change where they can be selected by."""
        return not self.fields or selects(self.fields, _fields_of(image))

    def exactly(self, field: str) -> str | None:
        """The one value of a field that it selects; None where there may be others."""
        return next((each.value for each in self.fields if each.key == field and not each.differs), None)

    def labelled(self) -> tuple[tuple[str, str | None], ...]:
        """What is required of labels in so simple a way that a database can look it up; all else is looked at after."""
        return tuple(
            (each.key, each.value if isinstance(each, Equals) else None)
            for each in self.labels
            if (isinstance(each, Equals) and not each.differs) or (isinstance(each, Exists) and each.wanted)
        )

    def narrowed(self, field: str, value: str) -> Selection:
        """The same, of what has that value in a field."""
        return replace(self, fields=[*self.fields, Equals(field, value)])

    @property
    def is_whole(self) -> bool:
        """Whether it selects everything."""
        return not self.labels and not self.fields


def _fields_of(image: ObjectImage) -> dict[str, str]:
    fields = {"metadata.name": image.name, "metadata.namespace": image.namespace}
    spec = image.body.get("spec", {})
    return fields | {f"spec.{key}": value for key, value in spec.items() if isinstance(value, str)}


@dataclass(frozen=True, slots=True)
class Found:
    """A part of a list: its version, its objects, after which place the next part begins, and how many follow."""

    version: int
    images: Sequence[ObjectImage]
    after: tuple[str, str] | None = None
    remaining: int = 0


def selection_of(call: Call) -> Selection:
    """The selectors of a request.

    Raises:
        StatusError: they cannot be read.
    """
    query = call.request.query_params
    labels = label_selector(query.get("labelSelector") or "")
    return Selection(labels, field_selector(query.get("fieldSelector") or "", call.objects.FIELDS))


async def list_objects(call: Call) -> Response:
    """GET of a collection."""
    call.require()
    selection = selection_of(call)
    found = await find_asked(call, selection)
    _check_version(call, found.version)
    metadata: dict[str, Any] = {"resourceVersion": str(found.version)}
    if found.after is not None:
        metadata["continue"] = _token(found.version, found.after)
        if selection.is_whole and found.remaining <= MOST_COUNTED:
            metadata["remainingItemCount"] = found.remaining
    return list_answer(call, found.images, metadata)


async def find_asked(call: Call, selection: Selection) -> Found:
    """The part of a list that a request asks for by `limit` and `continue`.

    Raises:
        StatusError: one of them cannot be read (400), or the place to go on from is too old (410).
    """
    limit = number_of(call.request, "limit")
    version, after = await _continued(call)
    return await find(call, selection, limit or None, version, after)


async def find(
    call: Call,
    selection: Selection,
    limit: int | None,
    version: int | None,
    after: tuple[str, str] | None,
) -> Found:
    """Objects that are selected, the first ones after a place; all parts of a list have the version of the first."""
    images: list[ObjectImage] = []
    while True:
        size = min(limit, _PAGE) if limit and not selection.labels else _PAGE
        listing = await call.objects.page(call, selection, after, size)
        version = listing.version if version is None else version
        for index, image in enumerate(listing.items):
            after = (image.namespace, image.name)
            if selection.has(image):
                images.append(image)
            left = len(listing.items) - index - 1 + listing.remaining
            if limit and len(images) == limit and left:
                return Found(version, images, after, left)
        if not listing.remaining:
            return Found(version, images)


async def _continued(call: Call) -> tuple[int | None, tuple[str, str] | None]:
    """Version and place of a continue token.

    Raises:
        StatusError: it is none (400), or too old (410).
    """
    token = call.request.query_params.get("continue")
    if not token:
        return None, None
    version, after = read_token(token)
    view = await call.objects.view(call)
    news = await call.caller.offload(changes_after, call.caller.authority, view.place, version)
    if news.lost:
        raise expired(_TOO_OLD)
    return version, after


def _token(version: int, after: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps([version, *after]).encode()).rstrip(b"=").decode()


def read_token(token: str) -> tuple[int, tuple[str, str]]:
    """Version and place of a continue token.

    Raises:
        StatusError: it is none.
    """
    try:
        padded = token[:_LONGEST_TOKEN].encode("ascii") + b"=" * (-min(len(token), _LONGEST_TOKEN) % 4)
        version, namespace, name = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise bad_request("continue key is not valid: it was not given out by this list") from error
    is_place = isinstance(namespace, str) and isinstance(name, str) and (namespace + name).isprintable()
    if not isinstance(version, int) or not 0 <= version < 1 << 62 or not is_place:
        raise bad_request("continue key is not valid: it was not given out by this list")
    return version, (namespace, name)


def _check_version(call: Call, present: int) -> None:
    """Refuse who knows more than there is (apiserver's storage.NewTooLargeResourceVersionError)."""
    asked = number_of(call.request, "resourceVersion")
    if asked is not None and asked > present:
        message = f"Too large resource version: {asked}, current: {present}"
        causes = (Cause("ResourceVersionTooLarge", "Too large resource version"),)
        raise StatusError(504, "Timeout", f"Timeout: {message}", causes=causes, retry_after=1)
