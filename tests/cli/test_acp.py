"""`vivace acp` as an editor meets it: a real process driven by the SDK's client, against a scripted endpoint."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import acp
import pytest
from acp.schema import (
    AllowedOutcome,
    ClientCapabilities,
    DeniedOutcome,
    FileSystemCapabilities,
    ReadTextFileResponse,
    RequestPermissionResponse,
    ResourceContentBlock,
)
from terminal import environment

from harness.calc_repo import FILES, write_tree
from harness.fault_server import FaultServer, chat_events, faulty

OPS = "calc/ops.py"
ADD = ("replace_string_in_file", json.dumps({"filePath": f"/workspace/{OPS}", "oldString": "return a - b",
                                             "newString": "return a + b"}))  # fmt: skip
FIXED = FILES[OPS].replace("a - b", "a + b")


def shell(line: str) -> tuple[str, str]:
    return "run_in_terminal", json.dumps({"command": line, "explanation": "", "goal": "", "mode": "sync"})


def reply(content: str, *calls: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"events": chat_events(content, *calls, usage={"prompt_tokens": 1000, "completion_tokens": 50}), **more}


class Editor:
    """The other side: remembers what it is told, and answers permissions with `answers` (an id, or None to cancel)."""

    def __init__(self, *answers: str | None) -> None:
        self.answers, self.asked, self.told = list(answers), list[Any](), list[Any]()
        self.buffers: dict[str, str] = {}
        self.arrived = asyncio.Event()

    async def session_update(self, session_id: str, update: Any, **more: Any) -> None:
        self.told.append(update)
        self.arrived.set()

    async def request_permission(self, session_id: str, tool_call: Any, options: Any, **more: Any) -> Any:
        self.asked.append((tool_call, [option.option_id for option in options]))
        answer = self.answers.pop(0)
        if answer is None:
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        return RequestPermissionResponse(outcome=AllowedOutcome(outcome="selected", option_id=answer))

    async def read_text_file(self, session_id: str, path: str, **more: Any) -> ReadTextFileResponse:
        if path not in self.buffers:
            raise acp.RequestError.resource_not_found(path)
        return ReadTextFileResponse(content=self.buffers[path])

    def on_connect(self, conn: Any) -> None:
        pass

    def kinds(self) -> list[str]:
        found: list[str] = []
        for update in self.told:
            if not found or found[-1] != update.session_update:
                found.append(update.session_update)
        return found

    def said(self, kind: str) -> str:
        return "".join(one.content.text for one in self.told if one.session_update == kind)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(90):
            while not condition():
                self.arrived.clear()
                await self.arrived.wait()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "calc", {**FILES, "Makefile": "all:\n\ttrue\n"})


@asynccontextmanager
async def agent(
    editor: Editor, server: FaultServer, tmp_path: Path, *more: str, files: bool = False
) -> AsyncIterator[Any]:
    command = ["-c", "from vivace.cli import main; main()", "acp", "--base-url", server.url, "--model", "tiny", *more]
    env = {**acp.default_environment(), **environment(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    with (tmp_path / "errors").open("wb") as errors:
        async with acp.spawn_agent_process(editor, sys.executable, *command, env=env,
                                           transport_kwargs={"stderr": errors}) as (conn, process):
            able = ClientCapabilities(fs=FileSystemCapabilities(read_text_file=files, write_text_file=False))
            started = await conn.initialize(protocol_version=acp.PROTOCOL_VERSION, client_capabilities=able)
            assert started.agent_info.name == "vivace"
            assert started.agent_capabilities.load_session
            yield conn
    assert process.returncode is not None


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(300):
            await scenario

    asyncio.run(limited())


def ask(conn: Any, session: str, text: str) -> Any:
    return conn.prompt(session_id=session, prompt=[acp.text_block(text)])


def test_a_turn_with_an_edit(repo: Path, tmp_path: Path) -> None:
    """Streamed words, a call from pending to completed with its diff, a question before the file is written, and the
    whole of it again after loading the session in another process."""

    async def scenario() -> None:
        editor = Editor("once")
        with faulty([reply("I mend it.\nNow.", ADD), reply("Mended.")]) as server:
            async with agent(editor, server, tmp_path) as conn:
                new = await conn.new_session(cwd=str(repo), mcp_servers=[])
                assert [mode.id for mode in new.modes.available_modes] == ["agent", "auto", "ask", "plan"]
                assert "sandbox: workspace-write in " in new.modes.available_modes[0].description
                done = await ask(conn, new.session_id, "mend add")
                assert (done.stop_reason, done.usage.output_tokens) == ("end_turn", 100)
            assert (repo / OPS).read_text() == FIXED
            assert editor.said("agent_message_chunk") == "I mend it.\nNow.Mended."
            assert editor.said("agent_thought_chunk").startswith("sandbox: workspace-write in ")
            start, = [one for one in editor.told if one.session_update == "tool_call"]
            assert (start.kind, start.status, start.locations[0].path) == ("edit", "pending", str(repo / OPS))
            steps = [one for one in editor.told if one.session_update == "tool_call_update"]
            assert [(one.tool_call_id, one.status) for one in steps] == [
                (start.tool_call_id, "in_progress"), (start.tool_call_id, "completed")]
            diff = steps[-1].content[0]
            assert (diff.path, diff.old_text, diff.new_text) == (str(repo / OPS), FILES[OPS], FIXED)
            asked, options = editor.asked[0]
            assert (asked.title, options) == (f"Write {OPS}", ["once", "always", "no"])
            assert asked.content[0].new_text == FIXED
            again = Editor()
            async with agent(again, server, tmp_path) as conn:
                listed = await conn.list_sessions(cwd=str(repo))
                assert [(one.session_id, one.title) for one in listed.sessions] == [(new.session_id, "mend add")]
                await conn.load_session(cwd=str(repo), session_id=new.session_id, mcp_servers=[])
                assert again.kinds() == ["user_message_chunk", "agent_message_chunk", "tool_call",
                                         "agent_message_chunk", "available_commands_update"]
                assert again.said("user_message_chunk") == "mend add"
                await ask(conn, new.session_id, "/undo")
            assert (repo / OPS).read_text() == FILES[OPS]

    run(scenario())


def test_permissions_follow_the_policy(repo: Path, tmp_path: Path) -> None:
    """A command under "untrusted" is asked about; what runs later is asked about even in the mode that writes by
    itself, and never for good."""

    async def scenario() -> None:
        editor = Editor("no", "always", "no")
        calls = [shell("touch one"), shell("touch two"), shell("touch two x"), shell("echo evil >> Makefile")]
        editor.answers.insert(2, "once")
        with faulty([reply("", *calls), reply("Done."), reply("I see.")]) as server:
            async with agent(editor, server, tmp_path, "--approval", "untrusted") as conn:
                session = (await conn.new_session(cwd=str(repo), mcp_servers=[])).session_id
                await conn.set_session_mode(session_id=session, mode_id="auto")
                await ask(conn, session, "go")
                assert [options for _, options in editor.asked] == [
                    ["once", "always", "no"], ["once", "always", "no"], ["once", "always", "no"], ["once", "no"]]
                assert editor.asked[-1][0].title == "Write Makefile (make runs it, outside the sandbox)"
                statuses = [one.status for one in editor.told if one.session_update == "tool_call_update"]
                assert statuses.count("failed") == 1
                await ask(conn, session, "and?")
            assert "The user did not take these of your changes" in server.requests[-1]["messages"][-1]["content"]
        assert (repo / "two").exists()
        assert not (repo / "one").exists()
        assert "evil" not in (repo / "Makefile").read_text()

    run(scenario())


def test_cancelled_while_it_talks_runs_and_asks(repo: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        editor = Editor(None)
        replies = [reply("word " * 100, pause=3.0), reply("", shell("sleep 100")), reply("", ADD), reply("Mended."),
                   reply("Still there.")]  # fmt: skip
        with faulty(replies) as server:
            async with agent(editor, server, tmp_path) as conn:
                session = (await conn.new_session(cwd=str(repo), mcp_servers=[])).session_id
                turn = asyncio.create_task(ask(conn, session, "talk"))
                await editor.until(lambda: "word" in editor.said("agent_message_chunk"))
                await conn.cancel(session_id=session)
                assert (await turn).stop_reason == "cancelled"
                turn = asyncio.create_task(ask(conn, session, "sleep"))
                await editor.until(lambda: any(getattr(one, "status", "") == "in_progress" for one in editor.told))
                with pytest.raises(acp.RequestError, match="under way"):
                    await ask(conn, session, "at the same time")
                await conn.cancel(session_id=session)
                assert (await turn).stop_reason == "cancelled"
                assert (await ask(conn, session, "mend")).stop_reason == "end_turn"  # the question was withdrawn
                assert (repo / OPS).read_text() == FILES[OPS]
                editor.answers.append("once")  # asked again with the next turn
                await ask(conn, session, "well?")
                assert (repo / OPS).read_text() == FIXED

    run(scenario())


def test_unsaved_changes_are_not_written_over(repo: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        editor = Editor("once")
        editor.buffers[str(repo / OPS)] = FILES[OPS] + "# mine\n"
        with faulty([reply("", ADD), reply("Mended."), reply("Again.")]) as server:
            async with agent(editor, server, tmp_path, files=True) as conn:
                session = (await conn.new_session(cwd=str(repo), mcp_servers=[])).session_id
                await ask(conn, session, "mend")
                assert (repo / OPS).read_text() == FILES[OPS]
                assert "unsaved changes" in editor.said("agent_thought_chunk")
                editor.buffers[str(repo / OPS)] = FILES[OPS]
                await ask(conn, session, "now")
        assert (repo / OPS).read_text() == FIXED

    run(scenario())


def test_ask_mode_effort_and_linked_files(repo: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        editor = Editor()
        with faulty([reply("It adds.")]) as server:
            async with agent(editor, server, tmp_path) as conn:
                session = (await conn.new_session(cwd=str(repo), mcp_servers=[])).session_id
                await conn.set_session_mode(session_id=session, mode_id="ask")
                now = await conn.set_config_option(session_id=session, config_id="effort", value="low")
                assert now.config_options[0].current_value == "low"
                link = ResourceContentBlock(type="resource_link", name="ops", uri=(repo / OPS).as_uri())
                await conn.prompt(session_id=session, prompt=[acp.text_block("what is this? "), link])
            sent = server.requests[0]
        assert sent["reasoning_effort"] == "low"
        assert "replace_string_in_file" not in {tool["function"]["name"] for tool in sent["tools"]}
        assert f"`{OPS}`" in sent["messages"][-1]["content"]

    run(scenario())


def test_mistakes_are_errors_of_the_protocol(tmp_path: Path) -> None:
    mistakes: list[tuple[str, dict[str, Any], str]] = [
        ("new_session", {"cwd": "relative", "mcp_servers": []}, "absolute path"),
        ("new_session", {"cwd": "/nonexistent", "mcp_servers": []}, "absolute path"),
        ("load_session", {"cwd": "/tmp", "session_id": "nothing", "mcp_servers": []}, "no session"),
        ("prompt", {"session_id": "nothing", "prompt": [acp.text_block("x")]}, "not open"),
    ]

    async def scenario() -> None:
        with faulty([]) as server:
            async with agent(Editor(), server, tmp_path) as conn:
                for method, arguments, message in mistakes:
                    with pytest.raises(acp.RequestError, match=message):
                        await getattr(conn, method)(**arguments)

    run(scenario())


def test_an_endpoint_that_fails_is_an_error_and_the_session_goes_on(repo: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        editor = Editor()
        with faulty([{"status": 401, "body": "no"}, reply("Here.")]) as server:
            async with agent(editor, server, tmp_path) as conn:
                session = (await conn.new_session(cwd=str(repo), mcp_servers=[])).session_id
                with pytest.raises(acp.RequestError, match="key"):
                    await ask(conn, session, "hello")
                assert (await ask(conn, session, "hello")).stop_reason == "end_turn"

    run(scenario())
