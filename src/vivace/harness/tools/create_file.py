"""create_file: a new file with its folders."""

from __future__ import annotations

from pydantic import Field

from vivace.core.errors import BadInput
from vivace.harness.edit.diagnostics import syntax_problem
from vivace.harness.tools.base import Args, Context, Result, Tool, ToolError


class CreateFileArgs(Args):
    filePath: str = Field(description="The absolute path of the file to create.")
    content: str = Field(description="The content to write to the file.")


def run(args: CreateFileArgs, ctx: Context) -> Result:
    path = ctx.resolve(args.filePath)
    workspace = ctx.env.workspace
    if not path:
        raise ToolError("invalid_input", "filePath names the workspace itself; give the path of a file in it")
    if workspace.exists(path):
        try:
            occupied = bool(workspace.read_bytes(path))
        except BadInput:  # a folder or a device
            occupied = True
        if occupied:
            raise ToolError("exists", f"{ctx.show(path)} exists and is not empty; use replace_string_in_file")
    ctx.write(path, args.content)
    ctx.saw(path, args.content)
    problem = syntax_problem(path, args.content)
    if problem:
        text = f"created {ctx.show(path)}; line {problem.line} does not parse: {problem.message}"
        return Result(text, "broken_syntax")
    return Result(f"created {path}" if ctx.terse else f"File created at {ctx.show(path)}")


TOOL = Tool(
    name="create_file",
    description="Create a new file with the given content, and the folders above it. Never use it on a file that has "
    "content already.",
    args=CreateFileArgs,
    run=run,
    required=("filePath", "content"),
)
