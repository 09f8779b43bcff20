"""Running what a plan says is to be run after a change: bounded in time and in what it may say."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from trivet.agent.plan.model import Hook

MAX_OUTPUT: Final = 2000
"""Octets of a hook's output that are logged: the last ones, which say why it failed."""

_SECRETS: Final = ("TRIVET_", "NOTIFY_SOCKET", "WATCHDOG_")
_KILL_AFTER: Final = 5.0


@dataclass(frozen=True, slots=True)
class HookResult:
    """What became of a hook.

    Attributes:
        succeeded: whether it ended with 0, in time.
        reason: why not, in words; "" otherwise.
        output: the end of what it printed, control characters replaced.
    """

    succeeded: bool
    reason: str = ""
    output: str = ""


def run_hook(hook: Hook) -> HookResult:
    """Run a hook, with no shell, no input, and none of Trivet's own settings in its environment."""
    seconds = hook.timeout.total_seconds()
    with tempfile.TemporaryFile() as output:
        try:
            # A group of its own, so that what it started ends with it.
            running = subprocess.Popen(  # noqa: S603  the administrator's plan says what runs
                hook.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            return HookResult(succeeded=False, reason=f"{hook.command[0]}: {error.strerror or error}")
        try:
            code = running.wait(seconds)
            reason = "" if code == 0 else _ended_with(code)
        except subprocess.TimeoutExpired:
            _end(running)
            reason = f"it did not end within {seconds:g} s, and was ended"
        return HookResult(not reason, reason, _tail(output.fileno()))


def _ended_with(code: int) -> str:
    return f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with {code}"


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}


def _end(running: subprocess.Popen[bytes]) -> None:
    """End a hook and all that it started: those that it left behind, too."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(running.pid, number)
        with suppress(subprocess.TimeoutExpired):
            running.wait(_KILL_AFTER)


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    text = os.pread(descriptor, MAX_OUTPUT, max(0, size - MAX_OUTPUT)).decode("utf-8", "replace").strip()
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
