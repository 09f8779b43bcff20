"""Lists that come in pages: each begins after the last item of the page before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

from fastapi import Depends, Request, Response

from trivet.web.rest.negotiation import decode_cursor, decode_id_cursor, encode_cursor, link_next
from trivet.web.rest.operation import Cursor, Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Paging:
    """The page that is wanted of a list."""

    request: Request
    response: Response
    limit: int
    cursor: str | None

    @property
    def look_for(self) -> int:
        """How many items to look for: one more than wanted tells whether there is a next page."""
        return self.limit + 1

    def after_id(self) -> UUID | None:
        """The id of the last item of the page before, in lists by ids.

        Raises:
            InvalidError: the cursor was not given out here.
        """
        return decode_id_cursor(self.cursor)

    def after(self) -> str | None:
        """The name of the last item of the page before, in lists by names.

        Raises:
            InvalidError: the cursor was not given out here.
        """
        parts = decode_cursor(self.cursor, 1)
        return parts[0] if parts else None

    def page(self, found: Sequence[_T], place: Callable[[_T], object]) -> tuple[Sequence[_T], str | None]:
        """The items of this page, and the cursor of the next one, to which the answer's Link points as well.

        Args:
            found: up to `look_for` items.
            place: the id or name of an item, by which the list is ordered.
        """
        following = encode_cursor(str(place(found[self.limit - 1]))) if len(found) > self.limit else None
        link_next(self.request, self.response, following)
        return found[: self.limit], following


def _paging(request: Request, response: Response, limit: Limit = 100, cursor: Cursor = None) -> Paging:
    return Paging(request, response, limit, cursor)


Paged = Annotated[Paging, Depends(_paging)]
"""The parameter of a route that lists."""
