"""Between the event loop and the issuing queue: who waits, for how long, and who is never made to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient
from tests.support.clock import Clock
from tests.support.signing_requests import csr
from tests.support.world import World
from tests.unit.web.service import PKCS10, Service, check_problem, slug

from trivet.authority.access import Role
from trivet.authority.context import Authority
from trivet.authority.install import OPERATOR
from trivet.authority.issuance import queue as queues
from trivet.authority.issuance.application import Application, Issuance, prepare
from trivet.authority.issuance.case import Outcome
from trivet.authority.issue import IssuedCertificate, issue_all
from trivet.pki.errors import NotFoundError, Refusal, UnavailableError
from trivet.web import issuing
from trivet.web.app import create_app
from trivet.web.issuing import Issuing

SOON = 20.0
PATH = "/api/v1/clusters/blue/certificates?profile=kubelet-client&node=node-1"


def _wish(node: str = "node-1", cluster: str = "blue") -> Issuance:
    return Issuance(cluster, "kubelet-client", csr(), node)


@dataclass
class Gate:
    """Holds what is in flight until it is opened."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    sizes: list[int] = field(default_factory=list)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()

    def gated(authority: Authority, batch: Sequence[Application]) -> list[Outcome]:
        gate.sizes.append(len(batch))
        gate.reached.set()
        assert gate.opened.wait(SOON)
        return issue_all(authority, batch)

    monkeypatch.setattr(queues, "issue_all", gated)
    yield gate
    gate.opened.set()


def _run(world: World, steps: Callable[[Issuing], Coroutine[Any, Any, None]]) -> None:
    """Run steps on an event loop of their own."""
    service = Issuing(world.authority)
    try:
        asyncio.run(steps(service))
    finally:
        service.close()


async def _until(happened: threading.Event) -> None:
    assert await asyncio.to_thread(happened.wait, SOON)


def _count(world: World) -> int:
    with world.authority.database.read() as connection:
        return int(connection.execute(text("SELECT count(*) FROM certificates")).scalar_one())


def test_whoever_waits_gets_their_own_outcome(world: World, gate: Gate) -> None:
    async def steps(service: Issuing) -> None:
        first = asyncio.create_task(service(OPERATOR, _wish("node-0")))
        await _until(gate.reached)
        asked = [service(OPERATOR, _wish(f"node-{n}", "blue" if n % 3 else "nowhere")) for n in range(9)]
        waiting = asyncio.gather(*asked, return_exceptions=True)
        await asyncio.sleep(0)
        gate.opened.set()
        answers = await waiting
        assert (await first).stored.node == "node-0"
        for number, answer in enumerate(answers):
            if number % 3:
                assert isinstance(answer, IssuedCertificate)
                assert answer.stored.node == f"node-{number}"
            else:
                assert isinstance(answer, NotFoundError)

    _run(world, steps)
    assert gate.sizes == [1, 9]


def test_two_event_loops_share_the_queue(world: World, gate: Gate) -> None:
    service = Issuing(world.authority)
    answers: list[str | None] = []

    def ask(node: str) -> None:
        async def one() -> None:
            answers.append((await service(OPERATOR, _wish(node))).stored.node)

        asyncio.run(one())

    threads = [threading.Thread(target=ask, args=(f"node-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert gate.reached.wait(SOON)
    gate.opened.set()
    for thread in threads:
        thread.join(SOON)
    service.close()
    assert sorted(filter(None, answers)) == [f"node-{number}" for number in range(4)]


def test_whoever_waits_too_long_is_told_so_and_what_was_not_begun_never_is(
    world: World, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuing, "PATIENCE_SECONDS", 0.2)

    async def steps(service: Issuing) -> None:
        begun = asyncio.create_task(service(OPERATOR, _wish("begun")))
        await _until(gate.reached)
        waiting = asyncio.create_task(service(OPERATOR, _wish("waiting")))
        for task in (begun, waiting):
            with pytest.raises(UnavailableError, match="same Idempotency-Key"):
                await task
        gate.opened.set()
        monkeypatch.setattr(issuing, "PATIENCE_SECONDS", SOON)
        assert (await service(OPERATOR, _wish("last"))).stored.node == "last"

    _run(world, steps)
    assert gate.sizes == [1, 1]
    with world.authority.database.read() as connection:
        nodes = connection.execute(text("SELECT node FROM certificates")).scalars().all()
    assert sorted(nodes) == ["begun", "last"]  # what was begun may have been issued, as its refusal says


def test_what_nobody_waits_for_any_more_is_not_begun(world: World, gate: Gate) -> None:
    async def steps(service: Issuing) -> None:
        first = asyncio.create_task(service(OPERATOR, _wish("node-0")))
        await _until(gate.reached)
        gone = asyncio.create_task(service(OPERATOR, _wish("gone")))
        stays = asyncio.create_task(service(OPERATOR, _wish("stays")))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        gate.opened.set()
        assert [(await task).stored.node for task in (first, stays)] == ["node-0", "stays"]

    _run(world, steps)
    assert gate.sizes == [1, 1]
    assert _count(world) == 2


def test_whoever_leaves_while_their_batch_is_in_flight_disturbs_nobody(
    world: World, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = threading.Event()
    gated = queues.__dict__["issue_all"]

    def noted(authority: Authority, batch: Sequence[Application]) -> list[Outcome]:
        outcomes: list[Outcome] = gated(authority, batch)
        if len(batch) == 2:
            second.set()
            assert left.wait(SOON)
        return outcomes

    left = threading.Event()
    monkeypatch.setattr(queues, "issue_all", noted)

    async def steps(service: Issuing) -> None:
        first = asyncio.create_task(service(OPERATOR, _wish("first")))
        await _until(gate.reached)
        gone = asyncio.create_task(service(OPERATOR, _wish("gone")))
        stays = asyncio.create_task(service(OPERATOR, _wish("stays")))
        await asyncio.sleep(0)
        gate.opened.set()
        await _until(second)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        left.set()
        assert [(await task).stored.node for task in (first, stays)] == ["first", "stays"]

    _run(world, steps)
    assert gate.sizes == [1, 2]
    assert _count(world) == 3


def test_a_loop_that_has_ended_disturbs_nobody(world: World, gate: Gate) -> None:
    service = Issuing(world.authority)

    async def leave() -> None:
        task = asyncio.create_task(service(OPERATOR, _wish("gone")))
        await _until(gate.reached)
        task.cancel()

    asyncio.run(leave())
    gate.opened.set()

    async def stay() -> str | None:
        return (await service(OPERATOR, _wish("stays"))).stored.node

    assert asyncio.run(stay()) == "stays"
    service.close()


class DefectError(RuntimeError):
    """What nobody has thought of."""


@pytest.mark.parametrize("defect", [DefectError("of nobody"), StopIteration()], ids=repr)
def test_a_defect_reaches_whoever_waits_and_nobody_else(
    world: World, gate: Gate, monkeypatch: pytest.MonkeyPatch, defect: Exception
) -> None:
    read = prepare

    def failing(requester: Any, wish: Issuance, *rest: Any) -> Application:  # noqa: ANN401
        if wish.node == "bad":
            raise defect
        return read(requester, wish, *rest)

    monkeypatch.setattr(queues, "prepare", failing)

    async def steps(service: Issuing) -> None:
        first = asyncio.create_task(service(OPERATOR, _wish("node-0")))
        await _until(gate.reached)
        asked = [service(OPERATOR, _wish(node)) for node in ("a", "bad", "b")]
        waiting = asyncio.gather(*asked, return_exceptions=True)
        await asyncio.sleep(0)
        gate.opened.set()
        await first
        answers = await waiting
        assert isinstance(answers[1], Exception)
        assert not isinstance(answers[1], Refusal)
        assert [one.stored.node for one in answers if isinstance(one, IssuedCertificate)] == ["a", "b"]

    _run(world, steps)


def test_after_closing_everybody_is_turned_away(world: World) -> None:
    service = Issuing(world.authority)
    service.close()
    with pytest.raises(UnavailableError):
        asyncio.run(service(OPERATOR, _wish()))


# The same over HTTP.


def _post(service: Service, headers: dict[str, str], answers: list[Any]) -> threading.Thread:
    def post() -> None:
        answers.append(service.client.post(PATH, headers=headers | PKCS10, content=csr()))

    thread = threading.Thread(target=post)
    thread.start()
    return thread


def test_a_long_batch_blocks_nobody_else(service: Service, gate: Gate) -> None:
    answers: list[Any] = []
    thread = _post(service, service.token(Role.ISSUER), answers)
    assert gate.reached.wait(SOON)
    for _ in range(5):
        assert service.client.get("/livez").json() == {"status": "ok"}
    service.ask("GET", "clusters", 200)
    assert answers == []
    gate.opened.set()
    thread.join(SOON)
    assert answers[0].status_code == 201


def test_no_decision_in_time_is_503_and_when_to_come_again(
    service: Service, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuing, "PATIENCE_SECONDS", 0.1)
    headers = service.token(Role.ISSUER) | PKCS10
    for _ in range(2):
        answer = service.client.post(PATH, headers=headers, content=csr())
        assert answer.status_code == 503
        check_problem(answer)
        assert slug(answer) == "unavailable"
    gate.opened.set()
    monkeypatch.setattr(issuing, "PATIENCE_SECONDS", SOON)
    assert service.client.post(PATH, headers=headers, content=csr()).status_code == 201
    # The second was not begun, and what was begun for the first is there.
    assert _count(service.world) == 2


def test_a_full_queue_is_503_at_once(service: Service, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.client.app.app.state.services.issuing._queue, "_longest", 1)  # type: ignore[attr-defined]
    headers = service.token(Role.ISSUER)
    answers: list[Any] = []
    threads = [_post(service, headers, answers)]
    assert gate.reached.wait(SOON)
    threads.append(_post(service, headers, answers))
    queue = service.client.app.app.state.services.issuing._queue  # type: ignore[attr-defined]
    deadline = time.monotonic() + SOON
    while not queue.waiting:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    answer = service.client.post(PATH, headers=headers | PKCS10, content=csr())
    assert answer.status_code == 503
    check_problem(answer)
    gate.opened.set()
    for thread in threads:
        thread.join(SOON)
    assert [one.status_code for one in answers] == [201, 201]


def test_a_defect_is_500_without_a_word_of_what_it_was(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> list[Outcome]:
        raise DefectError("the secret of the defect")

    monkeypatch.setattr(queues, "issue_all", failing)
    answer = service.client.post(PATH, headers=service.token(Role.ISSUER) | PKCS10, content=csr())
    assert answer.status_code == 500
    check_problem(answer)
    assert "secret" not in answer.text


def test_the_service_ends_once_what_waits_is_decided(world: World, gate: Gate) -> None:
    clock = world.clock
    assert isinstance(clock, Clock)
    app = create_app(world.authority)
    answers: list[Any] = []
    with TestClient(app, base_url="https://trivet.test") as client:
        service = Service(world, client, app)  # type: ignore[arg-type]  # nobody presents a certificate here
        thread = _post(service, service.token(Role.ISSUER), answers)
        assert gate.reached.wait(SOON)
        gate.opened.set()
        thread.join(SOON)
    assert answers[0].status_code == 201
    assert not app.state.services.issuing._queue._thread.is_alive()
