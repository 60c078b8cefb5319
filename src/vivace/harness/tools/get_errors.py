"""get_errors: syntax errors of Python files, found by parsing them."""

from __future__ import annotations

from pydantic import Field

from vivace.harness.edit.diagnostics import syntax_problem
from vivace.harness.tools.base import Args, Context, Result, Tool, ToolError

MOST = 50


class GetErrorsArgs(Args):
    filePaths: list[str] = Field(
        default_factory=list, description="Absolute paths of files or folders to check. Leave out to check everything."
    )


def run(args: GetErrorsArgs, ctx: Context) -> Result:
    everything = ctx.env.workspace.files()
    wanted: list[str] = []
    for given in args.filePaths or [""]:
        path = ctx.resolve(given) if given else ""
        found = [file for file in everything if file == path or not path or file.startswith(path + "/")]
        if not found:
            raise ToolError("not_found", f"no file or folder {ctx.show(path)}")
        wanted += [file for file in found if file.endswith((".py", ".pyi"))]
    lines = []
    for path in dict.fromkeys(wanted):
        problem = syntax_problem(path, ctx.read(path))
        if problem:
            lines.append(f"{ctx.show(path)}:{problem.line}: error: {problem.message}")
    if not lines:
        return Result("No errors found.", "ok")
    return Result("\n".join(lines[:MOST]), "diagnostics")


TOOL = Tool(
    name="get_errors",
    description="Syntax errors in files or folders of the workspace. Use it to check files after editing them.",
    args=GetErrorsArgs,
    run=run,
    read_only=True,
)
