"""task_complete: the end of an attempt."""

from __future__ import annotations

from pydantic import Field

from vivace.harness.tools.base import Args, Context, Result, Tool


class TaskCompleteArgs(Args):
    summary: str = Field("", description="One or two sentences on what was done.")


def run(args: TaskCompleteArgs, ctx: Context) -> Result:
    return Result("" if ctx.terse else "Task marked as complete.", done=True)


TOOL = Tool(
    name="task_complete",
    description="Say that the task is done and verified. Call it once, at the end, alone.",
    args=TaskCompleteArgs,
    run=run,
    read_only=True,
)
