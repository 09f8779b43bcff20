"""Traces of issuing, renewing and revoking, for whoever wants them; where nobody does, each costs a comparison.

What happened is told once it is over, with the times of its phases, to one function; `bootstrap/tracing.py` has
one that speaks OpenTelemetry. Attributes are names and results: never a token, a key, a request or a certificate.
All times are nanoseconds since 1970, as OpenTelemetry has them.
"""

from __future__ import annotations

import logging
import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, Protocol, TypeVar

from trivet.pki.errors import Refusal, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")
_SHOWN: Final = 80  # characters of what a client may have made up

parent: Final[ContextVar[str | None]] = ContextVar("traceparent", default=None)
"""What the request said of the trace that it belongs to (W3C Trace Context), if it did."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of what was done."""

    name: str
    began: int
    ended: int


@dataclass(slots=True)
class Trace:
    """What was done for one request.

    Attributes:
        name: issue, renew, revoke, …
        parent: the trace that it belongs to, as the request said.
        fault: what was wrong with the service, if anything was; a refusal is none.
    """

    name: str
    parent: str | None
    began: int
    attributes: dict[str, str]
    ended: int = 0
    phases: Sequence[Phase] = ()
    fault: str | None = None

    def went_through(self, phases: Sequence[Phase]) -> None:
        """Add the phases of its batch; until the first it waited."""
        if phases:
            self.phases = (Phase("wait", self.began, max(self.began, phases[0].began)), *phases)

    def finish(self, error: BaseException | None, now: int) -> None:
        """Note how it ended."""
        self.ended = now
        if isinstance(error, Refusal):
            self.attributes["trivet.result"] = error.slug
            if error.decision is not None:
                self.attributes["trivet.decision"] = error.decision
        else:
            self.attributes["trivet.result"] = "done" if error is None else "defect"
        if error is not None and (isinstance(error, UnavailableError) or not isinstance(error, Refusal)):
            self.fault = type(error).__name__


@dataclass(slots=True)
class _Switch:
    """Who is told of traces; nobody at first."""

    tell: Callable[[Trace], None] | None = None
    clock: Callable[[], int] = field(default=lambda: 0)


class _Batch(threading.local):
    """The phases of the batch that this thread decided last."""

    phases: tuple[Phase, ...] = ()


_switch: Final = _Switch()
_batch: Final = _Batch()


def switch_on(tell: Callable[[Trace], None], clock: Callable[[], int]) -> None:
    """Tell a function of every trace from now on.

    Args:
        tell: must not block; what it raises is logged.
        clock: nanoseconds since 1970.
    """
    _switch.tell, _switch.clock = tell, clock


def switch_off() -> None:
    """Tell nobody any more."""
    _switch.tell = None


def is_on() -> bool:
    """Whether anybody is told."""
    return _switch.tell is not None


class _Traced(Protocol):
    def __enter__(self) -> Trace | None: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None, /
    ) -> None: ...


class _Untraced:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


_UNTRACED: Final = _Untraced()


class _Running:
    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def __enter__(self) -> Trace:
        return self._trace

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._trace.finish(error, _switch.clock())
        tell = _switch.tell
        try:
            if tell is not None:
                tell(self._trace)
        except Exception:  # noqa: BLE001  what was done is done, whoever is told of it
            _log.exception("a trace could not be told")


def traced(name: str, cluster: str | None, request_id: str | None, profile: str | None = None) -> _Traced:
    """Trace a block; it is given the trace, or None where nobody wants one."""
    if _switch.tell is None:
        return _UNTRACED
    attributes = {
        "trivet.cluster": cluster,
        "trivet.profile": profile,
        "trivet.request_id": request_id,
    }
    known = {key: value[:_SHOWN] for key, value in attributes.items() if value is not None}
    return _Running(Trace(name, parent.get(), _switch.clock(), known))


def traces(
    name: str,
) -> Callable[
    [Callable[Concatenate[Authority, Requester, str | None, _P], _T]],
    Callable[Concatenate[Authority, Requester, str | None, _P], _T],
]:
    """Trace a use case that is given a context, a requester and a cluster."""

    def of(
        use_case: Callable[Concatenate[Authority, Requester, str | None, _P], _T],
    ) -> Callable[Concatenate[Authority, Requester, str | None, _P], _T]:
        @wraps(use_case)
        def run(
            authority: Authority,
            requester: Requester,
            cluster: str | None,
            /,
            *args: _P.args,
            **kwargs: _P.kwargs,
        ) -> _T:
            with traced(name, cluster, requester.request_id):
                return use_case(authority, requester, cluster, *args, **kwargs)

        return run

    return of


def batch_ended(*phases: tuple[str, float]) -> None:
    """Note how many seconds the phases of a batch took, one after the other, until now."""
    if _switch.tell is None:
        return
    ends = _switch.clock()
    found: list[Phase] = []
    for name, seconds in reversed(phases):
        began = ends - int(seconds * 1e9)
        found.append(Phase(name, began, ends))
        ends = began
    _batch.phases = tuple(reversed(found))


def take_phases() -> tuple[Phase, ...]:
    """The phases of the batch that this thread decided last, once."""
    found = _batch.phases
    if found:
        _batch.phases = ()
    return found
