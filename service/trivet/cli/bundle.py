"""`trivet repair bundle`: repair a node that cannot reach Trivet, by files that are carried by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from cryptography import x509

from trivet.bootstrap.clock import now
from trivet.bootstrap.files import PRIVATE, PUBLIC, make_directory, write_new
from trivet.cli.connection import ClusterOption, cluster_name, connect
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.files import (
    explained,
    read_file,
    read_key,
    refuse_existing,
)
from trivet.cli.output import Format, Output, note, printable, show_document, show_list
from trivet.cli.places import places_of
from trivet.cli.repair_view import open_window
from trivet.client.errors import ProblemError
from trivet.pki.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trivet.agent.carried import CarriedAnswer, CarriedRequest
    from trivet.agent.files import KeyPair
    from trivet.client import Client
    from trivet.client.keys import PrivateKey

app = typer.Typer(
    name="bundle",
    help="Repair a node that cannot reach Trivet, by files that are carried by hand.",
    no_args_is_help=True,
)
_WAITS: Final = "stageWaits"
_COLUMNS: Final = {"NAME": "name", "REPLACES": "serialNumber", "RESULT": "result"}

Certificates = Annotated[
    list[Path] | None,
    typer.Option(
        "--certificate",
        metavar="FILE",
        help="A certificate; its key is beside it, ending in .key. Repeat it.",
    ),
]
Plan = Annotated[
    Path | None, typer.Option("--plan", "-f", metavar="FILE", help="The node's plan, in place of these.")
]
Root = Annotated[Path, typer.Option(metavar="DIR", help="The folder that stands for / of the plan.")]
Keep = Annotated[
    Path, typer.Option(metavar="DIR", help="A folder of this node for the new keys (mode 0700).")
]


@app.command()
def request(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="FILE", help="The file to carry to the administrator.")],
    *,
    certificate: Certificates = None,
    plan: Plan = None,
    root: Root = Path("/"),
    keep: Keep = Path("trivet-repair"),
    cluster: ClusterOption = None,
) -> None:
    """On the node: make new keys, which stay here, and a file with what asks for certificates for them.

    The file holds no secret. It is good for seven days; another one asks for the same keys.
    """
    from trivet.agent.carried import dump_requests, request_for

    refuse_existing(out)
    name, moment = cluster_name(context, cluster), now()
    make_directory(keep)
    requests: list[CarriedRequest] = []
    for place in places_of(certificate, plan, root):
        former = place.read()
        key = _kept_key(keep / f"{place.name}.key", former)
        requests.append(request_for(place.name, former, key, name, moment))
    with explained(out, "written"):
        write_new(out, dump_requests(name, requests, moment), PUBLIC)
    note(f"{out} asks for {len(requests)} certificates; the new keys are in {keep} and stay on this node")
    note(f"carry {out} to an administrator: trivet repair bundle sign {name} {out.name} BUNDLE")


def _kept_key(path: Path, former: KeyPair) -> PrivateKey:
    """The new key for a certificate: that of an earlier request, so that what is answered to either fits."""
    from trivet.client.keys import key_pem, new_key
    from trivet.pki.keys import KeyAlgorithm, key_algorithm

    if path.exists():
        return read_key(path)
    key = new_key(key_algorithm(former.key.public_key()) or KeyAlgorithm.P384)
    with explained(path, "written"):
        write_new(path, key_pem(key), PRIVATE)
    return key


@app.command()
def sign(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The cluster's name.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What the node asks for.")],
    out: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The file to carry back.")],
    *,
    output: Output = Format.TABLE,
) -> None:
    """With Trivet: have each certificate renewed within the open repair window, and write the file to carry back."""
    from trivet.agent.carried import dump_answers

    refuse_existing(out)
    wanted = _read_requests(file, name)
    with connect(context) as trivet:
        answers = _signed(trivet, name, open_window(trivet, name), wanted)
    with explained(out, "written"):
        write_new(out, dump_answers(name, answers), PUBLIC)
    _show(answers, output)
    refused = sum(one.refusal is not None for one in answers)
    note(f"carry {out} back to the node: trivet repair bundle install {out.name}")
    if refused:
        message = f"{refused} of {len(answers)} were refused; the file has the others"
        raise CommandError(message, ExitCode.REFUSED)


def _read_requests(file: Path, name: str) -> list[CarriedRequest]:
    from trivet.agent.carried import parse_requests

    try:
        cluster, wanted = parse_requests(read_file(file))
    except RequestError as error:
        message = f"{file}: {error.detail}"
        raise CommandError(message) from error
    if cluster != name:
        message = f"{file} is for the cluster {printable(cluster)}, not for {name}"
        raise CommandError(message)
    return wanted


def _signed(
    trivet: Client, cluster: str, window: str, wanted: Sequence[CarriedRequest]
) -> list[CarriedAnswer]:
    """Ask for all, again and again while stages come to an end by what was signed just now."""
    answers: dict[str, CarriedAnswer] = {}
    left = list(wanted)
    while left:
        waiting = []
        for one in left:
            answer, waits = _asked(trivet, cluster, window, one)
            answers[one.name] = answer
            waiting += [one] if waits else []
        if len(waiting) == len(left):
            break
        left = waiting
    return [answers[one.name] for one in wanted]


def _asked(trivet: Client, cluster: str, window: str, one: CarriedRequest) -> tuple[CarriedAnswer, bool]:
    from trivet.agent.carried import CarriedAnswer

    try:
        made = trivet.repairs.renew(cluster, window, one.message)
    except ProblemError as error:
        if error.status >= 500:  # noqa: PLR2004  nothing was decided
            raise
        return CarriedAnswer(
            one.name, one.serial, refusal=f"{error.slug}: {error.detail}"
        ), error.slug == _WAITS
    return CarriedAnswer(one.name, one.serial, made["certificate"], made["issuer"]), False


def _show(answers: Sequence[CarriedAnswer], output: Format) -> None:
    rows = [
        {"name": one.name, "serialNumber": one.serial, "result": one.refusal or "renewed"} for one in answers
    ]
    if output is Format.TABLE:
        show_list(rows, output, _COLUMNS)
    else:
        show_document(rows, output)


@app.command()
def install(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="What was carried back.")],
    *,
    certificate: Certificates = None,
    plan: Plan = None,
    root: Root = Path("/"),
    keep: Keep = Path("trivet-repair"),
    ca: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="CA certificates that this node trusts, where the authority has a new one."
        ),
    ] = None,
) -> None:
    """On the node: check each certificate against the one that it replaces, and put it in place with its key."""
    from trivet.agent.carried import checked_replacement, parse_answers
    from trivet.agent.files.pairs import KeyPair

    try:
        _, answers = parse_answers(read_file(bundle))
    except RequestError as error:
        message = f"{bundle}: {error.detail}"
        raise CommandError(message) from error
    known = {one.name: one for one in answers}
    trusted = [each for path in ca or () for each in x509.load_pem_x509_certificates(read_file(path))]
    failed = 0
    for place in places_of(certificate, plan, root):
        answer = known.get(place.name)
        if answer is None or answer.certificate is None:
            why = printable(answer.refusal or "") if answer else f"{bundle} has nothing for it"
            note(f"left as it is: {place.name}: {why}")
            failed += 1
            continue
        kept = keep / f"{place.name}.key"
        key = read_key(kept)
        try:
            new = checked_replacement(place.read().certificate, key, answer, trusted, now())
        except ValueError as error:
            note(f"left as it is: {place.name}: {error}")
            failed += 1
            continue
        place.install(KeyPair((new,), key))
        kept.unlink()
        note(f"installed: {place.name}")
    if failed:
        message = f"{failed} certificates were left as they are"
        raise CommandError(message, ExitCode.REFUSED)
