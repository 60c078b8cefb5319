"""A front end takes part in an attempt: it is told everything in order, can refuse, steer, stop and go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
from calc_repo import TASK, call, script

from vivace.core.types import Message, Segment, ToolCall, Trajectory
from vivace.harness.calls import run_calls
from vivace.harness.clients.scripted import ScriptedClient
from vivace.harness.environment import Environment
from vivace.harness.hooks import Event, Hooks, Past
from vivace.harness.loop import Limits, run
from vivace.harness.tools.base import Context, Result, Tool
from vivace.harness.tools.read_file import ReadFileArgs
from vivace.harness.tools.registry import TOOLS, get_profile
from vivace.sandbox import Workspace

QUESTION = TASK.model_copy(update={"problem_statement": "Say hello", "FAIL_TO_PASS": [], "PASS_TO_PASS": []})
EDIT = call("replace_string_in_file", filePath="calc/ops.py", oldString="return a - b", newString="return a + b")
LOOK = call("read_file", filePath="/workspace/README.md", startLine=1, endLine=9)
SAY = Message(role="assistant", content="Done.")


class Recorder(Hooks):
    def __init__(self, lines: Sequence[str] = (), stop_after: int = 99, refuse: str = "") -> None:
        self.events: list[Event] = []
        self.messages: list[Message] = []
        self.lines, self.stop_after, self.refuse = list(lines), stop_after, refuse

    def event(self, event: Event) -> None:
        self.events.append(event)

    def recorded(self, message: Message, workspace: Workspace, piece: Segment) -> None:
        self.messages.append(message)

    def refusal(self, call: ToolCall, workspace: Workspace) -> str | None:
        return "the user said no" if call.name == self.refuse else None

    def steering(self) -> Sequence[str]:
        taken, self.lines = self.lines, []
        return taken

    def stopped(self) -> bool:
        return sum(m.role == "assistant" for m in self.messages) >= self.stop_after


def attempt(env: Environment, hooks: Hooks, *answers: Message, profile: str = "copilot") -> Trajectory:
    return run(QUESTION, env, ScriptedClient(None, script(*answers)), Limits(), profile=profile, hooks=hooks)


def test_everything_is_told_in_order_and_as_recorded(env: Environment) -> None:
    hooks = Recorder()
    done = attempt(env, hooks, LOOK, EDIT, SAY)
    assert [e.type for e in hooks.events] == [
        "usage", "message", "tool_call", "tool_result", "usage", "message", "tool_call", "tool_result", "usage",
        "message"]  # fmt: skip
    assert hooks.messages == done.messages
    assert hooks.events[-2].usage == done.usage
    result = next(e for e in hooks.events if e.type == "tool_result")
    assert (result.kind, result.text) == ("ok", done.messages[3].content)
    assert '"turn"' not in hooks.events[0].line()
    assert Event.model_validate_json(result.line()) == result


def test_a_refused_call_is_not_run_and_the_model_is_told(env: Environment) -> None:
    done = attempt(env, Recorder(refuse="replace_string_in_file"), EDIT, SAY)
    assert done.patch == ""
    assert done.messages[3].content == "ERROR: the user said no"
    assert done.outcomes[0].kind == "refused"


def test_what_the_user_types_is_read_next_and_keeps_the_attempt_alive(env: Environment) -> None:
    done = attempt(env, Recorder(["and the README?"]), SAY, LOOK, SAY)
    assert [m.role for m in done.messages] == ["system", "user", "assistant", "user", "assistant", "tool", "assistant"]
    assert done.messages[3].content == "and the README?"
    assert done.stop_reason == "complete"


def test_stopping_ends_between_answers_with_all_results_recorded(env: Environment) -> None:
    done = attempt(env, Recorder(stop_after=1), LOOK, SAY)
    assert done.stop_reason == "cancelled"
    assert [m.role for m in done.messages] == ["system", "user", "assistant", "tool"]


def test_a_conversation_goes_on_where_it_was(env: Environment) -> None:
    first = attempt(env, Recorder(), LOOK, SAY)

    class GoingOn(Recorder):
        def history(self) -> Past:
            return Past([*first.messages, Message(role="user", content="Now fix add")])

    hooks = GoingOn()
    second = attempt(env, hooks, LOOK, SAY, EDIT, SAY)  # the script counts the answers of the first part too
    assert second.messages[: len(first.messages)] == first.messages
    assert "+    return a + b" in second.patch
    assert hooks.messages == second.messages[len(first.messages) + 1 :]


def test_looks_run_side_by_side_and_changes_do_not(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look waits for the other two: one after the other, the barrier would break."""
    barrier = threading.Barrier(3)

    def meet(args: ReadFileArgs, ctx: Context) -> Result:
        barrier.wait(20)
        return Result(args.filePath)

    monkeypatch.setitem(TOOLS, "read_file", Tool("read_file", "", ReadFileArgs, meet, read_only=True))
    calls = [ToolCall(name="read_file", arguments={"filePath": str(n)}) for n in range(3)]
    last = ToolCall(name="manage_todo_list", arguments={"todoList": []})
    found = list(run_calls([*calls, last], get_profile("copilot"), Context(env), 0, Hooks()))
    assert [result.text for _, result, _ in found[:3]] == ["0", "1", "2"]
    assert [c for c, _, _ in found] == [*calls, last]


def test_a_call_is_run_only_when_its_turn_comes(env: Environment) -> None:
    made = [ToolCall(name="create_file", arguments={"filePath": f"new{n}.txt", "content": "x"}) for n in range(2)]
    next(run_calls(made, get_profile("copilot"), Context(env), 0, Hooks()))
    assert [f for f in env.workspace.files() if f.startswith("new")] == ["new0.txt"]


@pytest.mark.parametrize("profile", ["ask", "plan", "explore", "nano-ask"])
def test_profiles_that_answer_cannot_change_anything(env: Environment, profile: str) -> None:
    done = attempt(env, Hooks(), EDIT, call("run_in_terminal", command="touch x"), SAY, profile=profile)
    assert {o.kind for o in done.outcomes} == {"unknown_tool"}
    assert env.workspace.changed_files() == []


def test_mini_has_a_shell_and_nothing_else(env: Environment) -> None:
    done = attempt(env, Hooks(), call("bash", command="sed -i 's/a - b/a + b/' calc/ops.py; echo ok"), SAY,
                   profile="mini")  # fmt: skip
    assert done.messages[3].content == "ok"
    assert "+    return a + b" in done.patch


def test_a_sub_agent_looks_in_a_conversation_of_its_own(env: Environment) -> None:
    def policy(messages: Sequence[Message]) -> Message:
        asked = next(m for m in messages if m.role == "user").content
        answered = sum(m.role == "assistant" for m in messages)
        if asked == "Where is mean?":
            return [EDIT, call("runSubagent", prompt="deeper", description=""), SAY][answered]
        return [call("runSubagent", prompt="Where is mean?", description="find"), SAY][answered]

    done = run(QUESTION, env, ScriptedClient(None, policy), Limits())
    assert [m.role for m in done.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert done.messages[3].content == "Done."
    assert env.workspace.changed_files() == []
    assert done.usage.output_tokens > 4  # the three answers of the sub-agent count


def tool(env: Environment, name: str, ctx: Context | None = None, **arguments: object) -> tuple[str, str]:
    result, outcome = get_profile("copilot").call(ToolCall(name=name, arguments=arguments), ctx or Context(env))
    return outcome.kind, result.text


def test_changed_files_and_plan(env: Environment) -> None:
    assert tool(env, "get_changed_files") == ("no_results", "No changed files found")
    env.workspace.write_text("README.md", "new\n")
    assert "+new" in tool(env, "get_changed_files")[1]
    assert tool(env, "get_changed_files", sourceControlState=["staged"])[0] == "no_results"
    ctx = Context(env)
    items = [{"id": n, "title": "t", "status": "not-started"} for n in range(4)]
    assert tool(env, "manage_todo_list", ctx, todoList=items) == ("ok", "Successfully wrote todo list.")
    done = [{**item, "status": "completed"} for item in items]
    assert "4 items changed at once" in tool(env, "manage_todo_list", ctx, todoList=done)[1]
    assert "1 items" in tool(env, "manage_todo_list", ctx, todoList=items[:1])[1]
    assert tool(env, "manage_todo_list", todoList=[{"id": 1, "title": "t", "status": "later"}])[0] == "invalid_input"


def test_a_file_that_changed_since_it_was_read(make_env: Callable[[dict[str, str]], Environment]) -> None:
    env = make_env({"a.txt": "one\n    two\nthree\n"})
    ctx = Context(env)
    tool(env, "read_file", ctx, filePath="a.txt")
    env.workspace.write_text("a.txt", "one\n    two \nfour\n")  # a formatter, say
    kind, text = tool(env, "replace_string_in_file", ctx, filePath="a.txt", oldString="two\nfour", newString="x\nfour")
    assert (kind, "Read it again" in text) == ("stale", True)
    exact = {"filePath": "a.txt", "oldString": "four", "newString": "five"}
    assert tool(env, "replace_string_in_file", ctx, **exact)[0] == "ok"  # the very text is there, once
    loose = {"filePath": "a.txt", "oldString": "two\nfive", "newString": "x\nfive"}
    assert tool(env, "replace_string_in_file", ctx, **loose)[0] == "ok_trailing_blanks"  # the edit has shown the file
