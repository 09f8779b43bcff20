"""What stands where. A page that is not there yet is left out; one that is not named here goes to the end.

Tutorials and how-tos are what a test runs (`tests/docs`): a new page with commands is in one of these two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Section = dict[str, str]

TUTORIALS: Final[Section] = {
    "The first certificate": "quickstart.md",
    "The first cluster": "tutorials/first-cluster.md",
    "The first repair": "tutorials/first-repair.md",
}
CLUSTERS: Final[Section] = {
    "Take over a kubeadm cluster": "how-to/import-kubeadm.md",
    "A cluster like AKS hybrid's": "how-to/aks-hybrid.md",
    "Plans and provisioning": "plans.md",
    "Bootstrap, requests, inventory": "requests.md",
    "Kubelets by kubectl and CSRs": "kubelet.md",
    "The agent": "agent.md",
    "Repair": "repair.md",
    "Rotate a CA": "rotation.md",
    "Revoke with kubectl": "kubernetes.md",
    "Revocation for etcd and nginx": "etcd-and-nginx.md",
    "Revocation for kube-apiserver": "kube-apiserver.md",
    "External signers": "signer.md",
    "A renewal fails": "renewal-fails.md",
}
SERVICE: Final[Section] = {
    "Operations": "operations.md",
    "PostgreSQL": "how-to/postgresql.md",
    "High availability": "how-to/high-availability.md",
    "Behind a proxy": "how-to/behind-a-proxy.md",
    "Air-gapped": "how-to/air-gapped.md",
    "Containers": "compose.md",
    "Deployment": "deployment.md",
    "Keys and HSMs": "hsm.md",
    "Backup and restore": "backup.md",
    "Monitoring": "monitoring.md",
    "Tracing": "tracing.md",
    "Runbook": "runbook.md",
    "Audit and proof": "audit.md",
    "Supply chain": "supply-chain.md",
}
CODE: Final[Section] = {
    "REST, with curl": "rest.md",
    "SDKs": "sdk.md",
    "Python": "sdk-python.md",
    "TypeScript": "sdk-typescript.md",
}
REFERENCE: Final[Section] = {
    "Profiles": "reference/profiles.md",
    "Plans": "reference/plans.md",
    "REST: operations": "reference/rest.md",
    "REST: objects": "reference/objects.md",
    "Command": "reference/command.md",
    "The command, an overview": "cli.md",
    "Settings": "reference/settings.md",
    "Metrics": "reference/metrics.md",
    "What metrics mean": "metrics.md",
    "Errors": "reference/errors.md",
}
EXPLANATION: Final[Section] = {
    "Concepts": "concepts.md",
    "Security and threats": "security.md",
    "Status of certificates": "status.md",
    "OCSP": "ocsp.md",
    "Reliability": "reliability.md",
    "Performance": "performance.md",
}
PROJECT: Final[Section] = {
    "About": "about.md",
    "Changes": "changelog.md",
    "Contributing": "contributing.md",
    "Testing": "testing.md",
}
HOW_TO: Final[Section] = CLUSTERS | SERVICE | CODE

Entry = dict[str, "str | list[Entry]"]


def navigation(pages: Iterable[str]) -> list[Entry]:
    """The navigation over the pages that there are, by their path in docs/."""
    there = sorted(pages)
    sections: dict[str, list[Entry]] = {
        "Tutorials": _entries(TUTORIALS, there),
        "How-to": [
            {"Clusters and nodes": _entries(CLUSTERS, there)},
            {"The service": _entries(SERVICE, there)},
            {"From programs": _entries(CODE, there)},
        ],
        "Reference": _entries(REFERENCE, there),
        "Explanation": _entries(EXPLANATION, there),
        "Coming from…": _entries({"step-ca, cfssl, kubeadm, AKS hybrid": "coming-from.md"}, there),
        "Project": [
            *_entries(PROJECT, there),
            {"Decisions": [page for page in there if page.startswith("adr/")]},  # type: ignore[misc]
        ],
    }
    named = {"index.md", *_pages(list(sections.values()))}
    if more := [page for page in there if page not in named]:
        sections["Project"] += more  # type: ignore[arg-type]
    whole: list[Entry] = [{"Trivet": "index.md"}]
    whole += [{title: entries} for title, entries in sections.items()]
    return whole


def _entries(section: Section, there: Iterable[str]) -> list[Entry]:
    present = set(there)
    return [{title: page} for title, page in section.items() if page in present]


def _pages(entries: object) -> Iterator[str]:
    """Every page below."""
    if isinstance(entries, str):
        yield entries
    elif isinstance(entries, dict):
        yield from _pages(list(entries.values()))
    elif isinstance(entries, list):
        for entry in entries:
            yield from _pages(entry)
