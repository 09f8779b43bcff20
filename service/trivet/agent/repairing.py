"""Repairing a node on which no agent runs: everything that its plan lists, once, in the order of a repair.

By the keys of the certificates that are in place, expired ones too, within an open repair window; or by a one-time
token, where those were revoked or are gone (`authority.repairs.gate` says what it gives).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from trivet.agent.asking import ask
from trivet.agent.files import FileFaultError
from trivet.agent.inspection import bundles_on_disk, is_issued_by
from trivet.agent.loop import Answer, AnswerKind
from trivet.agent.plan.model import KubeconfigStorage
from trivet.agent.renewing import held_of
from trivet.agent.service import answer_of
from trivet.client.errors import ClientError, ProblemError
from trivet.client.keys import new_key
from trivet.pki.profiles import AuthorityName
from trivet.pki.repair import STAGES, stage_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trivet.agent.asking import Source
    from trivet.agent.files import KeyPair, NodeFiles
    from trivet.agent.loop import Held
    from trivet.agent.markers import Markers
    from trivet.agent.plan.model import CertificatePlan, PlannedCertificate

_ASK_AGAIN: Final = {AnswerKind.STAGE_WAITS: 15.0, AnswerKind.BUSY: 5.0, AnswerKind.UNREACHABLE: 2.0}
_TRIES: Final = 3
_FRESH: Final = "the one in place is fresh, by an earlier run or another way"


class Result(StrEnum):
    """What became of one certificate."""

    RENEWED = "renewed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Repaired:
    """What became of one certificate; `held` is the new one."""

    planned: PlannedCertificate
    answer: Answer
    held: Held | None = None

    @property
    def result(self) -> Result:
        """The same in one word."""
        return Result.FAILED if self.held is None else Result.RENEWED


def in_order(plan: CertificatePlan) -> list[PlannedCertificate]:
    """The plan's certificates in the order of a repair; kubeconfigs last, because they hold a trust bundle."""
    return sorted(
        plan.certificates,
        key=lambda planned: (
            STAGES.index(stage_of(planned.profile)),
            isinstance(planned.storage, KubeconfigStorage),
        ),
    )


@dataclass
class Patience:
    """How long to wait: for stages whose turn comes when other nodes are repaired, and for a service that is away.

    Attributes:
        seconds: in all.
        sleep: does so.
        tell: hears for what it waits.
    """

    seconds: float
    sleep: Callable[[float], object] = field(repr=False)
    tell: Callable[[str], object] = field(repr=False)

    def is_left(self, planned: PlannedCertificate, answer: Answer) -> bool:
        """Sleep as the service said, if there is time."""
        wait = answer.told or _ASK_AGAIN[answer.kind]
        if wait > self.seconds:
            return False
        self.tell(f"{planned.name} waits: {answer.reason}")
        self.seconds -= wait
        self.sleep(wait)
        return True


def repair(
    plan: CertificatePlan,
    renew: Callable[[PlannedCertificate], tuple[Answer, Held | None]],
    patience: Patience,
) -> Iterator[Repaired]:
    """Renew everything that a plan lists. Where the service does not answer the rest is not tried."""
    silence: Answer | None = None
    for planned in in_order(plan):
        if silence is not None:
            yield Repaired(planned, silence)
            continue
        answer, held = renew(planned)
        tries = 1
        while _is_worth_another(answer, tries) and patience.is_left(planned, answer):
            answer, held = renew(planned)
            tries += 1
        if answer.kind is AnswerKind.UNREACHABLE:
            silence = answer
        yield Repaired(planned, answer, held)


def _is_worth_another(answer: Answer, tries: int) -> bool:
    # An answer that was lost is asked for once more, with the same key: an expired certificate renews once.
    is_unheard = answer.kind in {AnswerKind.UNREACHABLE, AnswerKind.BUSY} and tries < _TRIES
    return answer.kind is AnswerKind.STAGE_WAITS or is_unheard


@dataclass(frozen=True, slots=True)
class ByOneTimeToken:
    """Gets what the node held, each certificate once, for new keys.

    Attributes:
        files: of the node.
        plan: of the node.
        source: asks with the token.
        markers: which hooks are to run.
        is_fresh: asks the service whether a certificate in place is neither revoked nor replaced nor expired.
        refresh_trust: fetches the trust bundles, with what is new already.
    """

    files: NodeFiles
    plan: CertificatePlan
    source: Source
    markers: Markers
    is_fresh: Callable[[KeyPair], bool]
    refresh_trust: Callable[[], object]

    def renew(self, planned: PlannedCertificate) -> tuple[Answer, Held | None]:
        """Get one certificate, and put it in place. What the token refuses is no loss where a fresh one is there."""
        try:
            return Answer(AnswerKind.RENEWED), held_of(self._issued(planned).certificate)
        except ProblemError as error:
            answer = answer_of(error)
            former = None if answer.kind is AnswerKind.BUSY else self._fresh(planned)
            if former is not None:
                return Answer(AnswerKind.RENEWED, _FRESH), held_of(former.certificate)
            return answer, None
        except ClientError as error:
            return answer_of(error), None
        except FileFaultError as fault:
            return Answer(AnswerKind.FILES, str(fault)), None
        except ValueError as error:
            return Answer(AnswerKind.NOT_AS_ASKED, str(error)), None

    def _issued(self, planned: PlannedCertificate) -> KeyPair:
        # Space and permission first: what was issued must not be lost for want of them, the token gives it once.
        with self.files.lock():
            self.files.rehearse(planned)
        trusted = self._cluster_bundle(planned)
        pair = ask(self.source, planned, new_key(planned.algorithm.key_algorithm))
        bundle = bundles_on_disk(self.files, self.plan).get(planned.authority)
        if bundle is not None and not is_issued_by(pair.certificate, bundle):
            message = "it was not signed by a CA that the trust bundle holds; the pair in place stays"
            raise ValueError(message)
        with self.files.lock():
            if planned.hook is not None:
                self.markers.put(planned.name, held_of(pair.certificate).serial)
            self.files.install(planned, pair, trusted)
        return pair

    def _cluster_bundle(self, planned: PlannedCertificate) -> bytes | None:
        if not isinstance(planned.storage, KubeconfigStorage):
            return None
        bundle = bundles_on_disk(self.files, self.plan).get(AuthorityName.CLUSTER)
        if bundle is None:
            self.refresh_trust()
            bundle = bundles_on_disk(self.files, self.plan).get(AuthorityName.CLUSTER)
        return bundle

    def _fresh(self, planned: PlannedCertificate) -> KeyPair | None:
        try:
            pair = self.files.read(planned)
            return pair if pair is not None and self.is_fresh(pair) else None
        except (FileFaultError, ClientError):
            return None
