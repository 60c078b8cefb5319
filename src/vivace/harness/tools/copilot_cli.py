"""The tools of the Copilot command line: other names and forms of the same ones."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from vivace.harness.tools import (
    create_file,
    file_search,
    grep_search,
    list_dir,
    manage_todo_list,
    read_file,
    replace_string_in_file,
    run_subagent,
    task_complete,
    terminals,
)
from vivace.harness.tools.base import Args, Context, Result, Tool, ToolError
from vivace.harness.tools.get_terminal_output import TerminalArgs

_TODO = re.compile(r"^\s*[-*]?\s*\[(?P<mark>[ xX~-])\]\s*(?P<title>.+)$")
_STATUS = {" ": "not-started", "x": "completed", "X": "completed", "~": "in-progress", "-": "in-progress"}


class BashArgs(Args):
    command: str = Field(description="The command to run, for a POSIX shell.")
    description: str = Field("", description="What the command does, in a few words.")
    mode: Literal["sync", "async"] = Field("sync", description="async is for servers and watchers: it returns an id.")
    initial_wait: int | None = Field(None, description="Seconds to wait in mode sync before the command is left to go "
                                                       "on in the background.")  # fmt: skip


def _bash(args: BashArgs, ctx: Context) -> Result:
    if args.mode == "async":
        return terminals.run_in_background(ctx, args.command)
    seconds = min(max(1.0, float(args.initial_wait or terminals.DEFAULT_SECONDS)), terminals.MOST_SECONDS)
    return terminals.run_or_leave(ctx, args.command, seconds)


class ShellArgs(Args):
    shellId: str = Field(description="The id that bash returned.")
    delay: int = Field(0, description="Seconds to wait first.")


def _read_bash(args: ShellArgs, ctx: Context) -> Result:
    terminals.find(ctx, args.shellId).wait(min(max(0, args.delay), 120))
    return terminals.state(ctx, args.shellId)


class WriteBashArgs(ShellArgs):
    input: str = Field("", description="The text to type; Enter is added.")


def _write_bash(args: WriteBashArgs, ctx: Context) -> Result:
    return terminals.typed(ctx, args.shellId, args.input)


class StopBashArgs(Args):
    shellId: str = Field(description="The id that bash returned.")


def _stop_bash(args: StopBashArgs, ctx: Context) -> Result:
    return terminals.stop(ctx, TerminalArgs(id=args.shellId).id)


class ViewArgs(Args):
    path: str = Field(description="The absolute path of a file or folder.")
    view_range: list[int] | None = Field(None, description="First and last line, as [first, last]; -1 is the end.")


def _view(args: ViewArgs, ctx: Context) -> Result:
    path = ctx.resolve(args.path)
    if not path or any(file.startswith(path + "/") for file in ctx.env.workspace.files()):
        return list_dir.run(list_dir.ListDirArgs(path=args.path), ctx)
    first, last = None, None
    if args.view_range:
        first, *rest = args.view_range
        last = next((each for each in rest if each > 0), 1 << 30 if rest else None)
    return read_file.run(read_file.ReadFileArgs(filePath=args.path, startLine=first, endLine=last), ctx)


class CreateArgs(Args):
    path: str = Field(description="The absolute path of the file to create.")
    file_text: str = Field("", description="Its content.")


def _create(args: CreateArgs, ctx: Context) -> Result:
    return create_file.run(create_file.CreateFileArgs(filePath=args.path, content=args.file_text), ctx)


class EditArgs(Args):
    path: str = Field(description="The absolute path of the file to edit.")
    old_str: str = Field("", description="The exact text to replace; it must occur exactly once.")
    new_str: str = Field("", description="The exact text to put in its place.")


def _edit(args: EditArgs, ctx: Context) -> Result:
    given = {"filePath": args.path, "oldString": args.old_str, "newString": args.new_str}
    return replace_string_in_file.run(replace_string_in_file.ReplaceStringArgs.model_validate(given), ctx)


class GrepArgs(Args):
    pattern: str = Field(description="The regular expression to look for; letter case does not matter.")
    path: str = Field("", description="Folder or file to search in.")
    glob: str = Field("", description="Glob of the files to search in.")
    output_mode: Literal["content", "files_with_matches", "count"] = Field("files_with_matches", description="What to "
                                                                           "show of the matches.")  # fmt: skip
    head_limit: int | None = Field(None, description="Most results to return.")


def _grep(args: GrepArgs, ctx: Context) -> Result:
    within = ctx.resolve(args.path) if args.path else ""
    inside = f"{within}/**/{args.glob}" if within and args.glob else args.glob or within or None
    given = grep_search.GrepSearchArgs(query=args.pattern, isRegexp=True, includePattern=inside)
    hits = grep_search.hits_of(given, ctx)
    if not hits:
        return Result("no matches", "no_results")
    counts: dict[str, int] = {}
    for path, *_ in hits:
        counts[path] = counts.get(path, 0) + 1
    lines = {"content": [f"{ctx.show(path)}:{number}:{line[:grep_search.AROUND]}" for path, number, line, _ in hits],
             "count": [f"{ctx.show(path)}:{count}" for path, count in counts.items()],
             "files_with_matches": [ctx.show(path) for path in counts]}[args.output_mode]  # fmt: skip
    most = min(max(1, args.head_limit or grep_search.MOST_RESULTS), grep_search.MOST_RESULTS)
    return Result("\n".join([*lines[:most], *([f"+{len(lines) - most} more"] if len(lines) > most else [])]))


class GlobArgs(Args):
    pattern: str = Field(description="Glob of the files to find, for example **/*.py.")
    path: str = Field("", description="Folder to look in.")


def _glob(args: GlobArgs, ctx: Context) -> Result:
    within = ctx.resolve(args.path) if args.path else ""
    query = f"{within}/**/{args.pattern.removeprefix('**/')}" if within else args.pattern
    return file_search.run(file_search.FileSearchArgs(query=query, maxResults=file_search.MOST_RESULTS), ctx)


class UpdateTodoArgs(Args):
    todos: str = Field(description="The whole list as Markdown: `- [ ]` to do, `- [~]` in progress, `- [x]` done.")


def _update_todo(args: UpdateTodoArgs, ctx: Context) -> Result:
    found = [match for match in map(_TODO.match, args.todos.split("\n")) if match]
    if not found:
        raise ToolError("invalid_input", "todos has no line such as `- [ ] what is to be done`")
    items = [{"id": number, "title": match["title"], "status": _STATUS[match["mark"]]}
             for number, match in enumerate(found, 1)]  # fmt: skip
    return manage_todo_list.run(manage_todo_list.ManageTodoListArgs.model_validate({"todoList": items}), ctx)


class TaskArgs(run_subagent.RunSubagentArgs):
    agent_type: str = Field("explore", description="The kind of agent: explore.")


_TOOLS = (
    Tool("bash", "Run a shell command in the workspace. There is no network; each command starts in its root with a "
         "fresh environment, but the files it writes stay.", BashArgs, _bash, ("command", "description")),
    Tool("read_bash", "All output so far of a command that runs in the background.", ShellArgs, _read_bash,
         ("shellId", "delay")),
    Tool("write_bash", "Type a line into a command that runs in the background.", WriteBashArgs, _write_bash,
         ("shellId", "delay")),
    Tool("stop_bash", "Stop a command that runs in the background.", StopBashArgs, _stop_bash, ("shellId",)),
    Tool("view", "Read a file, or list a folder.", ViewArgs, _view, ("path",), read_only=True),
    Tool("create", "Create a new file with the given content, and the folders above it.", CreateArgs, _create,
         ("path",)),
    Tool("edit", "Edit an existing file: replace the one occurrence of old_str by new_str.", EditArgs, _edit,
         ("path",)),
    Tool("grep", "Search for a regular expression in the files of the workspace.", GrepArgs, _grep, ("pattern",),
         read_only=True),
    Tool("glob", "Find files by a glob pattern.", GlobArgs, _glob, ("pattern",), read_only=True),
    Tool("update_todo", manage_todo_list.TOOL.description, UpdateTodoArgs, _update_todo, ("todos",)),
    Tool("task", run_subagent.TOOL.description, TaskArgs, run_subagent.run, ("description", "prompt", "agent_type")),
    task_complete.TOOL,
)  # fmt: skip
TOOLS: dict[str, Tool] = {tool.name: tool for tool in _TOOLS}
