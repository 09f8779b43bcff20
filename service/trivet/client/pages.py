"""Lists that come in pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trivet.client.connection import Connection
    from trivet.client.schemas import Page, T

_PAGE = 200


def each(
    connection: Connection,
    path: str,
    query: Mapping[str, str | int | None] | None = None,
    limit: int | None = None,
) -> Iterator[T]:
    """Give the items of a list one by one, asking for the next page when it is needed.

    Args:
        connection: to the service.
        path: of the list.
        query: filters.
        limit: how many items at most; all where it is None.
    """
    cursor: str | None = None
    while limit is None or limit > 0:
        size = _PAGE if limit is None else min(_PAGE, limit)
        answer = connection.call("GET", path, query={**(query or {}), "limit": size, "cursor": cursor})
        page = cast("Page[T]", answer)
        items = page["items"][:limit]
        yield from items
        cursor = page.get("next")
        limit = None if limit is None else limit - len(items)
        if not cursor:
            return
