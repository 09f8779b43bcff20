"""Provisioning a new node that has nothing but a bootstrap token."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trivet.bootstrap.clock import now
from trivet.bootstrap.files import read_secret
from trivet.cli.connection import client_settings
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.files import explained
from trivet.cli.output import note

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    import typer

    from trivet.agent.files import KeyPair, NodeFiles
    from trivet.agent.plan import CertificatePlan
    from trivet.agent.provisioning import Provisioning
    from trivet.client import Endpoint


class Joining:
    """A new node of a cluster."""

    def __init__(self, context: typer.Context, plan: CertificatePlan, files: NodeFiles, wait: float) -> None:
        """Take where the service is, and what the node shall hold."""
        from trivet.client import Endpoint

        settings = client_settings(context)
        self._endpoint: Endpoint = Endpoint(settings.url, settings.ca_file)
        self._plan, self._files, self._wait = plan, files, wait

    def provisioning(self, stack: ExitStack, token: Path, *, dry_run: bool) -> Provisioning:
        """What provisions the rest, by the node's own client certificate; that one is asked for where it is not there.

        Raises:
            CommandError: it cannot be had, or (`dry_run`) is not to be asked for.
        """
        from trivet.agent.asking import NotAskedError
        from trivet.agent.joining import ByRequest, client_certificate
        from trivet.agent.memory_files import in_memory
        from trivet.agent.provisioning import Provisioning
        from trivet.client import Client

        try:
            pair = client_certificate(self._files, self._plan, now())
            if pair is None and dry_run:
                message = (
                    "the node's client certificate would be asked for by the bootstrap token;"
                    " what else would be done can be told once it is there"
                )
                raise CommandError(message, ExitCode.REFUSED)
            if pair is None:
                pair = self._joined(token)
        except (NotAskedError, ValueError) as error:
            raise CommandError(str(error), ExitCode.REFUSED) from error
        path = stack.enter_context(in_memory(pair))
        trivet = stack.enter_context(Client(replace(self._endpoint, certificate_file=path)))
        provisioning = Provisioning.by_token(trivet, self._plan, self._files, now)
        return replace(provisioning, source=ByRequest(trivet, self._plan, self._wait))

    def _joined(self, token: Path) -> KeyPair:
        from trivet.agent.joining import ByRequest, join
        from trivet.client import Client

        with explained(token, "read"):
            secret = read_secret(token)
        with Client(replace(self._endpoint, token=secret)) as trivet:
            pair = join(self._files, self._plan, ByRequest(trivet, self._plan, self._wait))
        note("the node has its client certificate, by the bootstrap token; the rest is asked for by that")
        return pair
