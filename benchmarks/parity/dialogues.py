"""tau2-bench telecom beside inspect_evals: which actions count as done, and what a world is like after calls."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from parity.compare import Pair
from vivace.core.types import ToolCall
from vivace.evals.graders import tau2
from vivace.evals.suites import tau2_telecom

Calls = Sequence[tuple[str, dict[str, Any]]]
"""(who, {name, arguments}) in order."""


def verdicts() -> Iterator[Pair]:
    """The 114 published tasks after some of their actions, with others' mixed in, by both graders."""
    upstream = _Upstream()
    path, _ = tau2_telecom.real()
    rows = {row["id"]: row for row in tau2_telecom._rows(path)}
    draw = random.Random(29)
    every = [action for row in rows.values() for action in row["evaluation_criteria"]["actions"] or []]
    for case in tau2_telecom.load(path):
        row = rows[case.id.split("/", 1)[1]]
        for kind in ("all", "some", "more"):
            actions = list(row["evaluation_criteria"]["actions"] or [])
            if kind == "some":
                actions = [one for one in actions if draw.random() < 0.7]
            elif kind == "more":
                actions.insert(draw.randint(0, len(actions)), draw.choice(every))

            def ours(c: Any = case, a: Any = actions) -> bool:
                return _ours(c, a)

            def theirs(r: Any = row, a: Any = actions) -> bool:
                return asyncio.run(upstream.score(r, a))

            yield f"tau2 {kind} | {case.id} {[one['name'] for one in actions]}", ours, theirs


def _ours(case: Any, actions: Sequence[dict[str, Any]]) -> bool:
    world, made = tau2.World(case.target["steps"]), dict[str, list[ToolCall]](assistant=[], user=[])
    for action in actions:
        who = action["requestor"]
        call = ToolCall(name=action["name"], arguments=action["arguments"])
        if world.call(tau2.tools(who), call)[1]:
            made[who].append(call)
    return tau2_telecom.grade(case.target["criteria"], world, made["assistant"], made["user"]).solved


class _Upstream:
    """inspect_evals' own tools, environment and scorer, driven call by call in a store of Inspect's."""

    def __init__(self) -> None:
        base = "inspect_evals.tau2."
        self.tasks = import_module(f"{base}data_model.tasks")
        self.environment = import_module(f"{base}telecom.environment")
        self.solver, self.scorer = (import_module(f"{base}telecom.{name}") for name in ("solver", "scorer"))
        self.agents, self.metadata = (import_module(f"{base}common.{name}") for name in ("agents", "metadata"))
        self.tools = {"assistant": import_module(f"{base}telecom.tools").all_telecom_agent_tools,
                      "user": import_module(f"{base}telecom.user_tools").all_telecom_user_tools}
        self.store, self.model = import_module("inspect_ai.util._store"), import_module("inspect_ai.model")
        self.state, self.tool = import_module("inspect_ai.solver").TaskState, import_module("inspect_ai.tool")

    async def score(self, row: dict[str, Any], actions: Sequence[dict[str, Any]]) -> bool:
        store = self.store.Store()
        self.store.init_subtask_store(store)
        task = self.tasks.Task.model_validate(json.loads(json.dumps(row)))
        metadata = self.metadata.Tau2MetaData(instance="TelecomAgent", task=task)
        state = self.state(model=self.model.ModelName("mockllm/model"), sample_id="s", epoch=1, input="", messages=[],
                           metadata=metadata.model_dump(), store=store)
        await self.solver.telecom_initializer()(state, None)
        held = import_module("inspect_ai.util").store_as(self.agents.StoredAgentState, "TelecomAgent")
        agent: list[Any] = []
        for at, action in enumerate(actions):
            who = action["requestor"]
            call = self.tool.ToolCall(id=str(at), function=action["name"], arguments=action["arguments"])
            message = self.model.ChatMessageAssistant(content="", tool_calls=[call])
            (agent if who == "assistant" else state.messages).append(message)
            made = next(one() for one in self.tools[who] if one.__name__ == action["name"])
            try:
                await made(**action["arguments"])
            except (self.tool.ToolError, ValueError):
                continue
        held.messages = agent
        found = await self.scorer.telecom_scorer()(state, None)
        return bool(found.value in ("C", 1, 1.0))
