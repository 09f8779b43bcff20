"""What the verbs of the API ask of a resource: one Protocol, which `revocations` and `signing_requests` fulfil.

Whatever lists, watches, patches or deletes knows no resource; and what it is about does not know how that is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trivet.authority.follow import Listing, View
    from trivet.pki.ownership import Share
    from trivet.store.changes import ObjectImage
    from trivet.web.kubernetes.call import Call
    from trivet.web.kubernetes.listing import Selection
    from trivet.web.kubernetes.schema import Schema


@dataclass(frozen=True, slots=True)
class Changed:
    """An object after a change, and what to beware of."""

    image: ObjectImage
    warnings: Sequence[str] = ()


class Objects(Protocol):
    """The objects of one resource."""

    @property
    def SCHEMA(self) -> Schema:  # noqa: N802  a constant of the module
        """What an object may say."""

    @property
    def FIELDS(self) -> Sequence[str]:  # noqa: N802
        """What field selectors may ask for."""

    @property
    def COLUMNS(self) -> Sequence[Mapping[str, Any]]:  # noqa: N802
        """Of its Table."""

    def cells(self, image: ObjectImage, age: str) -> list[Any]:
        """The row of an object."""

    def contents(self, call: Call, document: Mapping[str, Any]) -> dict[str, Any]:
        """What of a document has managers."""

    def kept(self, document: dict[str, Any], former: ObjectImage) -> dict[str, Any]:
        """What an update takes of a document: what cannot be changed stays as it was."""

    async def view(self, call: Call) -> View:
        """What of the resource whoever asks may see."""

    async def get(self, call: Call) -> ObjectImage:
        """One object."""

    async def page(
        self, call: Call, selection: Selection, after: tuple[str, str] | None, limit: int
    ) -> Listing:
        """Some objects, among them all that are selected."""

    async def check_new(self, call: Call) -> None:
        """Refuse what is to be made where there can be none."""

    async def create(
        self, call: Call, document: Mapping[str, Any], managed: Sequence[Share], *, dry_run: bool
    ) -> Changed:
        """A new object."""

    async def replace(
        self,
        call: Call,
        document: Mapping[str, Any],
        former: ObjectImage,
        managed: Sequence[Share],
        *,
        dry_run: bool,
    ) -> Changed:
        """An object (or the part of it that the subresource is) with another content, if nobody was faster."""

    async def delete(self, call: Call, version: int | None, *, dry_run: bool) -> ObjectImage:
        """Delete an object; give what it was."""
