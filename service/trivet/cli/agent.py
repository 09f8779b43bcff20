"""`trivet agent`: keeps the certificates of a node alive."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trivet import __version__
from trivet.bootstrap.clock import now
from trivet.cli.connection import client_settings
from trivet.cli.exits import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from trivet.agent.plan.model import CertificatePlan
    from trivet.agent.runner import Agent
    from trivet.settings import ClientSettings


class Mode(StrEnum):
    """Which kind of node the agent looks after."""

    WORKER = "worker"
    CONTROLLER = "controller"


_ON_WORKERS: Final = frozenset({"kubelet-client", "kubelet-serving", "kube-apiserver-client"})


def agent(
    context: typer.Context,
    mode: Annotated[Mode, typer.Option(help="A worker, or a control plane or member of etcd.")],
    plan: Annotated[Path, typer.Option("--filename", "-f", metavar="FILE", help="The plan of this node.")],
    root: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the plan's paths begin.", envvar="TRIVET_AGENT_ROOT")
    ] = Path("/"),
    *,
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, and end.")] = False,
    message: Annotated[
        bool,
        typer.Option(
            "--message",
            help="Renew by signed messages: for where a proxy ends TLS.",
            envvar="TRIVET_AGENT_MESSAGE",
        ),
    ] = False,
    metrics_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Metrics for the node exporter: *.prom.", envvar="TRIVET_AGENT_METRICS_FILE"
        ),
    ] = None,
    metrics_listen: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS:]PORT",
            help="Metrics on a port, of the loopback unless an address is named.",
            envvar="TRIVET_AGENT_METRICS_LISTEN",
        ),
    ] = None,
) -> None:
    """Keep the certificates of a node alive: renew, install, restart, look.

    It proves who it is by the certificates that the plan lists; a token is neither needed nor of use. SIGTERM ends it
    at a safe point, SIGHUP has it read the plan again. Logs are JSON, on stdout.
    """
    from trivet.agent.alone import only_agent
    from trivet.agent.files import FileFaultError

    settings = client_settings(context)
    address = address_of(metrics_listen) if metrics_listen is not None else None
    with ExitStack() as stack:
        try:
            stack.enter_context(only_agent(root))
        except FileFaultError as fault:
            raise CommandError(str(fault)) from fault
        publish = publisher(stack, metrics_file, address)
        looks_after = _composed(settings, mode, plan, root, publish, by_message=message, spread=not once)
        looks_after.signals.listen()
        if not once:
            looks_after.run()
        elif not looks_after.run_once():
            raise typer.Exit(ExitCode.REFUSED)


def _composed(
    settings: ClientSettings,
    mode: Mode,
    path: Path,
    root: Path,
    publish: Callable[[str], None],
    *,
    by_message: bool,
    spread: bool,
) -> Agent:
    from trivet.agent.clocks import Clocks
    from trivet.agent.files import Disk, NodeFiles
    from trivet.agent.journal import Journal
    from trivet.agent.keeper import Keeper
    from trivet.agent.markers import Markers
    from trivet.agent.runner import Agent
    from trivet.agent.service import Service
    from trivet.client import Endpoint

    def load() -> CertificatePlan:
        try:
            return _plan(path, mode)
        except CommandError as error:
            raise ValueError(str(error)) from error

    plan, disk = _plan(path, mode), Disk()
    keeper = Keeper(
        plan=plan,
        files=NodeFiles(root, disk),
        service=Service(Endpoint(settings.url, settings.ca_file), plan.cluster, now, by_message),
        markers=Markers(disk, root),
        journal=Journal(f"certificate-renewal-{mode.value}", sys.stdout, now),
        clocks=Clocks(now),
        spread=spread,
    )
    about = {"mode": mode.value, "cluster": plan.cluster, "node": plan.node, "version": __version__}
    return Agent(keeper, about, publish, load)


def _plan(path: Path, mode: Mode) -> CertificatePlan:
    from trivet.agent.plan import BadPlanError, load_plan

    try:
        plan = load_plan(path)
    except BadPlanError as error:
        raise CommandError(f"the plan is refused:\n{error}") from error
    if mode is Mode.WORKER:
        foreign = sorted({item.profile.name for item in plan.certificates} - _ON_WORKERS)
        if foreign or plan.service_account is not None:
            what = ", ".join(foreign) or "the key of the service accounts"
            message = f"{path}: a worker does not hold {what}; give --mode controller, or a worker's plan"
            raise CommandError(message, ExitCode.USAGE)
    return plan


def address_of(text: str) -> tuple[str, int]:
    """Where metrics are shown, as an option says it.

    Raises:
        CommandError: it is no port, nor an address and a port.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    try:
        ip_address(host)
        number = int(port)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 16:
        message = (
            f"--metrics-listen {text}: write a port, as 9912, or an address and a port, as 127.0.0.1:9912"
        )
        raise CommandError(message, ExitCode.USAGE)
    return host, number


def publisher(stack: ExitStack, file: Path | None, address: tuple[str, int] | None) -> Callable[[str], None]:
    """What takes metrics, and gives them to a file, a port, or both.

    Raises:
        CommandError: the port is taken.
    """
    from trivet.agent.publishing import MetricsPort, write_metrics

    takers: list[Callable[[str], None]] = []
    if address is not None:
        try:
            takers.append(stack.enter_context(MetricsPort(*address)).publish)
        except OSError as error:
            message = f"--metrics-listen: {address[0]}:{address[1]}: {os.strerror(error.errno or 0)}"
            raise CommandError(message) from error
    if file is not None:
        takers.append(lambda text: write_metrics(file, text))

    def publish(text: str) -> None:
        for take in takers:
            take(text)

    return publish
