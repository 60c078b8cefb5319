"""get_terminal_output: what a command in the background has written."""

from __future__ import annotations

from pydantic import Field

from vivace.harness.tools.base import Args, Context, Result, Tool
from vivace.harness.tools.terminals import state


class TerminalArgs(Args):
    id: str = Field(description="The id that run_in_terminal returned.")


def run(args: TerminalArgs, ctx: Context) -> Result:
    return state(ctx, args.id)


TOOL = Tool(
    name="get_terminal_output",
    description="All output so far of a command that runs in the background, and whether it has ended.",
    args=TerminalArgs,
    run=run,
    required=("id",),
)
