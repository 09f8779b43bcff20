"""Routes without FastAPI, for what is in no OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Match, Route

if TYPE_CHECKING:
    from starlette.types import Scope


class PlainRoute(Route):
    """A route of Starlette's that tells the metrics which one it is, as FastAPI's do.

    FastAPI would keep the endpoint for good, with all that it stands on, as it does with whatever it looked at.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette's, with the route in the scope."""
        match, child = super().matches(scope)
        return match, {**child, "route": self} if match is not Match.NONE else child
