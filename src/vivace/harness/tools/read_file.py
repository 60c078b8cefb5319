"""read_file: lines of a text file."""

from __future__ import annotations

from pydantic import Field

from vivace.harness.edit.match import BOM
from vivace.harness.tools.base import Args, Context, Result, Tool, ToolError

TERSE_LINES = 40
FULL_LINES = 2000
FULL_CHARACTERS = 50_000
_LANGUAGES = {"py": "python", "md": "markdown", "js": "javascript", "ts": "typescript", "yml": "yaml", "sh": "bash"}


class ReadFileArgs(Args):
    filePath: str = Field(description="The absolute path of the file to read.")
    startLine: int | None = Field(None, description="The line number to start reading from, 1-based.")
    endLine: int | None = Field(None, description="The inclusive line number to end reading at, 1-based.")
    limit: int | None = Field(None, json_schema_extra={"hidden": True})


def run(args: ReadFileArgs, ctx: Context) -> Result:
    path = ctx.resolve(args.filePath)
    text = ctx.read(path)
    ctx.saw(path, text)
    if not text.strip():
        nothing = "is empty" if not text else "contains only whitespace"
        return Result(f"(empty: {path})" if ctx.terse else f"(The file `{ctx.show(path)}` {nothing}.)", "no_results")
    lines = text.removeprefix(BOM).split("\n")
    if lines[-1] == "":
        lines.pop()
    first, last = _range(args, len(lines), TERSE_LINES if ctx.terse else FULL_LINES)
    shown = [line.removesuffix("\r") for line in lines[first - 1 : last]]
    if ctx.terse:
        return Result("\n".join(shown))
    return Result(_full(ctx.show(path), shown, first, len(lines)))


def _range(args: ReadFileArgs, total: int, most: int) -> tuple[int, int]:
    """First and last line: clamped to the file, swapped if reversed, at most `most` lines."""
    first = args.startLine if args.startLine is not None else 1
    last = args.endLine if args.endLine is not None else first + (args.limit or most) - 1
    first, last = min(first, last), max(first, last)
    if first > total:
        raise ToolError("invalid_input", f"the file has {total} lines")
    first = max(first, 1)
    return first, max(first, min(last, total, first + most - 1))


def _full(path: str, shown: list[str], first: int, total: int) -> str:
    body, kept = "", 0
    for line in shown:
        if len(body) + len(line) > FULL_CHARACTERS and kept:
            break
        body, kept = body + line + "\n", kept + 1
    last = first + kept - 1
    suffix = path.rsplit(".", 1)[-1] if "." in path.rsplit("/", 1)[-1] else ""
    header = f"File: `{path}`. Lines {first} to {last} ({total} lines total):\n"
    notice = ""
    if last < total and kept < len(shown):
        notice = f"\n(Cut here: go on with startLine {last + 1}.)"
    fence = "```" if "```" not in body else "````"
    return f"{header}{fence}{_LANGUAGES.get(suffix, suffix)}\n{body}{fence}{notice}"


TOOL = Tool(
    name="read_file",
    description="Read the contents of a file. Line numbers are 1-based and inclusive; prefer one larger range to "
    "many small ones.",
    args=ReadFileArgs,
    run=run,
    required=("filePath", "startLine", "endLine"),
    read_only=True,
    aliases={"offset": "startLine", "path": "filePath"},
)
