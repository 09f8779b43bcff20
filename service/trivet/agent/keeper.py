"""What the agent can do, one thing at a time; each tells the loop what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from trivet.agent.events import Events
from trivet.agent.exposition import Tallies
from trivet.agent.files import FileFaultError
from trivet.agent.hooks import run_hook
from trivet.agent.loop import Answer, AnswerKind, Node, Standing, TaskKind
from trivet.agent.loop.aftermath import Aftermath, Sight
from trivet.agent.probe import look
from trivet.agent.renewing import Asked, Renewing, held_of
from trivet.agent.revocation_lists import RevocationLists
from trivet.agent.service import answer_of
from trivet.agent.trust import refresh
from trivet.client.errors import ClientError

if TYPE_CHECKING:
    from trivet.agent.clocks import Clocks
    from trivet.agent.files import KeyPair, NodeFiles
    from trivet.agent.journal import Journal
    from trivet.agent.loop import Held, Task
    from trivet.agent.markers import Markers
    from trivet.agent.plan.model import CertificatePlan, Hook, PlannedCertificate
    from trivet.agent.revocation_lists import ListStanding
    from trivet.agent.service import Service
    from trivet.pki.profiles import AuthorityName


@dataclass
class Keeper:
    """Does what the loop says for the certificates of one node.

    Attributes:
        plan: what the node holds.
        files: of the node.
        service: whom to ask.
        markers: which hooks are still to run.
        journal: where it tells what it does.
        clocks: a wall clock and a steady one.
        jitter: the source of chance.
        tallies: what is counted.
        spread: whether what is overdue at the start waits a little, by chance.
        node: what the loop knows.
        pairs: what was last read from the disk.
        lists: the CRLs of the plan, and how each stood when it was last asked for.
    """

    plan: CertificatePlan
    files: NodeFiles
    service: Service
    markers: Markers
    journal: Journal
    clocks: Clocks
    spread: bool = True
    jitter: Random = field(default_factory=SystemRandom)
    tallies: Tallies = field(default_factory=Tallies)
    node: Node = field(init=False)
    pairs: dict[str, KeyPair] = field(default_factory=dict, init=False, repr=False)
    lists: RevocationLists = field(init=False, repr=False)
    standings: dict[str, ListStanding] = field(default_factory=dict, init=False)
    _complaints: dict[str, str] = field(default_factory=dict, init=False)
    _unanswered: dict[str, Asked] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Begin with nothing known."""
        self.node = self._new_node(self.plan)
        self.lists = self._new_lists()

    def _new_lists(self) -> RevocationLists:
        return RevocationLists(self.files, self.plan, self.service.revocation_list)

    def _new_node(self, plan: CertificatePlan) -> Node:
        aftermaths = {
            planned.name: Aftermath(planned.hook is not None, planned.probe is not None)
            for planned in plan.certificates
        }
        lists = [planned.name for planned in plan.revocation_lists]
        return Node.of(aftermaths, self.clocks.now(), lists=lists, spread=self.spread)

    def take_plan(self, plan: CertificatePlan) -> None:
        """Go on with another plan; what keeps its name keeps what is known of it."""
        fresh = self._new_node(plan)
        kept = {name: state for name, state in self.node.identities.items() if name in fresh.aftermaths}
        self.plan, self.node = plan, replace(fresh, identities=kept, at=self.node.at)
        self.service = replace(self.service, cluster=plan.cluster)
        self.lists = self._new_lists()
        self.standings.clear()
        self.pairs.clear()
        self._complaints.clear()
        self.look()

    def take_up_hooks(self) -> None:
        """Run the hooks that an agent left to run which ended after it had put a pair in place."""
        for name, pair in self.pairs.items():
            if self.markers.get(name) == held_of(pair.certificate).serial:
                self.node = self.node.with_hook_left(name, self.clocks.now())

    def perform(self, task: Task) -> None:
        """Do one thing."""
        match task.kind:
            case TaskKind.LOOK:
                self.look()
            case TaskKind.BUNDLES:
                self.fetch_bundles()
            case TaskKind.LISTS:
                self.fetch_list(task.name)
            case TaskKind.ASK:
                self.ask(task.name)
            case TaskKind.RENEW:
                self.renew(task.name)
            case TaskKind.HOOK:
                self.run_hook_of(self.plan.certificate(task.name))
            case TaskKind.PROBE:
                self.probe(self.plan.certificate(task.name))

    @property
    def _events(self) -> Events:
        return Events(self.journal, self.plan)

    def look(self) -> None:
        """Read both clocks, and what is on the disk."""
        now = self.clocks.now()
        jump = now.jump_since(self.node.at) if self.node.identities else timedelta(0)
        if jump:
            self.tallies.clock_jumps += 1
            self._events.jumped(jump)
        held: dict[str, Held | None] = {}
        for planned in self.plan.certificates:
            pair = self._read(planned)
            held[planned.name] = None if pair is None else held_of(pair.certificate)
        self.node = self.node.looked(held, now, self.jitter)

    def _read(self, planned: PlannedCertificate) -> KeyPair | None:
        try:
            pair = self.files.read(planned)
            reason = "" if pair is not None else f"there is nothing at {planned.files[0].path}"
        except FileFaultError as fault:
            pair, reason = None, str(fault)
        if pair is None:
            self.pairs.pop(planned.name, None)
            if self._complaints.get(planned.name) != reason:
                self._events.missing(planned, reason)
        else:
            self.pairs[planned.name] = pair
        self._complaints[planned.name] = reason
        return pair

    def fetch_bundles(self) -> None:
        """Bring the trust bundles up to date."""
        try:
            self._refresh_trust()
            answered = True
        except ClientError as error:
            answered = False
            self.journal.warn("bundlesNotFetched", f"trust bundles could not be fetched: {error}")
        self.node = self.node.bundles_asked(self.clocks.now(), self.jitter, answered=answered)

    def _refresh_trust(self) -> None:
        voucher = self._voucher()
        if voucher is None:
            return

        def given(authority: AuthorityName) -> bytes | None:
            bundle = self.service.bundle(authority, voucher)
            self._answered()
            return bundle

        for changed in refresh(self.files, self.plan, given, self.clocks.wall()):
            if changed.fault is not None:
                self.journal.complain(
                    "bundleKept", f"{changed.name} stays as it is: {changed.fault}", file=changed.name
                )
                continue
            self.journal.note(
                "bundleChanged", f"{changed.name} holds the new trust bundle", file=changed.name
            )
            if changed.hook is not None:
                self._run_hook(changed.name, changed.hook)

    def fetch_list(self, name: str) -> None:
        """Bring one CRL up to date."""
        planned = next(one for one in self.plan.revocation_lists if one.name == name)
        standing = self.lists.refresh(planned, self.clocks.wall())
        self.node = self.node.list_asked(name, planned.interval, self.clocks.now(), self.jitter)
        self.standings[name] = standing
        if not standing.faults:
            self._answered()
        self._events.list_refreshed(standing, self._complaints, self.clocks.wall())
        if standing.changed and planned.hook is not None:
            self._run_hook(name, planned.hook)

    def _voucher(self) -> KeyPair | None:
        """A pair by which the service knows this node."""
        for name, identity in self.node.identities.items():
            if identity.standing in {Standing.FRESH, Standing.RETRYING} and name in self.pairs:
                return self.pairs[name]
        return None

    def _answered(self) -> None:
        self.tallies.answered_at = self.clocks.wall()

    def ask(self, name: str) -> None:
        """Ask the service when to renew a certificate."""
        pair = self.pairs[name]
        try:
            suggestion = self.service.suggestion(pair.certificate)
        except ClientError as error:
            self._not_advised(name, answer_of(error))
            return
        now = self.clocks.now()
        if suggestion is None:
            self.node = self.node.not_advised(name, Answer(AnswerKind.REFUSED), now, self.jitter)
            return
        self._answered()
        self.node = self.node.advised(name, suggestion.window, suggestion.told, now, self.jitter)

    def _not_advised(self, name: str, answer: Answer) -> None:
        now = self.clocks.now()
        self.node = self.node.not_advised(name, answer, now, self.jitter)
        if answer.kind in {AnswerKind.REVOKED, AnswerKind.EXPIRED}:
            self._answered()
            self._events.failed(self.plan.certificate(name), answer, self.node.identities[name], now)
        else:
            # Its own rule holds as long as the service says nothing.
            words = f"when to renew {name} could not be asked: {answer.reason}"
            self.journal.warn("notAdvised", words, certificate=name, reason=answer.kind.value)

    def renew(self, name: str) -> None:
        """Renew a certificate."""
        planned, former = self.plan.certificate(name), self.node.identities[name].held
        renewing = Renewing(
            self.files,
            self.plan,
            self.service,
            self.markers,
            self.clocks.wall,
            self._refresh_trust,
            self._unanswered,
        )
        answer, held = renewing.renew(planned)
        now = self.clocks.now()
        if answer.kind not in {AnswerKind.UNREACHABLE, AnswerKind.FILES}:
            self._answered()
        if held is None:
            self.node = self.node.failed(name, answer, now, self.jitter)
            self._events.failed(planned, answer, self.node.identities[name], now)
            return
        self.node = self.node.renewed(name, held, answer, now, self.jitter)
        self.tallies.count(self.tallies.renewals, name)
        self.tallies.last_renewal[name] = now.wall
        self._read(planned)
        serial = former.serial if former is not None else ""
        self._events.renewed(planned, serial, held, self.node.identities[name], now)

    def run_hook_of(self, planned: PlannedCertificate) -> None:
        """Run what is to be run after a change."""
        succeeded = planned.hook is None or self._run_hook(planned.name, planned.hook)
        self.node = self.node.hooked(planned.name, self.clocks.now(), succeeded=succeeded)
        if succeeded or self.node.aftermaths[planned.name].is_settled:
            self.markers.remove(planned.name)

    def _run_hook(self, name: str, hook: Hook) -> bool:
        result = run_hook(hook)
        members = {"certificate": name, "output": result.output or None}
        if result.succeeded:
            self.journal.note("hookRan", f"the hook of {name} ran", **members)
        else:
            self.tallies.count(self.tallies.hook_failures, name)
            words = f"the hook of {name} failed: {result.reason}"
            self.journal.complain("hookFailed", words, reason="hookFailed", **members)
        return result.succeeded

    def probe(self, planned: PlannedCertificate) -> None:
        """See which certificate a live endpoint serves."""
        name, pair = planned.name, self.pairs.get(planned.probe.serves if planned.probe else "")
        if planned.probe is None or pair is None:
            self.node = self.node.probed(name, Sight.NOTHING, self.clocks.now())
            return
        before, expected = self.node.aftermaths[name], held_of(pair.certificate).serial
        seen = look(planned.probe, expected, pair)
        self.node = self.node.probed(name, seen.sight, self.clocks.now())
        settled, was_new = self.node.aftermaths[name].is_settled, before.sight is Sight.NEW
        self._events.probed(planned, seen, expected, settled=settled, was_new=was_new)
