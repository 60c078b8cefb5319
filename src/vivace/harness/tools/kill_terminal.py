"""kill_terminal: the end of a command in the background."""

from __future__ import annotations

from vivace.harness.tools.base import Context, Result, Tool
from vivace.harness.tools.get_terminal_output import TerminalArgs
from vivace.harness.tools.terminals import stop


def run(args: TerminalArgs, ctx: Context) -> Result:
    return stop(ctx, args.id)


TOOL = Tool(
    name="kill_terminal",
    description="Stop a command that runs in the background, with everything it has started.",
    args=TerminalArgs,
    run=run,
    required=("id",),
)
