"""get_changed_files: what the attempt has changed so far, as a diff."""

from __future__ import annotations

from pydantic import Field

from vivace.harness.tools.base import Args, Context, Result, Tool
from vivace.harness.tools.text import clip

MOST_CHARACTERS = 30_000


class GetChangedFilesArgs(Args):
    repositoryPath: str = Field("", description="The absolute path of the repository; leave out for the workspace.")
    sourceControlState: list[str] = Field(
        default_factory=list, description="Kinds of changes: staged, unstaged, merge-conflicts. Leave out for all."
    )


def run(args: GetChangedFilesArgs, ctx: Context) -> Result:
    """Nothing is ever staged in a workspace, so only a request that leaves out unstaged changes has no result."""
    if args.repositoryPath:
        ctx.resolve(args.repositoryPath)
    wanted = not args.sourceControlState or "unstaged" in args.sourceControlState
    patch = ctx.env.workspace.diff() if wanted else ""
    return Result(clip(patch, MOST_CHARACTERS)) if patch else Result("No changed files found", "no_results")


TOOL = Tool(
    name="get_changed_files",
    description="Diffs of the files that were changed in the workspace since you began.",
    args=GetChangedFilesArgs,
    run=run,
    read_only=True,
)
