"""runSubagent: a question about the repository, answered in a conversation of its own that can only look."""

from __future__ import annotations

from pydantic import Field

from vivace.harness.tools.base import Args, Context, Result, Tool, ToolError


class RunSubagentArgs(Args):
    prompt: str = Field(description="The question, complete: the sub-agent knows nothing of this conversation.")
    description: str = Field("", description="What it is about, in three to five words.")


def run(args: RunSubagentArgs, ctx: Context) -> Result:
    if not args.prompt.strip():
        raise ToolError("invalid_input", "prompt is empty")
    if ctx.explore is None:
        raise ToolError("unavailable", "a sub-agent cannot be started from here; look yourself")
    answer = ctx.explore(args.prompt)
    return Result(answer) if answer else Result("The sub-agent found nothing to say.", "no_results")


TOOL = Tool(
    name="runSubagent",
    description="Have a question about the repository looked into by a sub-agent that can read and search but change "
    "nothing; it returns one message. Worth it where many files would have to be read.",
    args=RunSubagentArgs,
    run=run,
    required=("prompt", "description"),
)
