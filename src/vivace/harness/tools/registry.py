"""The one registry: which tools a profile has, their schemas, how a call is validated and run, and a hash of it all.

A profile is a naming and rendering layer over the same implementations.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from vivace.core.errors import BadInput
from vivace.core.files import digest
from vivace.core.types import ToolCall, ToolOutcome
from vivace.harness.tools import (
    bash,
    copilot_cli,
    create_file,
    file_search,
    get_changed_files,
    get_errors,
    get_terminal_output,
    grep_search,
    kill_terminal,
    list_dir,
    manage_todo_list,
    multi_replace_string_in_file,
    read_file,
    replace_string_in_file,
    run_in_terminal,
    run_subagent,
    run_tests,
    send_to_terminal,
    task_complete,
)
from vivace.harness.tools.base import KINDS, Context, Result, Tool, ToolError
from vivace.harness.tools.coerce import CoercionError, coerce, json_schema, visible_fields
from vivace.harness.tools.terminals import news

RESULTS_VERSION = 5
"""Raised whenever the text of any result changes, so that trajectories made before and after are told apart."""

INVALID_JSON = "_invalid_json"
"""Argument name under which a client hands over arguments that were not JSON."""

_MODULES = (
    read_file, list_dir, file_search, grep_search, get_errors, get_changed_files, create_file, replace_string_in_file,
    multi_replace_string_in_file, run_in_terminal, get_terminal_output, send_to_terminal, kill_terminal, run_tests,
    manage_todo_list, run_subagent, task_complete, bash,
)  # fmt: skip
LOOKING = ("read_file", "list_dir", "file_search", "grep_search", "get_errors", "get_changed_files")
TOOLS: dict[str, Tool] = {module.TOOL.name: module.TOOL for module in _MODULES}


@dataclass(frozen=True)
class Profile:
    """A set of tools and a form of results. `terse` is for small context windows: short results, relative paths.

    `shown` narrows the parameters in a tool's signature; those left out are still accepted. `purpose` chooses the words
    that the model reads first: whether it is to change something, or to answer.
    """

    name: str
    tools: tuple[str, ...]
    terse: bool = False
    shown: dict[str, tuple[str, ...]] = field(default_factory=dict)
    purpose: Literal["work", "answer", "plan"] = "work"
    table: Mapping[str, Tool] = field(default_factory=lambda: TOOLS, repr=False)
    """What the names stand for."""
    more: tuple[Tool, ...] = ()
    """Tools beside those named in `tools`: of tool servers."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all its tools."""
        return tuple(tool.name for tool in self._tools())

    def parallel(self, name: str) -> bool:
        """Whether calls of this tool may run side by side with others of that sort."""
        return name in self.tools and self.table[name].read_only and name != "task_complete"

    def schemas(self) -> list[dict[str, Any]]:
        """The tools in the form of the chat completions API."""
        return [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.schema or json_schema(tool.args, tool.required),
                },
            }
            for tool in self._tools()
        ]

    def signatures(self) -> str:
        """The tools as one line each, for a native model: `name(required, optional?)`."""
        return "\n".join(f"{tool.name}({', '.join(self._parameters(tool))})" for tool in self._tools())

    def hash(self) -> str:
        """Names every property of the tools that a model could notice."""
        parts = [self.name, self.terse, self.schemas(), self.signatures(), KINDS, RESULTS_VERSION]
        return digest(parts)

    def call(self, call: ToolCall, ctx: Context, turn: int = 0) -> tuple[Result, ToolOutcome]:
        """Validate and run one call. What goes wrong in it becomes a result that starts with ERROR.

        Raises:
            InfraError: the sandbox failed; the call has no outcome.
        """
        start = time.monotonic()
        try:
            result = self._run(call, ctx)
        except ToolError as error:
            result = Result(f"ERROR: {error.text}", error.kind)
        if self._has_background and (told := news(ctx)):
            result = replace(result, text=result.text + told)
        known = call.name if call.name in self.names else "unknown"
        seconds = round(time.monotonic() - start, 4)
        return result, ToolOutcome(tool=known, kind=result.kind, seconds=seconds, turn=turn)

    def _run(self, call: ToolCall, ctx: Context) -> Result:
        tool = next((one for one in self._tools() if one.name == call.name), None)
        if tool is None:
            raise ToolError("unknown_tool", f"no tool {call.name[:40]!r}; the tools are {', '.join(self.names)}")
        if INVALID_JSON in call.arguments:
            raise ToolError("invalid_input", f"the arguments of {tool.name} are not valid JSON; check your input")
        given = {tool.aliases.get(name, name): value for name, value in call.arguments.items()}
        try:
            args = coerce(tool.args, given) if tool.schema is None else tool.args.model_validate(given)
        except CoercionError as error:
            advice = "" if self.terse else ". Check your input and try again."
            raise ToolError("invalid_input", f"{error}{advice}") from None
        with ctx.env.guard(tool, args, ctx) if ctx.env.guard else nullcontext():
            result = tool.run(args, ctx)
        unknown = [name for name in given if name not in tool.args.model_fields and tool.schema is None]
        if unknown and not self.terse:
            note = f"(Ignored unknown parameters: {', '.join(unknown)[:80]})"
            return replace(result, text=f"{result.text}\n{note}")
        return result

    @property
    def _has_background(self) -> bool:
        return any(name in self.tools for name in ("get_terminal_output", "read_bash"))

    def _tools(self) -> list[Tool]:
        return [*(self.table[name] for name in self.tools), *self.more]

    def _parameters(self, tool: Tool) -> list[str]:
        if tool.name in self.shown:
            return list(self.shown[tool.name])
        return [name if name in tool.required else f"{name}?" for name in visible_fields(tool.args)]


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("copilot", tuple(name for name in TOOLS if name != "bash")),
        Profile("copilot-cli", tuple(copilot_cli.TOOLS), table=copilot_cli.TOOLS),
        Profile("mini", ("bash",)),
        Profile("explore", LOOKING, purpose="answer"),
        Profile("ask", (*LOOKING, "runSubagent"), purpose="answer"),
        Profile("plan", (*LOOKING, "manage_todo_list", "runSubagent"), purpose="plan"),
        Profile("nano-ask", ("grep_search", "read_file"), terse=True, purpose="answer",
                shown={"grep_search": ("query", "includePattern"), "read_file": ("filePath", "startLine")}),
        Profile(
            "nano",
            ("grep_search", "read_file", "replace_string_in_file", "runTests", "task_complete"),
            terse=True,
            shown={"grep_search": ("query", "includePattern"), "read_file": ("filePath", "startLine"), "runTests": (),
                   "task_complete": ()},
        ),
    )
}


def get_profile(name: str) -> Profile:
    """A profile by name.

    Raises:
        BadInput: there is none of that name.
    """
    if name not in PROFILES:
        raise BadInput(f"no tool profile {name!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
