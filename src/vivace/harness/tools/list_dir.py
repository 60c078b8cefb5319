"""list_dir: names in a folder."""

from __future__ import annotations

from pydantic import Field

from vivace.harness.tools.base import Args, Context, Result, Tool, ToolError


class ListDirArgs(Args):
    path: str = Field(description="The absolute path of the folder to list.")


def run(args: ListDirArgs, ctx: Context) -> Result:
    folder = ctx.resolve(args.path)
    prefix = f"{folder}/" if folder else ""
    names: set[str] = set()
    for file in ctx.env.workspace.files():
        if file.startswith(prefix):
            name, below, _ = file[len(prefix) :].partition("/")
            names.add(name + below)
    if not names and folder:
        if not ctx.env.workspace.exists(folder):
            raise ToolError("not_found", f"no folder {ctx.show(folder)}")
        if folder in ctx.env.workspace.files():
            raise ToolError("not_found", f"{ctx.show(folder)} is a file")
    return Result("\n".join(sorted(names)), "ok") if names else Result("Folder is empty", "no_results")


TOOL = Tool(
    name="list_dir",
    description="List the contents of a folder. A name that ends in / is a folder, others are files.",
    args=ListDirArgs,
    run=run,
    required=("path",),
    read_only=True,
)
