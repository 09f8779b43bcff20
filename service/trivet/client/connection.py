"""Requests over HTTP: retries, and answers that are refusals."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from trivet.client.endpoint import credentials, trust, why_unreachable
from trivet.client.errors import ProblemError, ProblemFault, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trivet.client.endpoint import Endpoint

_TYPE_PREFIX: Final = "urn:trivet:problem:"
_TRY_LATER: Final = frozenset({httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE})
_FIRST_WAIT, _LONGEST_TEXT = 0.5, 300


class Connection:
    """Sends requests to one endpoint. A context manager; safe to share between threads."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare; nothing is sent yet.

        Raises:
            LocalError: a file cannot be read, or a token would travel in clear.
        """
        self._endpoint = endpoint
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=endpoint.url.rstrip("/") + "/api/v1/",
            headers=credentials(endpoint),
            timeout=endpoint.timeout,
            transport=transport,
            verify=trust(endpoint) if endpoint.url.startswith("https:") else True,
            trust_env=False,  # a proxy from the environment would get the token
        )

    def __enter__(self) -> Self:
        """Use it in a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._http.close()

    def call(self, method: str, path: str, **sent: Any) -> Any:  # noqa: ANN401  any JSON value
        """Send as `send` does, and give the JSON value of the answer.

        Raises:
            UnreachableError: what answers is not Trivet.
        """
        answer = self.send(method, path, **sent)
        try:
            return answer.json()
        except ValueError as error:
            message = f"{self._endpoint.url} does not answer as Trivet does; is the url right?"
            raise UnreachableError(message) from error

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | None] | None = None,
        json: object = None,
        body: tuple[str, bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request, again where the service asks for that, and give its answer.

        Args:
            method: GET, POST, PUT or DELETE.
            path: below `/api/v1/`.
            query: parameters; those that are None are left out.
            json: a value to send as JSON.
            body: a media type and bytes to send instead.
            headers: to add.

        Raises:
            ProblemError: the service refused.
            UnreachableError: there was no answer.
        """
        sent: dict[str, Any] = {
            "params": {key: value for key, value in (query or {}).items() if value is not None}
        }
        extra = dict(headers or {})
        if method == "POST":
            # One key for all tries: what was done already is not done again.
            extra.setdefault("Idempotency-Key", str(uuid.uuid4()))
        if json is not None:
            sent["json"] = json
        if body is not None:
            extra["Content-Type"], sent["content"] = body
        return self._tried(self._http.build_request(method, path, headers=extra, **sent))

    def stream(self, path: str, *, query: Mapping[str, str | int | None]) -> Iterator[bytes]:
        """Get an answer piece by piece, however long it is.

        Raises:
            ProblemError: the service refused.
            UnreachableError: there was no answer, or it broke off.
        """
        given = {key: value for key, value in query.items() if value is not None}
        try:
            with self._http.stream("GET", path, params=given) as response:
                if not response.is_success:
                    response.read()
                    raise problem_of(response)
                yield from response.iter_bytes()
        except httpx.TimeoutException as error:
            message = f"{self._endpoint.url} did not answer within {self._endpoint.timeout:g} s"
            raise UnreachableError(message) from error
        except httpx.TransportError as error:
            raise UnreachableError(why_unreachable(self._endpoint, error)) from error

    def _tried(self, request: httpx.Request) -> httpx.Response:
        waited, attempt = 0.0, 0
        while True:
            response = self._once(request)
            if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
                return response
            problem = problem_of(response)
            wait = problem.retry_after if problem.retry_after is not None else _FIRST_WAIT * 2**attempt
            if response.status_code not in _TRY_LATER or waited + wait > self._endpoint.patience:
                raise problem
            self._sleep(wait)
            waited, attempt = waited + wait, attempt + 1

    def _once(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._http.send(request)
        except httpx.TimeoutException as error:
            message = f"{self._endpoint.url} did not answer within {self._endpoint.timeout:g} s"
            raise UnreachableError(message) from error
        except httpx.TransportError as error:
            raise UnreachableError(why_unreachable(self._endpoint, error)) from error


def problem_of(response: httpx.Response) -> ProblemError:
    """Read a refusal; what is not `application/problem+json` comes from something in between."""
    document: dict[str, Any] = {}
    if response.headers.get("Content-Type", "").startswith("application/problem+json"):
        document = response.json()
    return ProblemError(
        slug=str(document.get("type", "")).removeprefix(_TYPE_PREFIX),
        title=document.get("title", response.reason_phrase),
        status=response.status_code,
        detail=document.get("detail") or f"{response.reason_phrase}: {response.text[:_LONGEST_TEXT]}",
        faults=tuple(ProblemFault(fault["pointer"], fault["detail"]) for fault in document.get("errors", ())),
        decision=document.get("decision"),
        request_id=document.get("requestId") or response.headers.get("X-Request-Id"),
        retry_after=_retry_after(response),
    )


def _retry_after(response: httpx.Response) -> float | None:
    # The other form, a date (RFC 9110 section 10.2.3), Trivet does not send.
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None
