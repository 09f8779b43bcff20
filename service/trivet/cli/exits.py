"""Exit codes, and what is said on stderr with each."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from trivet.bootstrap.errors import StartError
from trivet.cli.output import printable
from trivet.client.errors import LocalError, ProblemError, UnreachableError
from trivet.settings.errors import SettingsError


class ExitCode(IntEnum):
    """What a command ends with; a script may rely on it."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    NOT_ALLOWED = 3
    NOT_FOUND = 4
    CONFLICT = 5
    UNAVAILABLE = 6
    LOCAL = 7
    FAULT = 70


EXIT_CODES: Final = """\
Exit codes: 0 done; 1 refused by the service, or something found or left undone; 2 wrong usage; 3 not authenticated
or not allowed; 4 not found; 5 conflict; 6 the service or its database is unavailable; 7 a local problem
(files, settings); 70 a fault in Trivet itself; 130 interrupted.
"""

_BY_STATUS: Final = {
    401: ExitCode.NOT_ALLOWED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
    429: ExitCode.UNAVAILABLE,
    502: ExitCode.UNAVAILABLE,
    503: ExitCode.UNAVAILABLE,
    504: ExitCode.UNAVAILABLE,
}
# Of the 403s only this one is about the requester; the others say no to what was asked.
_BY_SLUG: Final = {"unauthorized": ExitCode.NOT_ALLOWED, "idempotencyKeyReused": ExitCode.CONFLICT}


class CommandError(Exception):
    """A command cannot go on; the message says why, and the way out."""

    def __init__(self, message: str, code: ExitCode = ExitCode.LOCAL) -> None:
        """Take the message and the exit code."""
        super().__init__(message)
        self.code = code


EXPECTED: Final = (CommandError, StartError, SettingsError, LocalError, ProblemError, UnreachableError)


def code_of(error: Exception) -> ExitCode:
    """The exit code for one of the `EXPECTED`."""
    match error:
        case CommandError():
            return error.code
        case ProblemError():
            return _BY_SLUG.get(error.slug) or _BY_STATUS.get(error.status, ExitCode.REFUSED)
        case UnreachableError() | StartError(is_unreachable=True):
            return ExitCode.UNAVAILABLE
        case _:
            return ExitCode.LOCAL


def words_of(error: Exception) -> str:
    """What to tell people about one of the `EXPECTED`."""
    if isinstance(error, CommandError):
        # Its line breaks are its own: a list of a plan's faults, say.
        return "trivet: " + "\n".join(map(printable, str(error).splitlines()))
    if not isinstance(error, ProblemError):
        return f"trivet: {printable(str(error))}"
    lines = [f"trivet: {error.title or 'Refused'} ({error.slug or error.status}): {error.detail}"]
    lines += [f"  {fault.pointer or '/'}: {fault.detail}" for fault in error.faults]
    return "\n".join(printable(line) for line in [*lines, *_ways_out(error)])


def _ways_out(error: ProblemError) -> list[str]:
    lines = []
    if error.decision is not None:
        lines.append(f"  why: trivet certificates explain --decision {error.decision}")
    match error.slug:
        case "unauthenticated":
            lines.append(
                "  name a token: --token-file, TRIVET_TOKEN, or token_file in [client] of the settings"
            )
        case "confirmationRequired":
            lines.append(
                "  read `trivet revocations preview`, then repeat with --confirm and the token it shows"
            )
        case "internal":
            lines.append(f"  the service's log says more, under the request id {error.request_id}")
    if error.retry_after is not None:
        lines.append(f"  try again in {error.retry_after:g} s")
    return lines
