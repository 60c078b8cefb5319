"""tau2-bench telecom: the world, its tools, dialogues and verdicts. The package's parts are fetched once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from vivace.commands.evaluate import _data as data_of
from vivace.core.errors import BadInput, ModelError
from vivace.core.files import write_json
from vivace.core.types import Completion, Message, ToolCall, Usage
from vivace.evals.graders import tau2
from vivace.evals.status import shipped
from vivace.evals.suites import dialogue, get_suite, tau2_telecom
from vivace.evals.suites.base import Case, Setting
from vivace.harness.clients.scripted import ScriptedClient


def case(at: int = 0) -> Case:
    return tau2_telecom.load(shipped("tau2-telecom"))[at]


def says(*words: str) -> ScriptedClient:
    left = list(words)
    return ScriptedClient(None, lambda messages: Message(role="assistant", content=left.pop(0) if left else "Hm."), "s")


class Down:
    codec, name = None, "down"

    def complete(self, messages: Any, **rest: Any) -> Completion:
        raise ModelError("nobody there")


def test_tools_are_told_and_called_as_the_package_has_them() -> None:
    agent, user, world = tau2.tools("assistant"), tau2.tools("user"), tau2.World()
    assert len(agent) == 13
    assert len(user) == 30
    assert agent["refuel_data"].signature == "refuel_data(customer_id, line_id, gb_amount)"
    schema = agent["refuel_data"].schema["function"]["parameters"]
    assert schema["properties"]["gb_amount"] == {"type": "number", "description": "Amount of data to add in gigabytes."}
    text, made = world.call(agent, ToolCall(name="get_details_by_id", arguments={"id": "L1002"}))
    assert made
    assert '"phone_number": "555-123-2002"' in text
    assert world.call(user, ToolCall(name="toggle_airplane_mode"))[1]
    assert "Airplane Mode" in world.call(user, ToolCall(name="check_status_bar"))[0]
    for call, words in [
        (ToolCall(name="get_details_by_id", arguments={"id": "?"}), "Error: Unknown ID"),
        (ToolCall(name="get_details_by_id", arguments={"number": "1"}), "Error: no argument number"),
        (ToolCall(name="refuel_data", arguments={"customer_id": "C", "line_id": "L", "gb_amount": "much"}),
         "Error: gb_amount"),
        (ToolCall(name="sudo"), "Error: no tool sudo"),
    ]:  # fmt: skip
        text, made = world.call(agent, call)
        assert text.startswith(words)
        assert not made


def test_two_worlds_do_not_share_a_phone() -> None:
    left, right = tau2.World(), tau2.World()
    left.side("user")("turn_airplane_mode_on", {})
    assert left.holds({"env_type": "user", "func_name": "assert_airplane_mode_status",
                       "arguments": {"expected_status": True}, "assert_value": True})
    assert not right.holds({"env_type": "user", "func_name": "assert_airplane_mode_status",
                            "arguments": {"expected_status": True}, "assert_value": True})


@pytest.mark.parametrize(("action", "call", "same"), [
    ({"name": "f", "arguments": {"a": 2.0}}, {"name": "f", "arguments": {"a": 2}}, True),
    ({"name": "f", "arguments": {"a": 2.0}}, {"name": "f", "arguments": {"a": 2, "b": 1}}, False),
    ({"name": "f", "arguments": {"a": 1, "b": 2}, "compare_args": ["b"]}, {"name": "f", "arguments": {"b": 2}}, True),
    ({"name": "f", "arguments": {"a": 1, "b": 2}, "compare_args": ["b"]}, {"name": "f", "arguments": {"a": 1}}, False),
    ({"name": "f", "arguments": {"a": 1}, "compare_args": []}, {"name": "f", "arguments": {}}, True),
    ({"name": "f", "arguments": {"a": [1, 2]}}, {"name": "f", "arguments": {"a": [2, 1]}}, True),
    ({"name": "f", "arguments": {"a": [1, 2]}}, {"name": "f", "arguments": {"a": [2, 2]}}, False),
    ({"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}, False),
    ({"name": "transfer_to_human_agents", "arguments": {"summary": "x"}},
     {"name": "transfer_to_human_agents", "arguments": {"summary": "y"}}, True),
])  # fmt: skip
def test_when_a_call_is_the_action(action: dict[str, Any], call: dict[str, Any], same: bool) -> None:
    assert tau2_telecom.matches(action, ToolCall(**call)) == same


def played(agent: Any, user: Any, at: int = 0, **setting: Any) -> Any:
    return tau2_telecom.play(case(at), agent, user, Setting(**{"max_tokens": 4096, **setting}), 0, 0)


def test_how_dialogues_end() -> None:
    stop = "###STOP###"
    assert played(says("How can I help?"), says("Hello", stop)).grade.status == "failed"
    assert played(says("x"), says(stop)).grade.status == "invalid"
    assert played(says(), says(), turns=6).grade.status == "budget"
    assert played(says(*["word " * 9] * 9), says(), max_tokens=12).grade.status == "budget"
    for agent, user in ((Down(), says("Hello")), (says("x"), Down())):
        assert played(agent, user).grade.status == "infra"


def test_the_users_tokens_and_calls_are_its_own() -> None:
    task = case()
    agent, user = tau2_telecom.by_the_book(task)
    attempt = tau2_telecom.play(task, agent, user, Setting(4096), 0, 0)
    assert attempt.grade.solved
    calls = sum(message.role == "tool" for message in attempt.trajectory.messages)
    assert calls == len(task.target["criteria"]["actions"])
    assert attempt.trajectory.usage == Usage(output_tokens=1)  # "Done."
    assert attempt.others["user"].output_tokens == 1 + calls + 1  # "Hello.", the calls, the stop


def test_a_side_does_not_see_the_others_tools() -> None:
    seen: list[Sequence[Message]] = []

    def watch(messages: Sequence[Message]) -> Message:
        seen.append(list(messages))
        return Message(role="assistant", content="Done.")

    task = case()
    _, user = tau2_telecom.by_the_book(task)
    tau2_telecom.play(task, ScriptedClient(None, watch, "agent"), user, Setting(4096), 0, 0)
    assert {message.role for message in seen[-1]} == {"system", "user"}


def test_other_tasks_are_refused(tmp_path: Path) -> None:
    row: dict[str, Any] = {"id": "x", "user_scenario": {"instructions": "i"}, "initial_state": {}}
    for criteria, words in (({"reward_basis": ["DB"]}, "also graded by DB"), (None, "")):
        write_json(tmp_path / "tasks.json", [{**row, "evaluation_criteria": criteria}])
        if words:
            with pytest.raises(BadInput, match=words):
                tau2_telecom.load(tmp_path / "tasks.json")
    with pytest.raises(BadInput, match=r"no split_tasks\.json"):
        tau2_telecom.load(tmp_path)
    write_json(tmp_path / "tasks.json", [{"id": "x"}])
    with pytest.raises(BadInput, match="is no task of tau2-bench"):
        tau2_telecom.load(tmp_path / "tasks.json")


@pytest.mark.slow
def test_the_published_tasks_are_solved_by_their_own_actions() -> None:
    path, words = tau2_telecom.real()
    assert "split base" in words
    gold, wrong = tau2_telecom.check(path)
    assert (len(gold), sum(gold), sum(wrong)) == (114, 114, 0)


def test_the_published_tasks_are_the_default() -> None:
    path, words = data_of([get_suite("tau2-telecom")], [])["tau2-telecom"]
    assert words == f"{tau2.PACKAGE.pin}, split base"
    assert len(tau2_telecom.load(path)) == 114


def test_the_version_of_the_dialogue_is_part_of_the_identity() -> None:
    assert tau2_telecom.harness(Setting(1))["version"] == dialogue.VERSION
