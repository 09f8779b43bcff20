"""`trivet plan`: the plans that come with Trivet, and whether one is right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trivet.agent.plan import BadPlanError, load_plan, parse_plan
from trivet.agent.plan.builtin import BUILT_IN, Choices, built_in_plan, needs_endpoint
from trivet.agent.plan.model import EncryptionAlgorithm
from trivet.agent.plan.table import plan_schema
from trivet.cli.connection import ClusterOption, cluster_name, connect
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.files import explained
from trivet.cli.output import Format, Output, note, printable, show_document, show_list

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trivet.agent.plan import CertificatePlan

app = typer.Typer(name="plan", help="Plans: what a node holds.", no_args_is_help=True)

PlanFile = Annotated[Path, typer.Option("--filename", "-f", metavar="FILE", help="The plan of this node.")]
Root = Annotated[Path, typer.Option(metavar="DIR", help="Where the plan's paths begin.")]
_COLUMNS: Final = {
    "KIND": "kind",
    "NAME": "name",
    "PROFILE": "profile",
    "AUTHORITY": "authority",
    "FILES": "files",
}


def read_plan(path: Path) -> CertificatePlan:
    """Read a plan from a file.

    Raises:
        CommandError: it cannot be read, or has faults; the message lists all of them.
    """
    try:
        with explained(path, "read"):
            return load_plan(path)
    except BadPlanError as error:
        lines = "\n  ".join(printable(line) for line in str(error).splitlines())
        message = f"the plan is refused:\n  {lines}"
        raise CommandError(message) from error


@app.command(name="list")
def list_plans(output: Output = Format.TABLE) -> None:
    """List the plans that come with Trivet."""
    rows = [{"name": name, "about": about} for name, (about, _) in BUILT_IN.items()]
    show_list(rows, output, {"NAME": "name", "WHAT": "about"})


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(BUILT_IN)}.")],
    *,
    node: Annotated[str, typer.Option(metavar="TEXT", help="The node's name.")],
    address: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="An address of the node; may be repeated.")
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="HOST[:PORT]", help="The control plane; else what the service knows of the cluster."
        ),
    ] = None,
    service_subnet: Annotated[
        str | None, typer.Option(metavar="CIDR", help="Of the Services; else as with the endpoint.")
    ] = None,
    dns_domain: Annotated[str | None, typer.Option(metavar="NAME", help="Of the cluster; the same.")] = None,
    algorithm: Annotated[EncryptionAlgorithm, typer.Option(help="Of the keys.")] = EncryptionAlgorithm.P384,
    cluster: ClusterOption = None,
) -> None:
    """Print a plan to edit, as YAML with comments.

    The service is asked only where --endpoint is left out and the plan needs one.
    """
    if name not in BUILT_IN:
        message = f"there is no plan {printable(name)!r}; choose one of {', '.join(BUILT_IN)}"
        raise CommandError(message, ExitCode.USAGE)
    named = cluster or cluster_name(context, None)  # without settings where they are not needed
    if endpoint is None and needs_endpoint(name):
        with connect(context) as trivet:
            known = trivet.clusters.get(named)
        endpoint = known["endpoint"]
        service_subnet, dns_domain = service_subnet or known["serviceCidr"], dns_domain or known["dnsDomain"]
    choices = Choices(named, node, endpoint, tuple(address or ()), algorithm, service_subnet, dns_domain)
    text = built_in_plan(name, choices)
    try:
        parse_plan(text.encode(), name)
    except BadPlanError as error:
        words = "; ".join(dict.fromkeys(f"{fault.pointer}: {fault.message}" for fault in error.faults))
        raise CommandError(printable(words), ExitCode.USAGE) from error
    typer.echo(text, nl=False)


@app.command()
def check(plan: PlanFile, output: Output = Format.TABLE) -> None:
    """Say what a plan lists, or what is wrong with it and where. Nothing is asked of the service."""
    found = read_plan(plan)
    show_list(list(_listed(found)), output, _COLUMNS)
    note(f"{plan} is right: it lists what the node {found.node} of the cluster {found.cluster} holds")


def _listed(plan: CertificatePlan) -> Iterator[dict[str, object]]:
    for bundle in plan.trust_bundles:
        yield {"kind": "trustBundle", "name": bundle.name, "authority": bundle.authority.value,
               "files": [str(bundle.file.path)]}  # fmt: skip
    for planned in plan.certificates:
        yield {"kind": "certificate", "name": planned.name, "profile": planned.profile.name,
               "authority": planned.authority.value, "files": [str(file.path) for file in planned.files]}  # fmt: skip
    for kubeconfig in plan.kubeconfigs:
        yield {"kind": "kubeconfig", "name": kubeconfig.name, "files": [str(kubeconfig.file.path)]}
    if plan.service_account is not None:
        pair = (plan.service_account.key, plan.service_account.public_key)
        yield {"kind": "serviceAccountKey", "name": "sa", "files": [str(file.path) for file in pair]}


@app.command()
def schema() -> None:
    """Print the JSON Schema of plans, for editors."""
    show_document(plan_schema(), Format.JSON)
