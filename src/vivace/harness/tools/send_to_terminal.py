"""send_to_terminal: a line typed into a command in the background."""

from __future__ import annotations

from pydantic import Field

from vivace.harness.tools.base import Args, Context, Result, Tool
from vivace.harness.tools.terminals import typed


class SendToTerminalArgs(Args):
    id: str = Field(description="The id that run_in_terminal returned.")
    command: str = Field(description="The text to type; Enter is added.")


def run(args: SendToTerminalArgs, ctx: Context) -> Result:
    return typed(ctx, args.id, args.command)


TOOL = Tool(
    name="send_to_terminal",
    description="Type a line into a command that runs in the background and reads its standard input. Returns the last "
    "lines of its output.",
    args=SendToTerminalArgs,
    run=run,
    required=("id", "command"),
)
