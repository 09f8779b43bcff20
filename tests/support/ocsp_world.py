"""A world with a desk that answers OCSP requests, asked in a word."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from cryptography import x509
from cryptography.x509 import ocsp
from tests.support.ocsp_requests import request_about
from tests.support.world import World

from trivet.authority.status.ocsp import OcspDesk
from trivet.authority.status.replies import Place, Question, Reply
from trivet.store import authorities, clusters, ocsp_responders
from trivet.store.authorities import Generation
from trivet.store.ocsp_responders import StoredResponder


@dataclass
class OcspWorld:
    """One authority of a cluster, and a process that answers for it."""

    world: World
    cluster: str = "blue"
    authority: str = "cluster"
    desk: OcspDesk = field(init=False)

    def __post_init__(self) -> None:
        self.desk = self.new_desk()

    def new_desk(self) -> OcspDesk:
        """Make what another process would have: it shares the database and nothing else."""
        return OcspDesk(self.world.authority)

    @cached_property
    def generation(self) -> Generation:
        with self.world.authority.database.read() as connection:
            owner = clusters.get(connection, self.cluster)
            found = authorities.all_generations(connection, owner.id)
        return next(one for one in found if one.name == self.authority)

    @cached_property
    def issuer(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.generation.certificate)

    @cached_property
    def place(self) -> Place:
        identifier = self.issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        return Place(self.cluster, self.authority, identifier.hex())

    def ask(
        self, *serials: str | int, desk: OcspDesk | None = None, extensions: tuple[bytes, ...] = ()
    ) -> Reply:
        numbers = [int(one, 16) if isinstance(one, str) else one for one in serials]
        return self.send(request_about(self.issuer, numbers, *extensions), desk)

    def send(self, body: bytes, desk: OcspDesk | None = None, place: Place | None = None) -> Reply:
        (reply,) = (desk or self.desk).answer([Question(place or self.place, body)])
        return reply

    def responder(self) -> StoredResponder:
        with self.world.authority.database.read() as connection:
            found = ocsp_responders.find(connection, self.generation.id)
        assert found is not None
        return found


def statuses(reply: Reply) -> list[str]:
    """What is said of each certificate."""
    return [one.certificate_status.name.lower() for one in ocsp.load_der_ocsp_response(reply.body).responses]
