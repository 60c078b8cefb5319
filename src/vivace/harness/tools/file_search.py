"""file_search: paths by glob."""

from __future__ import annotations

from pydantic import Field

from vivace.harness.tools.base import Args, Context, Result, Tool
from vivace.harness.tools.text import glob_pattern

DEFAULT_RESULTS = 20
MOST_RESULTS = 200


class FileSearchArgs(Args):
    query: str = Field(description="Glob of the files to find, for example **/*.py or src/**/test_*.py.")
    maxResults: int | None = Field(None, description="Most results to return; leave out unless needed.")


def run(args: FileSearchArgs, ctx: Context) -> Result:
    pattern = glob_pattern(args.query)
    found = [file for file in ctx.env.workspace.files() if pattern.fullmatch(file)]
    if not found:
        return Result("No files found", "no_results")
    most = min(max(1, args.maxResults or DEFAULT_RESULTS), MOST_RESULTS)
    lines = [ctx.show(file) for file in found[:most]]
    if len(found) > most:
        lines.append("...")
    return Result("\n".join([f"{len(found)} total result{'s' if len(found) > 1 else ''}", *lines]))


TOOL = Tool(
    name="file_search",
    description="Search for files in the workspace by glob pattern. Returns paths only, not contents.",
    args=FileSearchArgs,
    run=run,
    required=("query",),
    read_only=True,
)
