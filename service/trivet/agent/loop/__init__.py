"""When to do what: the agent's decisions, without a clock, a disk or a network.

    node = Node.of(names, now)
    node = node.saw("apiserver", held, now, jitter)      # what is on the disk
    task = node.next_task(now)                           # what to do next, and when
    node = node.tried("apiserver", answer, now, jitter)  # what came of it

Values in, values out. A test moves years in milliseconds; a simulation runs a fleet of thousands.
"""

from __future__ import annotations

from trivet.agent.loop.answers import Answer, AnswerKind
from trivet.agent.loop.identity import Held, Identity, Standing
from trivet.agent.loop.moment import Moment
from trivet.agent.loop.node import Node, Task, TaskKind

__all__ = ["Answer", "AnswerKind", "Held", "Identity", "Moment", "Node", "Standing", "Task", "TaskKind"]
