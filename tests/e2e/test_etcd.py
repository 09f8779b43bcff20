"""Three members of a real etcd: every certificate is Trivet's, renewed again and again, refused, and repaired.

Certificates live a minute here: the floors of Trivet and of the agent, which are minutes, are lowered in this process.
etcd, its clients and all handshakes are real, by the real clock; the agents' clock is set forward for each round.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from tests.support.agent_node import AgentNode, Time, turn
from tests.support.etcd import Member, Writer, await_true, ports, watched, watching
from tests.unit.cli.running import installed, running

from trivet.agent.loop.aftermath import Sight
from trivet.agent.plan.builtin import Choices, built_in_plan
from trivet.agent.runner import Agent
from trivet.bootstrap.initialise import Installation

TRIVET = Path(sys.executable).with_name("trivet")
NAMES = ("etcd-server", "etcd-peer", "etcd-healthcheck-client")
ROUNDS = 10
LIFE, SHORT, LONG = timedelta(seconds=90), timedelta(seconds=20), timedelta(minutes=15)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Installation]:
    """Give a service, and agents, for which certificates of seconds are no mistake."""
    made = installed(tmp_path / "installation")
    with ExitStack() as stack:
        for name in ("trivet.pki.validity.SHORTEST", "trivet.agent.plan.build.SHORTEST"):
            stack.enter_context(patch(name, timedelta(seconds=1)))
        stack.enter_context(patch("trivet.agent.loop.identity.BACKDATE", timedelta(0)))
        stack.enter_context(running(made.settings.model_copy(update={"backdate_seconds": 0})))
        yield made


def plan(name: str, client: int, peer: int, life: timedelta) -> str:
    """The built-in plan of a member, with this member's ports and a lifetime."""
    text = built_in_plan("etcd-member", Choices("demo", name, None, ("127.0.0.1",)))
    document = yaml.safe_load(text.replace(":2379", f":{client}").replace(":2380", f":{peer}"))
    document["spec"]["certificateValidityPeriod"] = f"{life.total_seconds():.0f}s"
    return yaml.safe_dump(document)


@pytest.fixture
def members(
    service: Installation, tmp_path: Path, require_tool: Callable[[str], str]
) -> Iterator[list[Member]]:
    for tool in ("etcd", "etcdctl"):
        require_tool(tool)
    time = Time()
    made = [
        Member(name, AgentNode(tmp_path / name, service, plan(name, *pair, LIFE), time).provision(), *pair)
        for name, pair in zip(("m1", "m2", "m3"), ports(3), strict=True)
    ]
    try:
        for member in made:
            member.start(made)
        await_true(lambda: made[0].etcdctl("endpoint", "health", endpoints=made).returncode == 0)
        yield made
    finally:
        for member in made:
            member.stop()


def serials(member: Member) -> list[str]:
    return [member.node.serial(name) for name in NAMES]


def renewed(agent: Agent, node: AgentNode, count: int) -> bool:
    """Whether so many renewals were made, and both endpoints are seen to serve the last of them."""
    sights = {agent.keeper.node.aftermaths[name].sight for name in NAMES[:2]}
    return len(node.lines("renewed")) >= count and sights == {Sight.NEW}


def test_an_etcd_lives_on_while_all_its_certificates_are_renewed_and_one_member_is_put_out_and_brought_back(
    members: list[Member], tmp_path: Path
) -> None:
    agents = {member.name: member.node.agent() for member in members}
    for agent in agents.values():
        agent.begin()
    m1, m2, m3 = members
    seen = {member.name: [serials(member)] for member in members}
    writer = Writer(m1, members)
    with watching(m2, tmp_path / "watched"), writer.writing():
        for number in range(1, ROUNDS + 1):
            if number == ROUNDS:
                # What comes next needs one member that expires soon, and two that do not.
                for member in members:
                    set_lifetime(member, agents[member.name], SHORT if member is m3 else LONG)
            m1.node.time.advance(LIFE * 0.75)
            for member in members:
                agent = agents[member.name]
                turn(agent, partial(renewed, agent, member.node, 3 * number))
                seen[member.name].append(serials(member))
                # Not by the agent's word alone.
                assert member.serves(member.client) == member.node.serial("etcd-server")
                assert member.serves(member.peer) == member.node.serial("etcd-peer")
    assert writer.faults == []
    assert writer.written > ROUNDS
    # The client that stayed connected all the time missed nothing.
    assert watched(tmp_path / "watched") >= writer.written - 1
    for rounds in seen.values():
        assert len({serial for all_of_them in rounds for serial in all_of_them}) == 3 * (ROUNDS + 1)

    m3.hand_over(m1)
    revoke(m3)
    m3.node.time.advance(SHORT)
    turn(agents["m3"], lambda: len({line["certificate"] for line in m3.node.lines("revoked")}) == 3)
    told = m3.node.lines("revoked")[-1]
    assert "trivet repair demo" in told["message"]
    expire(m3)
    writer = Writer(m1, [m1, m2], writer.written)
    with writer.writing():
        m3.stop()
        m3.start(members)
        await_true(lambda: "certificate has expired" in m3.log + m1.log + m2.log)
        assert not m3.is_healthy(by=m1)

        repair(m3)
        await_true(lambda: m3.is_healthy(by=m3))
    assert writer.faults == []
    read = m3.etcdctl("get", "number", "--print-value-only", endpoints=[m3])
    assert int(read.stdout) == writer.written
    assert set(serials(m3)).isdisjoint(seen["m3"][-1])


def set_lifetime(member: Member, agent: Agent, life: timedelta) -> None:
    member.node.plan_file.write_text(plan(member.name, member.client, member.peer, life))
    agent.signals._reload = True


def revoke(member: Member) -> None:
    """Revoke all that a member holds, by serial number."""
    entries = [{"kind": "SerialNumber", "serialNumber": serial} for serial in serials(member)]
    manifest = {
        "apiVersion": "certificates.microsoft.com/v1",
        "kind": "RenewRevocation",
        "metadata": {"name": "stolen"},
        "spec": {"description": "m3 was stolen", "revocations": entries},
    }
    done = trivet(member, "revoke", "-f", "-", "--yes", given=yaml.safe_dump(manifest))
    assert "certificates revoked: 3" in done.stdout


def expire(member: Member) -> None:
    """Wait until all that a member holds has expired by the real clock."""
    ends = max(member.node.pair(name).certificate.not_valid_after_utc for name in NAMES)
    assert ends - datetime.now(UTC) <= SHORT
    await_true(lambda: datetime.now(UTC) > ends + timedelta(seconds=1), SHORT.total_seconds() + 5)


def repair(member: Member) -> None:
    """An administrator opens a window and makes a token; the node uses it."""
    secret = member.node.root / "token"
    trivet(member, "repair", "demo", "--no-wait")
    trivet(member, "repair", "token", "demo", member.name, "--out", secret)
    # Certificates of four days: this command is another process, whose floors are Trivet's own.
    member.node.plan_file.write_text(plan(member.name, member.client, member.peer, timedelta(days=4)))
    node = ["-f", member.node.plan_file, "--root", member.node.root]
    assert "3 cannot be used" in trivet(member, "check-expiration", *node, code=1).stderr
    done = trivet(member, "repair-node", *node, "--repair-token", secret)
    assert "all 3 certificates are renewed" in done.stderr
    trivet(member, "check-expiration", *node)


def trivet(
    member: Member, *arguments: object, given: str | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(TRIVET), "--config", str(member.node.service.layout.settings), *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == code, (arguments, done)
    return done
