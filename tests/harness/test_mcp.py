"""Tool servers: a real one, written with the official SDK, on its standard streams."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.calc_repo import FILES, call, script, write_tree
from vivace.core.types import Message
from vivace.harness.agent import run_agent
from vivace.harness.clients.scripted import ScriptedClient
from vivace.harness.limits import Limits
from vivace.harness.mcp import ToolServers
from vivace.harness.policy.config import Server
from vivace.harness.policy.gate import Answer, Gate, Request
from vivace.harness.policy.policy import Policy
from vivace.harness.tools.registry import get_profile

SERVER = '''
import os
from mcp.server.mcpserver import MCPServer

server = MCPServer("weather")


@server.tool()
def forecast(city: str, days: int = 1) -> str:
    """The weather of a city."""
    return f"{city}: sun for {days} days, secret {os.environ.get('GITHUB_TOKEN')}, given {os.environ.get('GIVEN')}"


@server.tool()
def broken() -> str:
    """Always fails."""
    raise ValueError("no weather today")


server.run()
'''


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Server]:
    monkeypatch.setenv("VIVACE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("GITHUB_TOKEN", "hush")
    path = tmp_path / "weather.py"
    path.write_text(SERVER)
    return {"sky": Server(command=sys.executable, args=[str(path)], env={"GIVEN": "x"}),
            "gone": Server(command=str(tmp_path / "nothing"))}


def test_tools_of_a_server_under_the_policy(servers: dict[str, Server], tmp_path: Path) -> None:
    """In the schemas, asked about, without the user's secrets; a server that does not start is said, not fatal."""
    repo = write_tree(tmp_path / "calc", FILES)
    asked: list[Request] = []

    def user(request: Request) -> Answer:
        asked.append(request)
        return "no" if len(asked) == 1 else "always"

    name = "mcp_sky_forecast"
    seen: list[str] = []

    class Client(ScriptedClient):
        def complete(self, messages, *, tools, sampling, prompt_ids=()):  # type: ignore[no-untyped-def]
            seen[:] = [tool["function"]["name"] for tool in tools]
            return super().complete(messages, tools=tools, sampling=sampling, prompt_ids=prompt_ids)

    calls = [call(name, city="Oslo"), call(name, city="Oslo", days=2), call(name, city="Rome"), call(name),
             call("mcp_sky_broken"), call("mcp_sky_nothing")]  # fmt: skip
    client = Client(None, script(*calls, Message(role="assistant", content="done")))
    with ToolServers(servers, repo) as running:
        assert [problem.split(":")[0] for problem in running.problems] == ["the tool server gone does not run"]
        tool = running.tools[0]
        assert tool.schema is not None
        assert tool.schema["required"] == ["city"]
        done = run_agent("weather?", repo, client, Limits(), lambda diff: True, gate=Gate(Policy(), user),
                         more_tools=running.tools)
        told = [message.content for message in done.messages if message.role == "tool"]
        trusting = Gate(Policy(approval="never", servers=frozenset({"sky"})))
        for gate, word in ((Gate(Policy(approval="never")), "not run"), (trusting, "sun for 1 days")):
            again = ScriptedClient(None, script(call(name, city="Oslo"), Message(role="assistant", content="done")))
            short = run_agent("weather?", repo, again, Limits(), lambda diff: True, gate=gate, more_tools=running.tools)
            assert word in short.messages[3].content
    assert {name, "mcp_sky_broken"} < set(seen)
    assert "not run: the user did not allow it" in told[0]
    assert told[1] == "Oslo: sun for 2 days, secret None, given x"
    assert told[2].startswith("Rome: sun for 1 days")
    assert told[3].startswith("ERROR")
    assert told[4] == "ERROR: Error executing tool broken"  # the SDK keeps the reason to itself
    assert "no tool 'mcp_sky_nothing'" in told[5]
    assert [request.what.split()[0] for request in asked] == [name, name, "mcp_sky_broken"]
    assert done.outcomes[1].tool == name
    assert done.hashes["tools"] != get_profile("copilot").hash()


def test_no_servers_start_nothing(tmp_path: Path) -> None:
    with ToolServers({}, tmp_path) as running:
        assert running.tools == ()
