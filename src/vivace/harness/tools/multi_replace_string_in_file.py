"""multi_replace_string_in_file: several edits, each at its one place, in one call."""

from __future__ import annotations

from pydantic import Field

from vivace.harness.edit.match import Match
from vivace.harness.tools.base import Args, Context, Result, Tool, ToolError
from vivace.harness.tools.editing import FileEdit, locate, render, replace
from vivace.harness.tools.replace_string_in_file import ReplaceStringArgs


class MultiReplaceArgs(Args):
    explanation: str = Field("", description="A brief explanation of the edits.")
    replacements: list[ReplaceStringArgs] = Field(description="The edits; they may concern one file or several.")


def run(args: MultiReplaceArgs, ctx: Context) -> Result:
    """Every place is found in the files as they were; edits that do not fit are reported, the others are made."""
    if not args.replacements:
        raise ToolError("invalid_input", "replacements is empty")
    texts: dict[str, str] = {}
    matches: dict[str, list[Match]] = {}
    numbers: dict[str, list[int]] = {}
    failures: list[tuple[int, ToolError]] = []
    for number, wanted in enumerate(args.replacements, 1):
        try:
            path = ctx.resolve(wanted.filePath)
            texts.setdefault(path, ctx.read(path))
            match = locate(ctx, path, texts[path], wanted.oldString, wanted.newString)
            _refuse_overlap(match, matches.get(path, []))
            matches.setdefault(path, []).append(match)
            numbers.setdefault(path, []).append(number)
        except ToolError as error:
            failures.append((number, error))
    edits: list[FileEdit] = []
    for path, found in matches.items():
        try:
            edits.append(replace(ctx, path, texts[path], found))
        except ToolError as error:
            failures += [(number, error) for number in numbers[path]]
    return _result(ctx, edits, sorted(failures, key=lambda failure: failure[0]))


def _refuse_overlap(match: Match, others: list[Match]) -> None:
    for other in others:
        if match.start < other.end and other.start < match.end:
            raise ToolError("overlap", "overlaps an earlier replacement of this call; merge the two")


def _result(ctx: Context, edits: list[FileEdit], failures: list[tuple[int, ToolError]]) -> Result:
    lines = [f"ERROR: replacement {number}: {error.text}" for number, error in failures]
    if not edits:
        return Result("\n".join(lines), failures[0][1].kind)
    text = "\n".join([render(ctx, edits), *lines])
    if failures:
        return Result(text, "partial")
    return Result(text, next((e.kind for e in edits if e.kind == "broken_syntax"), edits[0].kind))


TOOL = Tool(
    name="multi_replace_string_in_file",
    description="Make several edits in one call, in one file or more. Each has the rules of replace_string_in_file; "
    "those that do not fit are reported and the others are made.",
    args=MultiReplaceArgs,
    run=run,
    required=("explanation", "replacements"),
)
