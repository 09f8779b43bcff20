from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import httpx
import pytest
from tests.support.node_pairs import pair
from tests.unit.agent.clockwork import START, Clockwork

from trivet.agent.exposition import Tallies, exposition
from trivet.agent.journal import Journal
from trivet.agent.loop import Answer, AnswerKind
from trivet.agent.memory_files import in_memory
from trivet.agent.publishing import MetricsPort, write_metrics

ABOUT = {"mode": "worker", "cluster": 'de"mo\\', "node": "node\n1", "version": "0"}


def journal() -> tuple[Journal, StringIO]:
    out = StringIO()
    return Journal(
        "certificate-renewal-worker", out, lambda: datetime(2026, 11, 24, 6, 40, 1, 250_000, UTC)
    ), out


def test_a_line_is_json_with_time_level_logger_event_and_message() -> None:
    log, out = journal()
    log.write("warning", "expired", "a\nb\x1b[2J\x7f\u2028", certificate="apiserver", serial=None)
    (line,) = out.getvalue().splitlines()
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {
        "time": "2026-11-24T06:40:01.250Z",
        "level": "warning",
        "logger": "certificate-renewal-worker",
        "event": "expired",
        "message": "a\nb\x1b[2J\x7f\u2028",
        "certificate": "apiserver",
    }


SECRETS = [
    pair(1).key_pem.decode(),
    pair(1).key_pem.decode()[:80],
    "trivet_" + "A" * 43,
    "trivet-repair_" + "b" * 43,
    "abcdef.0123456789abcdef",
]


@pytest.mark.parametrize(
    "secret", SECRETS, ids=["key", "torn key", "token", "one-time token", "bootstrap token"]
)
def test_neither_a_key_nor_a_token_passes_into_the_log(secret: str) -> None:
    log, out = journal()
    log.complain("hookFailed", f"it said {secret}", output=f"x {secret} y")
    assert "[withheld]" in out.getvalue()
    for part in secret.split("\n")[1:2] or [secret]:
        assert part not in out.getvalue()
    assert secret not in out.getvalue()


def test_a_pair_in_memory_is_gone_after_its_block_and_never_on_a_disk() -> None:
    with in_memory(pair(1)) as path:
        assert path.read_bytes() == pair(1).certificates_pem + pair(1).key_pem
        assert str(path).startswith("/proc/self/fd/")
    assert not path.exists()


def some_metrics() -> str:
    node = Clockwork(names=("apiserver", "etcd-server")).run_for(timedelta(hours=1))
    failed = Answer(AnswerKind.UNREACHABLE, "away")
    node.node = node.node.failed("apiserver", failed, node.now, node.jitter)
    tallies = Tallies({"apiserver": 3}, {"apiserver": START}, {"etcd-server": 1}, START, 2)
    return exposition(node.node, tallies, node.now, ABOUT)


def test_prometheus_finds_no_fault_with_the_metrics(require_tool: Callable[[str], str]) -> None:
    promtool = require_tool("promtool")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=some_metrics(), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_metrics_tell_of_each_certificate_by_its_name_in_the_plan() -> None:
    lines = some_metrics().splitlines()
    assert 'trivet_agent_certificate_failures{certificate="apiserver"} 1' in lines
    assert 'trivet_agent_certificate_standing{certificate="apiserver",standing="retrying"} 1' in lines
    assert 'trivet_agent_certificate_standing{certificate="apiserver",standing="fresh"} 0' in lines
    assert 'trivet_agent_certificate_last_result{certificate="apiserver",result="unreachable"} 1' in lines
    assert 'trivet_agent_certificate_renewals_total{certificate="apiserver"} 3' in lines
    assert f"trivet_agent_outage_budget_seconds {95 * 3600 - 300}" in lines
    assert 'trivet_agent_certificate_lifetime_seconds{certificate="etcd-server"} 345600' in lines
    not_after = START + timedelta(days=4, minutes=-5)
    name = 'trivet_agent_certificate_not_after_timestamp_seconds{certificate="etcd-server"}'
    assert f"{name} {not_after.timestamp():.0f}" in lines
    assert not any("77fdf4" in line for line in lines)


def test_the_metrics_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "trivet.prom"
    write_metrics(path, "a 1\n")
    first = path.stat()
    write_metrics(path, "a 2\n")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("a 2\n", 0o644)
    assert path.stat().st_ino != first.st_ino
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="No such file"):
        write_metrics(tmp_path / "missing" / "trivet.prom", "a 3\n")


def test_the_metrics_port_answers_with_what_was_published_last() -> None:
    with MetricsPort("127.0.0.1", 0) as port:
        url = f"http://127.0.0.1:{port.port}"
        port.publish("a 1\n")
        port.publish("a 2\n")
        answer = httpx.get(f"{url}/metrics")
        assert (answer.status_code, answer.text) == (200, "a 2\n")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert httpx.get(f"{url}/etc/passwd").status_code == 404
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/metrics")
