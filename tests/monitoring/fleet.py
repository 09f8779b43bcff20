"""What a fleet in health shows to Prometheus, and what each fault changes of it.

Renewals follow the windows that Trivet suggests, so these series change when the windows do.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.monitoring.promtool import DAY, Series, sampled

from trivet.pki.renewal import WINDOW_END, WINDOW_START

LIFETIME = 4 * DAY
BACKDATE = 300
CRL_HOURS = 72
TRIVET = 'job="trivet",instance="ca:8443"'
ISSUE = "/api/v1/clusters/{cluster}/certificates"


def renewals(jitter: Random, end: int, share: Callable[[Random], float] | None = None) -> list[int]:
    """When a certificate is issued anew, from before 0 until an end."""
    chosen = share or (lambda random: random.uniform(WINDOW_START, WINDOW_END))
    times = [-int(jitter.uniform(0, WINDOW_START) * LIFETIME)]
    while times[-1] < end:
        times.append(times[-1] + int(chosen(jitter) * LIFETIME))
    return times


def _latest(_: Random) -> float:
    return WINDOW_END


def _current(times: list[int], second: int) -> int:
    return max(time for time in times if time <= second)


def fleet(step: int, end: int, clusters: tuple[str, ...], nodes: int) -> list[Series]:
    """Clusters in health, of four-day certificates, with a Trivet and an agent a node."""
    jitter = Random(1)  # noqa: S311  the same fleet each time
    clock = list(range(0, end + step, step))
    series = [*_service(clock, step), *_authorities(clusters, clock)]
    for cluster in clusters:
        # One renews as late as windows allow, each time: what alerts must bear.
        issued = [renewals(jitter, end, _latest if number == 0 else None) for number in range(nodes)]
        series += _cluster(cluster, issued, clock)
        for number, times in enumerate(issued):
            series += _agent(f'job="trivet-agent",instance="{cluster}-{number}:9300"', times, clock)
    return series


def _cluster(cluster: str, issued: list[list[int]], clock: list[int]) -> list[Series]:
    labels = f'{{{TRIVET},cluster="{cluster}"}}'
    firsts = [min(_current(times, second) for times in issued) + LIFETIME for second in clock]
    done = [sum(1 for times in issued for time in times if 0 < time <= second) for second in clock]
    kind = f'{TRIVET},cluster="{cluster}",authority="cluster",profile="kubelet-client",action="renew"'
    return [
        sampled(f"trivet_outage_budget_end_timestamp_seconds{labels}", [float(end) for end in firsts]),
        sampled(f"trivet_outage_budget_lifetime_seconds{labels}", [float(LIFETIME)] * len(clock)),
        sampled(f'trivet_decisions_total{{{kind},result="issued"}}', [float(count) for count in done]),
        sampled(f'trivet_decisions_total{{{kind},result="revoked"}}', [0.0] * len(clock)),
        sampled(f"trivet_certificate_requests_pending{labels}", [0.0] * len(clock)),
    ]


def _agent(place: str, times: list[int], clock: list[int]) -> list[Series]:
    certificate = f'{place},certificate="kubelet-client"'
    size = len(clock)
    ends = [float(_current(times, second) + LIFETIME) for second in clock]
    # It asks whether to renew every 64th of a lifetime, and Trivet answers.
    answered = [float(second - second % (LIFETIME // 64)) for second in clock]
    period = CRL_HOURS * 3600
    lists = [float(second - second % (period // 4) + period) for second in clock]
    return [
        sampled(f"up{{{place}}}", [1.0] * size),
        sampled(f'trivet_agent_about{{{place},mode="worker"}}', [1.0] * size),
        sampled(f"trivet_agent_certificate_not_after_timestamp_seconds{{{certificate}}}", ends),
        sampled(
            f"trivet_agent_certificate_lifetime_seconds{{{certificate}}}", [float(LIFETIME + BACKDATE)] * size
        ),
        sampled(f'trivet_agent_certificate_standing{{{certificate},standing="fresh"}}', [1.0] * size),
        sampled(f'trivet_agent_certificate_standing{{{certificate},standing="expired"}}', [0.0] * size),
        sampled(f'trivet_agent_certificate_standing{{{certificate},standing="revoked"}}', [0.0] * size),
        sampled(f"trivet_agent_certificate_served{{{certificate}}}", [1.0] * size),
        sampled(f"trivet_agent_hook_failures_total{{{certificate}}}", [0.0] * size),
        sampled(f"trivet_agent_answered_timestamp_seconds{{{place}}}", answered),
        sampled(f"trivet_agent_faults_total{{{place}}}", [0.0] * size),
        sampled(f"trivet_agent_clock_jumps_total{{{place}}}", [0.0] * size),
        sampled(f'trivet_agent_revocation_list_next_update_timestamp_seconds{{{place},list="etcd"}}', lists),
        sampled(
            f'trivet_agent_revocation_list_lifetime_seconds{{{place},list="etcd"}}', [float(period)] * size
        ),
    ]


def _authorities(clusters: tuple[str, ...], clock: list[int]) -> list[Series]:
    size, period = len(clock), CRL_HOURS * 3600
    made = [float(second - second % (period // 4)) for second in clock]
    responders = renewals(Random(7), clock[-1], lambda _: 2 / 3)  # noqa: S311
    ends = [float(_current(responders, second) + LIFETIME) for second in clock]
    series = [
        sampled(f"trivet_ocsp_responder_not_after_timestamp_seconds{{{TRIVET}}}", ends),
        sampled(f"trivet_ocsp_responder_lifetime_seconds{{{TRIVET}}}", [float(LIFETIME)] * size),
        sampled(f"trivet_crls_failed_total{{{TRIVET}}}", [0.0] * size),
    ]
    for cluster in clusters:
        labels = f'{{{TRIVET},cluster="{cluster}",authority="etcd"}}'
        root = f'{{{TRIVET},cluster="{cluster}",authority="etcd",state="active"}}'
        series += [
            sampled(f"trivet_ca_not_after_timestamp_seconds{root}", [3650.0 * DAY] * size),
            sampled(f"trivet_ca_lifetime_seconds{root}", [3660.0 * DAY] * size),
            sampled(f"trivet_crl_this_update_timestamp_seconds{labels}", made),
            sampled(f"trivet_crl_next_update_timestamp_seconds{labels}", [one + period for one in made]),
        ]
    return series


def _service(clock: list[int], step: int) -> list[Series]:
    size = len(clock)
    own = renewals(Random(8), clock[-1], lambda _: 2 / 3)  # noqa: S311
    ends = [float(_current(own, second) + LIFETIME) for second in clock]
    due = [float(second + 30) for second in clock]
    asked = [float(place * step // 10) for place in range(size)]
    buckets = [
        Series(
            f'trivet_http_request_seconds_bucket{{{TRIVET},method="POST",route="{ISSUE}",le="{limit}"}}',
            values,
        )
        for limit, values in (
            ("0.1", f"0+{step}x{size}"),
            ("2.5", f"0+{step}x{size}"),
            ("+Inf", f"0+{step}x{size}"),
        )
    ]
    return [
        *buckets,
        sampled(f"up{{{TRIVET}}}", [1.0] * size),
        sampled(f'trivet_build_info{{{TRIVET},version="0.1.0"}}', [1.0] * size),
        sampled(f"trivet_database_up{{{TRIVET}}}", [1.0] * size),
        sampled(f'trivet_database_errors_total{{{TRIVET},fault="busy"}}', [0.0] * size),
        sampled(f"trivet_database_clock_ahead_seconds{{{TRIVET}}}", [0.01] * size),
        sampled(f"trivet_clock_timestamp_seconds{{{TRIVET}}}", [float(second) for second in clock]),
        sampled(f'trivet_http_requests_total{{{TRIVET},method="POST",route="{ISSUE}",status="201"}}', asked),
        sampled(
            f'trivet_http_requests_total{{{TRIVET},method="POST",route="{ISSUE}",status="500"}}', [0.0] * size
        ),
        sampled(f"trivet_queue_turned_away_total{{{TRIVET}}}", [0.0] * size),
        sampled(f"process_start_time_seconds{{{TRIVET}}}", [0.0] * size),
        sampled(f"process_open_fds{{{TRIVET}}}", [100.0] * size),
        sampled(f"process_max_fds{{{TRIVET}}}", [1024.0] * size),
        sampled(f'trivet_chore_due_timestamp_seconds{{{TRIVET},chore="publishing"}}', due),
        sampled(f'trivet_https_not_after_timestamp_seconds{{{TRIVET},authority="service"}}', ends),
        sampled(
            f'trivet_https_lifetime_seconds{{{TRIVET},authority="service"}}',
            [float(LIFETIME + BACKDATE)] * size,
        ),
        sampled(f"trivet_audit_faults_total{{{TRIVET}}}", [0.0] * size),
        sampled(f'trivet_authentication_failures_total{{{TRIVET},fault="unknown"}}', [0.0] * size),
        sampled(f'trivet_authentication_failures_total{{{TRIVET},fault="certificate"}}', [0.0] * size),
    ]
