from __future__ import annotations

import os
import signal
import socket
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from trivet.agent.hooks import MAX_OUTPUT, run_hook
from trivet.agent.loop.aftermath import PATIENCE, Aftermath, Sight, Step
from trivet.agent.notify import Supervisor
from trivet.agent.plan.model import Hook, Probe
from trivet.agent.probe import look
from trivet.agent.signals import Signals

BOTH = Aftermath(has_hook=True, has_probe=True)


def watch(aftermath: Aftermath, sights: list[Sight]) -> list[tuple[Step, float]]:
    """What is done, and when, if a probe sees these one after the other; the hook always works."""
    done: list[tuple[Step, float]] = []
    left = iter(sights)
    for _ in range(100):
        if aftermath.step is Step.NONE:
            break
        done.append((aftermath.step, aftermath.at))
        if aftermath.step is Step.HOOK:
            aftermath = aftermath.hooked(aftermath.at, succeeded=True)
            continue
        sight = next(left, None)
        if sight is None:
            break
        aftermath = aftermath.looked(sight, aftermath.at)
    return done


def test_after_a_change_comes_the_hook_and_then_the_probe_until_the_new_one_is_served() -> None:
    done = watch(BOTH.changed(10.0), [Sight.OTHER, Sight.NOTHING, Sight.NEW])
    assert [step for step, _ in done] == [Step.HOOK, *[Step.PROBE] * 4]
    assert done[-1][1] - done[-2][1] == 300  # and from then on a look now and then


def test_a_component_that_keeps_the_old_one_for_long_gets_its_hook_once_more_and_no_more() -> None:
    done = watch(BOTH.changed(0.0), [Sight.OTHER] * 40)
    hooks = [at for step, at in done if step is Step.HOOK]
    assert len(hooks) == 2
    assert PATIENCE <= hooks[1] <= PATIENCE + 10


def test_a_component_that_is_away_is_not_started_again_and_again() -> None:
    done = watch(BOTH.changed(0.0), [Sight.NOTHING] * 40)
    assert [step for step, _ in done].count(Step.HOOK) == 1


def test_the_next_certificate_waits_until_this_one_is_served_or_the_patience_is_over() -> None:
    changed = BOTH.changed(0.0)
    assert not changed.is_settled
    probing = changed.hooked(1.0, succeeded=True)
    assert not probing.is_settled
    assert probing.looked(Sight.NEW, 2.0).is_settled
    assert not probing.looked(Sight.NOTHING, 2.0).is_settled
    assert probing.looked(Sight.NOTHING, 1.0 + PATIENCE).is_settled


def test_a_hook_that_fails_runs_once_more_where_nothing_else_shows_whether_it_worked() -> None:
    changed = Aftermath(has_hook=True).changed(0.0)
    failed = changed.hooked(1.0, succeeded=False)
    assert (failed.step, failed.is_settled) == (Step.HOOK, False)
    assert failed.hooked(20.0, succeeded=False).is_settled
    assert changed.hooked(1.0, succeeded=True).is_settled


def test_at_the_start_a_probe_looks_first_and_one_run_of_the_hook_is_left() -> None:
    done = watch(BOTH.found(0.0), [Sight.OTHER] * 40)
    assert done[0] == (Step.PROBE, 0.0)
    assert [step for step, _ in done].count(Step.HOOK) == 1
    assert Aftermath(has_hook=True).found(0.0).step is Step.NONE


# --- hooks ---


def hook(*command: str, seconds: float = 10) -> Hook:
    return Hook(command, timedelta(seconds=seconds))


def test_a_hook_runs_without_a_shell_and_its_output_is_kept() -> None:
    result = run_hook(hook("echo", "$HOME; ls"))
    assert (result.succeeded, result.output) == (True, "$HOME; ls")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("false",), "it ended with 1"),
        (("/nowhere/at/all",), "/nowhere/at/all: No such file or directory"),
        (("sh", "-c", "kill -9 $$"), "it was ended by SIGKILL"),
    ],
)
def test_a_hook_that_fails_says_how(command: tuple[str, ...], words: str) -> None:
    result = run_hook(hook(*command))
    assert (result.succeeded, result.reason) == (False, words)


def test_a_hook_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trivet.agent.hooks._KILL_AFTER", 0.3)
    script = f"trap '' TERM; sleep 60 & echo $! > {tmp_path}/pid; wait"
    result = run_hook(hook("sh", "-c", script, seconds=0.3))
    assert not result.succeeded
    assert "did not end within 0.3 s" in result.reason
    pid = int((tmp_path / "pid").read_text())
    # A child whose parent is gone may stay in the table of processes, but it has ended.
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_the_output_of_a_hook_is_bounded_and_cannot_move_a_cursor() -> None:
    result = run_hook(hook("sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x; printf '\\033[2Jend'"))
    assert len(result.output) <= MAX_OUTPUT
    assert result.output.endswith("end")
    assert "\x1b" not in result.output


def test_a_hook_gets_neither_input_nor_trivets_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIVET_TOKEN", "secret")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    result = run_hook(hook("sh", "-c", "env; cat"))
    assert result.succeeded
    assert "PATH=" in result.output
    assert "TRIVET" not in result.output
    assert "NOTIFY" not in result.output


# --- probes ---


def test_an_endpoint_that_is_away_or_no_tls_is_seen_as_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        seen = look(Probe("127.0.0.1", port, None, "a"), "77fd", None, 2.0)
        thread.join()
        assert seen.sight is Sight.NOTHING
    seen = look(Probe("127.0.0.1", port, None, "a"), "77fd", None, 2.0)
    assert (seen.sight, f"127.0.0.1:{port}: " in seen.reason) == (Sight.NOTHING, True)


def test_an_endpoint_that_says_nothing_does_not_hold_the_agent_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        probe = Probe("127.0.0.1", listener.getsockname()[1], None, "a")
        assert look(probe, "77fd", None, 0.2).sight is Sight.NOTHING


# --- the system ---


def test_systemd_is_told_when_it_wants_to_be(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
        supervisor = Supervisor.of(environment)
        supervisor.tell("READY=1", "STATUS=well")
        assert listener.recv(100) == b"READY=1\nSTATUS=well"
    assert supervisor.watchdog == 30
    supervisor.tell("WATCHDOG=1")  # nobody listens any more, and nothing happens
    assert Supervisor.of({}) == Supervisor(None, None)
    assert Supervisor.of(environment | {"WATCHDOG_PID": "1"}).watchdog is None


def test_an_abstract_socket_is_found_as_well() -> None:
    name = f"trivet-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        Supervisor(f"@{name}").tell("READY=1")
        assert listener.recv(100) == b"READY=1"


def test_a_signal_ends_a_sleep() -> None:
    signals = Signals()
    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        signals.listen()
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGHUP)).start()
        signals.sleep(30)
        assert (signals.take_reload(), signals.take_reload(), signals.is_stopping) == (True, False, False)
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        signals.sleep(30)
        assert signals.is_stopping
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
