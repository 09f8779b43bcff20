"""One request on its way: what it is about, who asks, and in which cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trivet.authority.access import require_permission
from trivet.pki.errors import AuthenticationError
from trivet.web.kubernetes.status import method_not_allowed

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from starlette.requests import Request

    from trivet.web.authentication import Caller
    from trivet.web.kubernetes.identity import User
    from trivet.web.kubernetes.objects import Objects
    from trivet.web.kubernetes.resources import Resource
    from trivet.web.kubernetes.tail import Tail
    from trivet.web.kubernetes.target import Target


@dataclass(frozen=True, slots=True)
class Call:
    """A request on its way to a use case.

    Attributes:
        since: how long the cluster has been there.
        made_of: the objects of the resource; None for what has none that are kept.
    """

    request: Request
    target: Target
    user: User
    cluster: str
    tail: Tail
    since: datetime | None = None
    made_of: Objects | None = None

    @property
    def caller(self) -> Caller:
        """Who asks.

        Raises:
            AuthenticationError: nobody in particular.
        """
        if self.user.caller is None:
            raise AuthenticationError("nobody asks")
        return self.user.caller

    @property
    def resource(self) -> Resource:
        """The resource that it is about.

        Raises:
            StatusError: there is none.
        """
        if self.target.resource is None:
            raise method_not_allowed()
        return self.target.resource

    @property
    def objects(self) -> Objects:
        """The objects of the resource that it is about.

        Raises:
            StatusError: there are none.
        """
        if self.made_of is None:
            raise method_not_allowed()
        return self.made_of

    def now(self) -> datetime:
        """The time."""
        return self.caller.authority.clock()

    def named(self, name: str) -> Call:
        """The same, about an object whose name is known now."""
        return replace(self, target=self.target.named(name))

    async def run(self, use_case: Callable[..., Any], *args: object, **named: object) -> Any:  # noqa: ANN401
        """Run a use case whose first parameters are who asks and where."""
        caller = self.caller
        return await caller.ask(use_case, self.cluster, *args, **named)

    def require(self, *, dry_run: bool = False) -> None:
        """Refuse whose role lacks the permission of this verb, before anything else of the request is read.

        Raises:
            StatusError: the resource does not have this verb.
            AccessDeniedError: the role lacks the permission.
        """
        resource, verb = self.resource, self.target.verb
        verbs = resource.verbs_of(self.target.subresource) or {}
        if verb not in verbs:
            raise method_not_allowed()
        needed = (resource.in_dry_run if dry_run else None) or verbs[verb]
        if needed is not None:
            require_permission(self.caller.requester, needed)
