"""bash: the one tool of the `mini` profile, a command as mini-swe-agent has it."""

from __future__ import annotations

from pydantic import Field

from vivace.harness.tools import run_in_terminal
from vivace.harness.tools.base import Args, Context, Result, Tool


class BashArgs(Args):
    command: str = Field(description="The command to run, for a POSIX shell.")


def run(args: BashArgs, ctx: Context) -> Result:
    return run_in_terminal.run(run_in_terminal.RunInTerminalArgs(command=args.command), ctx)


TOOL = Tool(
    name="bash",
    description="Run a shell command in the workspace. Each starts in its root with a fresh environment, without "
    "network; the files it writes stay. When the work is done, answer without a call.",
    args=BashArgs,
    run=run,
    required=("command",),
)
