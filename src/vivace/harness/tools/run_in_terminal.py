"""run_in_terminal: a shell command in the sandbox."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vivace.harness.tools.base import Args, Context, Result, Tool
from vivace.harness.tools.terminals import DEFAULT_SECONDS, MOST_SECONDS, run_in_background, run_or_leave


class RunInTerminalArgs(Args):
    command: str = Field(description="The command to run, for a POSIX shell.")
    explanation: str = Field("", description="One sentence on what the command does, shown to the user.")
    goal: str = Field("", description="What the command is to achieve, in a few words.")
    mode: Literal["sync", "async"] = Field(
        "sync", description="sync waits for the end; async is for servers and watchers: it returns an id at once.")
    timeout: int = Field(0, description="Milliseconds to wait in mode sync before the command is left to go on in the "
                                        "background; 0 is the default of one minute.")  # fmt: skip
    isBackground: bool = Field(False, json_schema_extra={"hidden": True})


def run(args: RunInTerminalArgs, ctx: Context) -> Result:
    if args.mode == "async" or args.isBackground:
        return run_in_background(ctx, args.command)
    seconds = min(args.timeout / 1000, MOST_SECONDS) if args.timeout > 0 else DEFAULT_SECONDS
    return run_or_leave(ctx, args.command, seconds)


TOOL = Tool(
    name="run_in_terminal",
    description="Run a shell command in the workspace. There is no network; each command starts in the root of the "
    "workspace with a fresh environment, but the files it writes stay. Output longer than 60 KB is cut in the middle. "
    "Do not wait with `sleep`; prefer runTests for tests.",
    args=RunInTerminalArgs,
    run=run,
    required=("command", "explanation", "goal", "mode"),
)
