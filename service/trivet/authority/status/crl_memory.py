"""Large CRLs that this process published, so that the next one need not be read from the database first."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from uuid import UUID

    from trivet.store.crls import Crl, CrlContent

_LEAST: Final = 64 * 1024  # smaller ones are read as quickly as they are found here
_MOST: Final = 128 * 1024 * 1024


class CrlMemory:
    """The newest CRLs, up to so many octets in all. Not for several threads."""

    def __init__(self, most: int = _MOST) -> None:
        """Keep nothing yet, and never more octets than `most`."""
        self._most = most
        self._kept: OrderedDict[UUID, tuple[Crl, CrlContent]] = OrderedDict()
        self.size = 0

    def take(self, crl: Crl) -> CrlContent | None:
        """The octets of a CRL, if they are kept; they are kept no longer, as a newer one will take their place."""
        kept, content = self._kept.pop(crl.list_id, (None, None))
        if content is not None:
            self.size -= len(content.der)
        return content if kept == crl else None

    def keep(self, crl: Crl, content: CrlContent) -> None:
        """Keep a CRL, and forget those that were kept longest where there are too many."""
        self.take(crl)
        if not _LEAST <= len(content.der) <= self._most:
            return
        self._kept[crl.list_id] = (crl, content)
        self.size += len(content.der)
        while self.size > self._most:
            _, (_, oldest) = self._kept.popitem(last=False)
            self.size -= len(oldest.der)
