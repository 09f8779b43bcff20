from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest
from tests.support.node_pairs import START

from trivet.agent.loop import Answer, AnswerKind, Held
from trivet.agent.plan import PlannedCertificate, parse_plan
from trivet.agent.plan.builtin import Choices, built_in_plan
from trivet.agent.repairing import Patience, Repaired, Result, repair
from trivet.pki.validity import Validity

PLAN = parse_plan(built_in_plan("control-plane", Choices("prod", "cp-1", "api.example")).encode())
HELD = Held("77fdf4b1", Validity(START, START + timedelta(days=4)))
RENEWED = (Answer(AnswerKind.RENEWED), HELD)


class Script:
    """Answers as a test says, by the certificate's name; sleeps and words are kept."""

    def __init__(self, answers: dict[str, Iterable[Answer]], seconds: float = 600) -> None:
        self.asked: list[str] = []
        self.slept: list[float] = []
        self.told: list[str] = []
        self._answers = {name: iter(each) for name, each in answers.items()}
        self.patience = Patience(seconds, self.slept.append, self.told.append)

    def renew(self, planned: PlannedCertificate) -> tuple[Answer, Held | None]:
        self.asked.append(planned.name)
        answer = next(self._answers.get(planned.name, iter(())), None)
        return RENEWED if answer is None else (answer, None)

    def run(self) -> dict[str, Repaired]:
        return {one.planned.name: one for one in repair(PLAN, self.renew, self.patience)}


def forever(answer: Answer) -> Iterable[Answer]:
    while True:
        yield answer


def test_etcd_comes_first_then_the_api_server_then_the_rest_with_kubeconfigs_last() -> None:
    script = Script({})
    assert {one.result for one in script.run().values()} == {Result.RENEWED}
    assert script.asked[:3] == ["etcd-server", "etcd-peer", "etcd-healthcheck-client"]
    assert script.asked[3] == "apiserver"
    assert script.asked[-3:] == ["admin", "controller-manager", "scheduler"]


def test_one_whose_turn_has_not_come_is_asked_for_as_the_service_says_until_the_patience_is_over() -> None:
    waits = Answer(AnswerKind.STAGE_WAITS, "the stage api-server waits", 20)
    script = Script({"apiserver": [waits] * 3})
    assert script.run()["apiserver"].result is Result.RENEWED
    assert script.slept == [20, 20, 20]
    assert script.told == ["apiserver waits: the stage api-server waits"] * 3
    script = Script({"apiserver": forever(waits), "scheduler": forever(waits)}, seconds=50)
    done = script.run()
    assert script.slept == [20, 20]
    assert [name for name, one in done.items() if one.result is Result.FAILED] == ["apiserver", "scheduler"]
    assert done["scheduler"].answer.kind is AnswerKind.STAGE_WAITS


@pytest.mark.parametrize("kind", [AnswerKind.UNREACHABLE, AnswerKind.BUSY])
def test_an_answer_that_was_lost_is_asked_for_again_a_few_times(kind: AnswerKind) -> None:
    script = Script({"etcd-peer": [Answer(kind, "away")] * 2})
    assert {one.result for one in script.run().values()} == {Result.RENEWED}
    assert script.asked.count("etcd-peer") == 3


def test_where_nobody_answers_the_rest_is_not_tried() -> None:
    script = Script({"etcd-peer": forever(Answer(AnswerKind.UNREACHABLE, "nobody there"))})
    done = script.run()
    assert script.asked == ["etcd-server", *["etcd-peer"] * 3]
    assert done["etcd-server"].result is Result.RENEWED
    assert {one.answer.reason for name, one in done.items() if name != "etcd-server"} == {"nobody there"}


@pytest.mark.parametrize(
    "kind", [AnswerKind.REVOKED, AnswerKind.EXPIRED, AnswerKind.REFUSED, AnswerKind.FILES]
)
def test_one_that_is_refused_is_asked_for_once_and_leaves_the_others_their_turn(kind: AnswerKind) -> None:
    script = Script({"etcd-peer": forever(Answer(kind, "no"))})
    done = script.run()
    assert script.asked.count("etcd-peer") == 1
    assert [name for name, one in done.items() if one.result is Result.FAILED] == ["etcd-peer"]
    assert script.slept == []
