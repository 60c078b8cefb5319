"""replace_string_in_file: one edit at the one place where oldString stands."""

from __future__ import annotations

from pydantic import Field

from vivace.harness.tools.base import Args, Context, Result, Tool
from vivace.harness.tools.editing import locate, render, replace


class ReplaceStringArgs(Args):
    filePath: str = Field(description="The absolute path of the file to edit.")
    oldString: str = Field(
        description="The exact text to replace, with blanks and indentation; include enough lines around it to make "
        "it unique in the file."
    )
    newString: str = Field(description="The exact text to put in its place.")


def run(args: ReplaceStringArgs, ctx: Context) -> Result:
    path = ctx.resolve(args.filePath)
    creates = not args.oldString and path and not ctx.env.workspace.exists(path)
    text = "" if creates else ctx.read(path)
    edit = replace(ctx, path, text, [locate(ctx, path, text, args.oldString, args.newString)])
    return Result(render(ctx, [edit]), edit.kind)


TOOL = Tool(
    name="replace_string_in_file",
    description="Edit an existing file: replace one occurrence of oldString by newString. oldString must occur exactly "
    "once; give at least three lines of context before and after where the text repeats.",
    args=ReplaceStringArgs,
    run=run,
    required=("filePath", "oldString", "newString"),
)
