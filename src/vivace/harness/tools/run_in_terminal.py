"""run_in_terminal: a shell command in the sandbox, to its end."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vivace.harness.tools.base import ROOT, Args, Context, Result, Tool, ToolError
from vivace.harness.tools.text import clip
from vivace.sandbox import ExecLimits

DEFAULT_SECONDS, MOST_SECONDS = 60.0, 600.0
MOST_CHARACTERS, TERSE_CHARACTERS = 60_000, 1_200


class RunInTerminalArgs(Args):
    command: str = Field(description="The command to run, for a POSIX shell.")
    explanation: str = Field("", description="One sentence on what the command does, shown to the user.")
    goal: str = Field("", description="What the command is to achieve, in a few words.")
    mode: Literal["sync", "async"] = Field("sync", description="sync waits for the end; async is not offered here.")
    timeout: int = Field(0, description="Milliseconds to wait; 0 is the default of one minute.")
    isBackground: bool = Field(False, json_schema_extra={"hidden": True})


def run(args: RunInTerminalArgs, ctx: Context) -> Result:
    if args.mode == "async" or args.isBackground:
        raise ToolError("invalid_input", "commands cannot run in the background here; use mode sync with a timeout")
    if not args.command.strip():
        raise ToolError("invalid_input", "command is empty")
    seconds = min(args.timeout / 1000, MOST_SECONDS) if args.timeout > 0 else DEFAULT_SECONDS
    limits = ExecLimits(wall_s=seconds, output_bytes=4 * MOST_CHARACTERS)
    result = ctx.env.workspace.exec(["/bin/sh", "-c", args.command], limits=limits)
    text = result.output.replace(ctx.env.mount_point, ROOT)  # backends mount in different places
    output = clip(text.rstrip("\n"), TERSE_CHARACTERS if ctx.terse else MOST_CHARACTERS)
    if result.timed_out:
        return Result(f"{output}\nERROR: stopped after {seconds:g} s".lstrip("\n"), "timeout")
    if result.killed == "cancelled":
        return Result(f"{output}\nERROR: stopped by the user".lstrip("\n"), "nonzero_exit")
    if result.killed:
        return Result(f"{output}\nERROR: stopped, too much of: {result.killed}".lstrip("\n"), "nonzero_exit")
    if result.exit_code:
        return Result(f"{output}\nexit code {result.exit_code}".lstrip("\n"), "nonzero_exit")
    return Result(output or ("" if ctx.terse else "(no output)"))


TOOL = Tool(
    name="run_in_terminal",
    description="Run a shell command in the workspace. There is no network; each command starts in the root of the "
    "workspace with a fresh environment, but the files it writes stay. Output longer than 60 KB is cut in the middle. "
    "Do not wait with `sleep`; prefer runTests for tests.",
    args=RunInTerminalArgs,
    run=run,
    required=("command", "explanation", "goal", "mode"),
)
