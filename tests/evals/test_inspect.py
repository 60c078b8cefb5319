"""Inspect as runner: the same verdicts and tokens as our own, its logs, and our clients as its models."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_suites import Answers, plan

from vivace.core.errors import BadInput, InfraError
from vivace.core.files import read_jsonl
from vivace.core.types import Message, Sampling, ToolCall
from vivace.evals.session import Model, Plan, evaluate
from vivace.evals.status import shipped
from vivace.evals.suites import get_suite, tau2_telecom
from vivace.harness.clients.scripted import ScriptedClient

pytest.importorskip("inspect_ai")
pytestmark = pytest.mark.slow  # importing Inspect alone takes seconds


def same(rows: list[dict[str, Any]]) -> Any:
    """What must not depend on the runner."""
    return sorted((row["task_id"], row["sample"], row["grade"]["status"], row["trajectory"]["usage"]["output_tokens"],
                   [message["content"] for message in row["trajectory"]["messages"]]) for row in rows)


def logs(folder: Path) -> list[Any]:
    from inspect_ai.log import list_eval_logs, read_eval_log

    return sorted((read_eval_log(log) for log in list_eval_logs(str(folder))), key=lambda log: log.eval.model)


def test_both_runners_give_the_same_and_inspect_keeps_its_logs(tmp_path: Path) -> None:
    def made(out: str) -> Plan:
        clients = [Answers("gpqa-diamond", "wrong"), Answers("gpqa-diamond", "gold"),
                   Answers("gpqa-diamond", "gold", text="ANSWER: maybe", finish="length")]
        return plan(tmp_path / out, clients, suite="gpqa-diamond", repeats=2)

    own, _ = evaluate(made("own"))
    other, _ = evaluate(replace(made("other"), inspect=True))
    assert own["suites"]["gpqa-diamond"]["differences"] == other["suites"]["gpqa-diamond"]["differences"]
    for label in ("m0", "m1", "m2"):
        left, right = (list(read_jsonl(tmp_path / out / "gpqa-diamond" / label / "attempts.jsonl"))
                       for out in ("own", "other"))
        assert same(left) == same(right)
    held = logs(tmp_path / "other" / "inspect")
    assert [log.status for log in held] == ["success"] * 3
    gold = next(log for log in held if log.results.scores[0].metrics["accuracy"].value == 1.0)
    assert gold.eval.model == "vivace/gold"
    assert len(gold.samples) == 4
    assert gold.stats.model_usage["vivace/gold"].output_tokens == sum(
        row["trajectory"]["usage"]["output_tokens"] for row in read_jsonl(
            tmp_path / "other" / "gpqa-diamond" / "m1" / "attempts.jsonl"))
    again, _ = evaluate(replace(made("other"), inspect=True))
    assert again["suites"] == other["suites"]
    assert len(logs(tmp_path / "other" / "inspect")) == 3  # nothing was left to play


def test_an_agent_and_its_users_model_are_seen_apart(tmp_path: Path) -> None:
    task = tau2_telecom.load(shipped("tau2-telecom"))[1]

    def made(out: str, inspect: bool) -> Plan:
        agent, user = tau2_telecom.by_the_book(task)
        data = tmp_path / "one.json"
        rows = tau2_telecom._rows(shipped("tau2-telecom"))
        data.write_text(__import__("json").dumps([rows[1]]))
        return Plan([get_suite("tau2-telecom")], {"tau2-telecom": (data, "one")}, Model("agent", agent, {"n": 1}), [],
                    {"user": Model("user", user, {"n": 2})}, tmp_path / out, inspect=inspect)

    evaluate(made("own", False))
    evaluate(made("other", True))
    left, right = (list(read_jsonl(tmp_path / out / "tau2-telecom" / "agent" / "attempts.jsonl"))
                   for out in ("own", "other"))
    assert same(left) == same(right)
    assert left[0]["grade"]["status"] == "solved"
    sample = logs(tmp_path / "other" / "inspect")[0].samples[0]
    calls = [event for event in sample.events if type(event).__name__ == "ModelEvent"]
    assert {event.model for event in calls} == {"vivace/book", "vivace/book-user"}
    assert sample.model_usage["vivace/book-user"].output_tokens == right[0]["others"]["user"]["output_tokens"]
    asked = next(event for event in calls if event.model == "vivace/book")
    assert len(asked.tools) == 13


def test_what_fails_is_told_as_ever(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="m0 has no verdict on aime2026"):
        evaluate(replace(plan(tmp_path / "a", [Answers("aime2026", "gold", down=True)]), inspect=True))
    statuses = {row["grade"]["status"] for row in read_jsonl(tmp_path / "a" / "aime2026" / "m0" / "attempts.jsonl")}
    assert statuses == {"infra"}
    assert logs(tmp_path / "a" / "inspect")[0].results.scores[0].unscored_samples == 3


def test_inspects_own_tasks_can_ask_our_clients() -> None:
    import asyncio

    from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model
    from inspect_ai.tool import ToolInfo

    from vivace.evals.inspecting import provider

    seen: list[Any] = []

    class Client(ScriptedClient):
        def complete(self, messages: Any, *, tools: Any, sampling: Sampling, prompt_ids: Any = ()) -> Any:
            seen.append((messages, tools, sampling))
            return super().complete(messages, tools=tools, sampling=sampling)

    client = Client(None, lambda messages: Message(role="assistant", content="yes", tool_calls=[
        ToolCall(name="f", arguments={"a": 1}, id="c")]), "c")
    provider.openers[:] = [lambda name: client]
    try:
        model = get_model("vivace/some/folder", memoize=False)
        tool = ToolInfo.model_validate({"name": "f", "description": "d", "parameters": {
            "type": "object", "properties": {"a": {"type": "integer"}}}})
        output = asyncio.run(model.generate([ChatMessageUser(content="really?")], tools=[tool],
                                            config=GenerateConfig(max_tokens=7, temperature=0.5)))
    finally:
        provider.openers.clear()
    assert output.completion == "yes"
    assert output.message.tool_calls is not None
    assert output.message.tool_calls[0].arguments == {"a": 1}
    messages, tools, sampling = seen[0]
    assert [message.content for message in messages] == ["really?"]
    assert tools[0]["function"]["name"] == "f"
    assert (sampling.max_tokens, sampling.temperature) == (7, 0.5)
    with pytest.raises(BadInput, match="no model"):
        provider.ClientAPI("x")


def test_nothing_else_imports_inspect() -> None:
    code = ("import sys, vivace.cli, vivace.evals.session, vivace.evals.status\n"
            "assert 'inspect_ai' not in sys.modules and 'playwright' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(Path(__file__).parents[2] / "src")})
