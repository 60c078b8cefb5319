"""bash: the one tool of the `mini` profile, a command as mini-swe-agent has it."""

from __future__ import annotations

from pydantic import Field

from vivace.harness.tools.base import Args, Context, Result, Tool
from vivace.harness.tools.terminals import DEFAULT_SECONDS, run_command


class BashArgs(Args):
    command: str = Field(description="The command to run, for a POSIX shell.")


def run(args: BashArgs, ctx: Context) -> Result:
    return run_command(ctx, args.command, DEFAULT_SECONDS)


TOOL = Tool(
    name="bash",
    description="Run a shell command in the workspace. Each starts in its root with a fresh environment, without "
    "network; the files it writes stay. When the work is done, answer without a call.",
    args=BashArgs,
    run=run,
    required=("command",),
)
