from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.monitoring import promtool
from tests.monitoring.fleet import ISSUE, LIFETIME, TRIVET, fleet
from tests.monitoring.promtool import DAY, MINUTE, Series, sampled

HOUR = 3600
AGENT = 'job="trivet-agent",instance="blue-0:9300"'
CERTIFICATE = f'{AGENT},certificate="kubelet-client"'
BLUE = f'{TRIVET},cluster="blue"'
ETCD = f'{BLUE},authority="etcd"'
RENEW = f'{BLUE},authority="cluster",profile="kubelet-client",action="renew"'


@pytest.fixture(scope="module")
def tool(require_tool: Callable[[str], str]) -> str:
    return require_tool("promtool")


def test_promtool_understands_every_rule(tool: str) -> None:
    files = sorted(promtool.RULES.glob("*.yml"))
    done = subprocess.run(
        [tool, "check", "rules", "--lint-fatal", *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_understands_the_configuration(tool: str, tmp_path: Path) -> None:
    folder = promtool.RULES.parent
    text = (folder / "prometheus.yml").read_text().replace("/etc/prometheus", str(tmp_path))
    (tmp_path / "rules").symlink_to(promtool.RULES)
    for name in set(re.findall(rf"{tmp_path}/([\w.-]+)$", text, re.MULTILINE)):
        (tmp_path / name).write_text("")
    (tmp_path / "prometheus.yml").write_text(text)
    command: list[str | Path] = [tool, "check", "config", "--lint-fatal", tmp_path / "prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rule files found" in done.stdout or "SUCCESS" in done.stdout


@pytest.mark.slow
def test_a_fleet_in_health_fires_nothing_for_ten_days(tool: str, tmp_path: Path) -> None:
    step = 4 * MINUTE  # what is older than five minutes Prometheus takes for gone
    quiet: dict[int, list[str]] = {second: [] for second in range(2 * HOUR, 10 * DAY + 1, 2 * HOUR)}
    there = {
        "cluster:trivet_outage_budget_left:share > 0.25": 1,
        "instance_certificate:trivet_agent_certificate_left:share > 0.25": 2,
        "instance_list:trivet_agent_revocation_list_left:share > 0.5": 2,
        "cluster_authority:trivet_crl_left:share > 0.7": 1,
        "instance:trivet_https_left:share > 0.3": 1,
        "trivet_ocsp_responder_left:share > 0.3": 1,
    }
    file = promtool.write_test(tmp_path, step, fleet(step, 10 * DAY, ("blue",), 2), quiet, there)
    assert promtool.outcome(tool, file) == ""


@dataclass(frozen=True)
class Fault:
    """What goes wrong: series in place of those of the fleet in health, and what fires then."""

    alert: str
    changed: list[Series]
    also: tuple[str, ...] = ()
    end: int = 5 * HOUR


END, STEP = 5 * HOUR, 150
SIZE = END // STEP + 1


def constant(name: str, value: float) -> Series:
    return sampled(name, [value] * SIZE)


def growing(name: str, by: float) -> Series:
    return Series(name, f"0+{by:g}x{SIZE}")


def share(value: float, lifetime: float = LIFETIME) -> float:
    """An end of which this share of a lifetime is left in the end."""
    return END + value * lifetime


def _end(name: str, labels: str, left: float, lifetime: float = LIFETIME) -> list[Series]:
    return [
        constant(f"{name}_not_after_timestamp_seconds{{{labels}}}", share(left, lifetime)),
        constant(f"{name}_lifetime_seconds{{{labels}}}", lifetime),
    ]


def _crl(left: float) -> list[Series]:
    period = 3.0 * DAY
    return [
        constant(f"trivet_crl_this_update_timestamp_seconds{{{ETCD}}}", share(left, period) - period),
        constant(f"trivet_crl_next_update_timestamp_seconds{{{ETCD}}}", share(left, period)),
    ]


def _budget(left: float) -> list[Series]:
    return [
        constant(f"trivet_outage_budget_end_timestamp_seconds{{{BLUE}}}", share(left)),
        constant(f"trivet_outage_budget_lifetime_seconds{{{BLUE}}}", LIFETIME),
    ]


ROOT_LABELS = f'{ETCD},state="active"'
TEN_YEARS = 3653.0 * DAY
FAILURES = "trivet_authentication_failures_total"
REQUESTS = f'trivet_http_requests_total{{{TRIVET},method="POST",route="{ISSUE}"'
BUCKET = f'trivet_http_request_seconds_bucket{{{TRIVET},method="POST",route="{ISSUE}"'
FAULTS = [
    Fault("TrivetDown", [constant(f"up{{{TRIVET}}}", 0)]),
    Fault("TrivetDatabaseDown", [constant(f"trivet_database_up{{{TRIVET}}}", 0)]),
    Fault("TrivetDatabaseBusy", [growing(f'trivet_database_errors_total{{{TRIVET},fault="busy"}}', 5)]),
    Fault("TrivetRequestsFail", [growing(REQUESTS + ',status="500"}', 1)]),
    Fault("TrivetSlow", [constant(BUCKET + ',le="0.1"}', 0)]),
    Fault("TrivetOverloaded", [growing(f"trivet_queue_turned_away_total{{{TRIVET}}}", 3)]),
    Fault("TrivetWorkersDie", [growing(f"process_start_time_seconds{{{TRIVET}}}", 100)]),
    Fault("TrivetFilesRunOut", [constant(f"process_open_fds{{{TRIVET}}}", 900)]),
    Fault(
        "TrivetChoreOverdue",
        [constant(f'trivet_chore_due_timestamp_seconds{{{TRIVET},chore="publishing"}}', END - HOUR)],
    ),
    Fault("TrivetClocksDiffer", [constant(f"trivet_database_clock_ahead_seconds{{{TRIVET}}}", -3)]),
    Fault(
        "TrivetClocksDiffer",
        [Series(f"trivet_clock_timestamp_seconds{{{TRIVET}}}", f"60+{STEP}x{SIZE}")],
    ),
    Fault("TrivetHTTPSCertificateLate", _end("trivet_https", f'{TRIVET},authority="service"', 0.24)),
    Fault("TrivetCAEnds", _end("trivet_ca", ROOT_LABELS, 0.045, TEN_YEARS)),
    Fault("TrivetCAEndsSoon", _end("trivet_ca", ROOT_LABELS, 0.005, TEN_YEARS), also=("TrivetCAEnds",)),
    Fault("TrivetCRLLate", _crl(0.45)),
    Fault("TrivetCRLEnds", _crl(0.1), also=("TrivetCRLLate",)),
    Fault("TrivetCRLNotPublished", [growing(f"trivet_crls_failed_total{{{TRIVET}}}", 2)]),
    Fault("TrivetOCSPResponderLate", _end("trivet_ocsp_responder", TRIVET, 0.2)),
    Fault("TrivetProofDamaged", [growing(f"trivet_audit_faults_total{{{TRIVET}}}", 1)]),
    Fault("TrivetClusterBudgetLow", _budget(0.18)),
    Fault("TrivetClusterBudgetGone", _budget(-0.5), also=("TrivetClusterBudgetLow",)),
    Fault(
        "TrivetRenewalsRefused",
        [
            growing(f'trivet_decisions_total{{{RENEW},result="issued"}}', 1),
            growing(f'trivet_decisions_total{{{RENEW},result="badCSR"}}', 1),
        ],
    ),
    Fault(
        "TrivetRenewalsStopped",
        [
            sampled(
                f'trivet_decisions_total{{{RENEW},result="issued"}}',
                [float(min(2 * n, 60)) for n in range(2 * SIZE)],
            )
        ],
        end=8 * HOUR,
    ),
    Fault(
        "TrivetRevocationBites",
        [growing(f'trivet_decisions_total{{{RENEW},result="revoked"}}', 20)],
        also=("TrivetRenewalsRefused",),
    ),
    Fault("TrivetRequestsWait", [constant(f"trivet_certificate_requests_pending{{{BLUE}}}", 2)]),
    Fault("TrivetTokensGuessed", [growing(f'{FAILURES}{{{TRIVET},fault="unknown"}}', 900)]),
    Fault("TrivetForeignCertificate", [growing(f'{FAILURES}{{{TRIVET},fault="certificate"}}', 1)]),
    Fault(
        "TrivetAgentGone",
        [Series(f'trivet_agent_about{{{AGENT},mode="worker"}}', f"1x{SIZE // 2} _x{SIZE // 2}")],
    ),
    Fault("TrivetAgentUnheard", [constant(f"trivet_agent_answered_timestamp_seconds{{{AGENT}}}", -8 * HOUR)]),
    Fault("TrivetAgentCertificateLate", _end("trivet_agent_certificate", CERTIFICATE, 0.19)),
    Fault(
        "TrivetAgentCertificateEnds",
        _end("trivet_agent_certificate", CERTIFICATE, 0.05),
        also=("TrivetAgentCertificateLate",),
    ),
    Fault(
        "TrivetAgentCertificateBarred",
        [constant(f'trivet_agent_certificate_standing{{{CERTIFICATE},standing="revoked"}}', 1)],
    ),
    Fault("TrivetAgentNotServed", [constant(f"trivet_agent_certificate_served{{{CERTIFICATE}}}", 0)]),
    Fault("TrivetAgentHookFails", [growing(f"trivet_agent_hook_failures_total{{{CERTIFICATE}}}", 1)]),
    Fault(
        "TrivetAgentCRLLate",
        [
            constant(
                f'trivet_agent_revocation_list_next_update_timestamp_seconds{{{AGENT},list="etcd"}}',
                share(0.2, 3.0 * DAY),
            )
        ],
    ),
    Fault(
        "TrivetAgentCRLLate",
        [
            constant(f'trivet_agent_revocation_list_{name}_seconds{{{AGENT},list="etcd"}}', 0)
            for name in ("next_update_timestamp", "lifetime")
        ],
    ),
    Fault("TrivetAgentFaulty", [growing(f"trivet_agent_faults_total{{{AGENT}}}", 1)]),
    Fault("TrivetAgentClockJumps", [growing(f"trivet_agent_clock_jumps_total{{{AGENT}}}", 1)]),
]


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{number}-{one.alert}" for number, one in enumerate(FAULTS)])
def test_an_alert_fires_on_its_fault_and_no_other_does(fault: Fault, tool: str, tmp_path: Path) -> None:
    changed = {series.name: series for series in fault.changed}
    healthy = [series for series in fleet(STEP, fault.end, ("blue",), 1) if series.name not in changed]
    expected = {fault.end: [fault.alert, *fault.also]}
    file = promtool.write_test(tmp_path, STEP, [*healthy, *changed.values()], expected)
    assert promtool.outcome(tool, file) == ""


def test_every_alert_has_a_fault_that_fires_it() -> None:
    assert {fault.alert for fault in FAULTS} == promtool.alerts().keys()


def _headings(page: Path) -> set[str]:
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#{1,6} +(.+)$", page.read_text(), re.MULTILINE)
    }


def test_every_alert_names_its_section_of_the_runbook_and_says_what_and_how_bad() -> None:
    for name, rule in promtool.alerts().items():
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page == "docs/runbook.md"
        assert anchor == name.lower()
        assert anchor in _headings(promtool.ROOT / page), name
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}


def test_the_runbook_has_no_section_of_an_alert_that_is_gone() -> None:
    sections = set(
        re.findall(r"^### (Trivet\w+)$", (promtool.ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    )
    assert sections == promtool.alerts().keys()


def test_no_threshold_of_an_end_is_a_number_of_days() -> None:
    """`< 7 * 86400` would always fire on four-day certificates."""
    for name, rule in promtool.alerts().items():
        assert "not_after" not in rule["expr"], name
        assert "next_update" not in rule["expr"], name
        assert not re.search(r"\b\d{5,}\b|\* *86400", rule["expr"]), name


def test_every_record_is_read_by_an_alert_or_a_dashboard() -> None:
    records = yaml.safe_load((promtool.RULES / "trivet-records.yml").read_text())
    names = {rule["record"] for group in records["groups"] for rule in group["rules"]}
    read = (promtool.RULES / "trivet-alerts.yml").read_text()
    dashboards = promtool.ROOT / "deploy/monitoring/grafana/dashboards"
    read += "".join(page.read_text() for page in dashboards.glob("*.json"))
    assert {name for name in names if name not in read} == set()
