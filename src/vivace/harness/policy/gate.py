"""Deciding about one call of a tool, before it is run and with its arguments as the tool will get them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from vivace.harness.policy.commands import only_looks, same_again
from vivace.harness.policy.policy import Policy
from vivace.harness.policy.protected import never, run_later
from vivace.harness.tools.base import Context, Tool, ToolError

Effect = Literal["look", "plan", "edit", "command", "test", "server"]
Answer = Literal["once", "always", "no"]
SERVER_PREFIX = "mcp_"
_EFFECTS: dict[str, Effect] = {
    **dict.fromkeys(("manage_todo_list", "runSubagent", "task_complete", "update_todo", "task", "ask_user", "think",
                     "report_intent", "vscode_askQuestions"), "plan"),
    **dict.fromkeys(("create_file", "replace_string_in_file", "multi_replace_string_in_file", "create", "edit",
                     "str_replace", "insert"), "edit"),
    **dict.fromkeys(("run_in_terminal", "bash", "send_to_terminal", "write_bash"), "command"),
    **dict.fromkeys(("get_terminal_output", "kill_terminal", "read_bash", "stop_bash", "list_bash"), "plan"),
    "runTests": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """A question to the user. `repeatable`: "always" is an answer, for what `same` names."""

    tool: str
    what: str
    why: str
    same: str = ""

    @property
    def repeatable(self) -> bool:
        return bool(self.same)


Approve = Callable[[Request], Answer]


def nobody(request: Request) -> Answer:
    """Where there is no one to ask."""
    return "no"


@dataclass
class Gate:
    """Holds `policy` at the tools of one session. `approve` asks the user, and may take its time."""

    policy: Policy
    approve: Approve = nobody
    allowed: set[str] = field(default_factory=set)
    """What the user has answered "always" to."""
    asked: list[tuple[Request, Answer]] = field(default_factory=list)

    @contextmanager
    def around(self, tool: Tool, args: Any, ctx: Context) -> Iterator[None]:
        """Let one call be run in the block, or raise.

        Raises:
            ToolError: the policy or the user does not allow it; the text is for the model.
        """
        kind = effect_of(tool)
        if kind in ("look", "plan"):
            yield
            return
        if request := self._question(kind, tool, args, ctx):
            self._ask(request)
        if self.policy.sandbox != "read-only":
            yield
            return
        before, mine = ctx.env.workspace.state_digest(), ctx.env.workspace.tree_changes()
        try:
            yield
        finally:
            if ctx.env.workspace.state_digest() != before:
                ctx.env.workspace.reset(mine)

    def _question(self, kind: Effect, tool: Tool, args: Any, ctx: Context) -> Request | None:
        policy = self.policy
        if kind == "edit":
            return self._edit(tool, args, ctx)
        if kind == "server":
            server = tool.name.removeprefix(SERVER_PREFIX).split("_", 1)[0]
            if server in policy.servers:
                return None
            what = f"{tool.name} {args.model_dump_json(exclude_defaults=True)[:500]}"
            return Request(tool.name, what, "it is run by a tool server, outside the sandbox", tool.name)
        line = " ".join(str(getattr(args, name, "")) for name in ("command", "input")).strip()
        if kind == "test":
            line = "runTests"
        if policy.sandbox == "read-only" and getattr(args, "mode", "sync") == "async":
            raise ToolError("refused", "the sandbox is read-only: commands do not go on in the background here")
        if policy.sandbox == "full":
            safe = tool.name in ("bash", "run_in_terminal") and only_looks(line, here=True)
            return None if safe else Request(tool.name, line, "it runs without a sandbox", self._same(kind, line))
        if policy.approval == "untrusted" and kind == "command" and not only_looks(line):
            return Request(tool.name, line, "it does more than look", self._same(kind, line))
        return None

    def _edit(self, tool: Tool, args: Any, ctx: Context) -> Request | None:
        if self.policy.sandbox == "read-only":
            raise ToolError("refused", "the sandbox is read-only: say what you would change, and where")
        for path in edited_paths(args, ctx):
            if why := never(path):
                raise ToolError("protected", f"{ctx.show(path)} {why} and is not for editing")
        for path in edited_paths(args, ctx):
            if why := run_later(path, self.policy.protected):
                return Request(tool.name, path, f"{why}, outside the sandbox")
        return None

    def _same(self, kind: Effect, line: str) -> str:
        return "runTests" if kind == "test" else same_again(line)

    def _ask(self, request: Request) -> None:
        policy = self.policy
        if request.same and request.same in self.allowed:
            return
        if policy.approval == "never":
            if policy.sandbox == "full" and request.tool in _EFFECTS and _EFFECTS[request.tool] != "edit":
                return  # --unattended was said
            answer: Answer = "no"
        else:
            answer = self.approve(request)
            self.asked.append((request, answer))
        if answer == "always" and request.repeatable:
            self.allowed.add(request.same)
        if answer == "no":
            who = "the policy does" if policy.approval == "never" or self.approve is nobody else "the user did"
            raise ToolError("refused", f"not run: {who} not allow it ({request.why}). Go on without it.")


def effect_of(tool: Tool) -> Effect:
    """What a tool may do; one that nobody has thought of counts as a command."""
    if tool.name.startswith(SERVER_PREFIX):
        return "server"
    if tool.read_only:
        return _EFFECTS.get(tool.name, "look")
    return _EFFECTS.get(tool.name, "command")


def edited_paths(args: Any, ctx: Context) -> list[str]:
    """Paths, relative to the workspace, that an edit names."""
    given = [args, *(getattr(args, "replacements", None) or [])]
    names = [str(getattr(one, name)) for one in given for name in ("filePath", "path") if getattr(one, name, None)]
    return [ctx.resolve(name) for name in names]
